"""A first boot out of a file on a stick: a TOML table for each step, or `skip = "reason"` in it.

Promises: every fault of the file is said at once; nothing of it is kept if it has one.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from provisioning.firstboot.compose import faults_of
from provisioning.firstboot.limits import DEFAULT
from provisioning.firstboot.sitting import Sitting
from provisioning.firstboot.steps import KEYS, STEPS, Kind, Step
from provisioning.firstboot.values import AnswerFault, reason, take


def answer_from(sitting: Sitting, path: Path) -> list[str]:
    """Take a file's answers; what it does not name stays as it was. Return which secrets lie in the file.

    Raises:
        AnswerFault: with every fault; nothing was kept.
        NoSpace, DiskFault: the disk is full or failed.
    """
    tree = _read(path)
    wanted = sitting.answers
    faults = [f"{key[:40]!r}: there is no step of this name" for key in tree if key not in KEYS]
    for step in STEPS:
        try:
            said = tree.get(step.key)
            if said is None:
                if wanted.is_open(step.key):
                    faults.append(f'{step.key}: is missing; answer it, or give it skip = "a reason"')
            elif not isinstance(said, dict):
                faults.append(f"{step.key}: must be a table, [{step.key}]")
            elif "skip" in said:
                wanted = wanted.skipping(step.key, _why(step, said))
            else:
                values = take(step, sitting.filled(step, said), wanted.of(step.key))
                wanted = wanted.answered(step.key, values)
        except AnswerFault as fault:
            faults += fault.faults
    faults += [fault for each in faults_of(wanted, roots=sitting.roots).values() for fault in each]
    if faults:
        raise AnswerFault(faults)
    sitting.keep(wanted)
    return _secrets(tree)


def _why(step: Step, said: dict[str, Any]) -> str:
    if len(said) > 1:
        raise AnswerFault([f"{step.key}: is skipped and answered; do one"])
    return reason(step, said["skip"])


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(DEFAULT.file_bytes_max + 1)
        if len(data) > DEFAULT.file_bytes_max:
            raise AnswerFault([f"{path.name}: is larger than {DEFAULT.file_bytes_max} bytes"])
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise AnswerFault([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise AnswerFault([f"{path.name}: is not UTF-8 at byte {error.start}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise AnswerFault([f"{path.name}: is not TOML: {error}"]) from error


def _secrets(tree: dict[str, Any]) -> list[str]:
    """Return the labels of secrets that lie in the file; an invitation holds its claim code."""
    found = [
        question.label.lower()
        for step in STEPS
        for question in step.questions
        if question.kind in (Kind.SECRET, Kind.CODE) and tree.get(step.key, {}).get(question.key)
    ]
    invited = "#" in tree.get("registry", {}).get("url", "")
    return [*found, "invitation"] if invited else found
