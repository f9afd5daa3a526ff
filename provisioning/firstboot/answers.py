"""What was answered and skipped so far, in one file, so that any of the three ways goes on from there.

Promises: the file is whole at any moment and readable by its owner only; a password is in it as its digest,
and the claim code until it was used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance.disk.durable import make_folder, write_file
from appliance.sync.unreadable import NO_JSON
from provisioning.firstboot.limits import DEFAULT
from provisioning.firstboot.steps import KEYS, STEPS, Step, Value, step_of
from provisioning.firstboot.values import AnswerFault, reason, take

_FORM = 1


class StateFault(Exception):
    """The file of answers cannot be read; the sentence says what to do."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers by step and question, and the reasons of steps that were skipped."""

    given: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    def of(self, step: str) -> Mapping[str, Value]:
        """Return the answers to a step; none if it was skipped or is open."""
        return self.given.get(step, {})

    def answered(self, step: str, values: Mapping[str, Value]) -> Answers:
        """Return these with a step answered."""
        skipped = {key: why for key, why in self.skipped.items() if key != step}
        return replace(self, given={**self.given, step: values}, skipped=skipped)

    def skipping(self, step: str, why: str) -> Answers:
        """Return these with a step skipped."""
        given = {key: values for key, values in self.given.items() if key != step}
        return replace(self, given=given, skipped={**self.skipped, step: why})

    def is_open(self, step: str) -> bool:
        """Say whether a step was neither answered nor skipped."""
        return step not in self.given and step not in self.skipped

    def first_open(self) -> Step | None:
        """Return the first step that is open."""
        return next((step for step in STEPS if self.is_open(step.key)), None)


def read_answers(path: Path) -> Answers:
    """Read what was answered; no file is nothing answered.

    Raises:
        StateFault: it cannot be read, or is not in our form.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(DEFAULT.file_bytes_max + 1)
    except FileNotFoundError:
        return Answers()
    except OSError as error:
        raise StateFault(f"{path} cannot be read: {error.strerror}") from error
    try:
        if len(data) > DEFAULT.file_bytes_max:
            raise ValueError("too large")
        return _decoded(json.loads(data))
    except (*NO_JSON, KeyError, TypeError, AttributeError, StopIteration, AnswerFault) as error:
        raise StateFault(f"{path} holds no answers of a first boot: move it away, and begin again") from error


def write_answers(path: Path, answers: Answers) -> None:
    """Keep what was answered, durably.

    Raises:
        NoSpace, DiskFault: the disk is full or failed.
    """
    said: dict[str, Any] = {"form": _FORM, "answers": {}, "skipped": {}}
    for key in KEYS:
        if key in answers.given:
            said["answers"][key] = dict(answers.given[key])
        if key in answers.skipped:
            said["skipped"][key] = answers.skipped[key]
    make_folder(path.parent)
    write_file(path, json.dumps(said, indent=1).encode())


def _decoded(said: Any) -> Answers:
    if said["form"] != _FORM:
        raise ValueError("another form")
    given = {key: take(step_of(key), values) for key, values in said["answers"].items()}
    skipped = {key: reason(step_of(key), why) for key, why in said["skipped"].items()}
    return Answers(given=given, skipped=skipped)
