"""Do a task in a child process: bounded in time, memory and disk, and gone when the bounds are passed.

Address space is no bound here, because CUDA reserves far more of it than it uses: what is resident is
watched.
A child is ended with everything it started, by the process group that is its own.
Never: hands the child a secret, an image or the configuration.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.inference.environment import handed_on
from appliance.inference.settings import EngineSettings

_LOOK_SECONDS = 0.2
_READ_BYTES = 65536
_LINE_BYTES_MAX = 4 * 2**20
_SENTENCE_CHARACTERS_MAX, _STAGE_CHARACTERS_MAX = 2000, 80
_ENDING_SECONDS = 5.0
_ENDING_LOOK_SECONDS = 0.02
# What libraries need to be found and devices to be chosen, and nothing else of the parent's.
_HANDED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
_HANDED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OV_")

Heard = Callable[[float, str], None]


class EndedApart(Exception):
    """The task was not done; the text is one sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a child may take. `folder` is the one it writes into, when it writes."""

    seconds_max: float
    memory_bytes_max: int
    folder: Path | None = None
    folder_bytes_max: int = 0


def settings_apart(settings: EngineSettings) -> dict[str, Any]:
    """Give the settings a child needs as JSON values; store and remote servers are none of its business."""
    return {
        "limits": asdict(settings.limits),
        "device": settings.device,
        "memory_bytes_max": settings.memory_bytes_max,
    }


def run_apart(task: Mapping[str, Any], bounds: Bounds, heard: Heard | None = None) -> dict[str, Any]:
    """Do a task of `appliance.inference.build_child` and return its answer; `heard` gets (share, stage).

    Raises:
        EndedApart: it failed, died, or passed a bound.
    """
    process = _start(task)
    try:
        for message in _messages(process, bounds):
            if "done" in message:
                done: dict[str, Any] = message["done"]
                return done
            if "error" in message:
                raise EndedApart(str(message["error"])[:_SENTENCE_CHARACTERS_MAX])
            if heard is not None:
                heard(message["share"], str(message.get("stage", ""))[:_STAGE_CHARACTERS_MAX])
        raise EndedApart(_how_it_ended(process))
    finally:
        _end(process)


def _start(task: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "appliance.inference.build_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin is not None, "it was asked for"
    with suppress(BrokenPipeError), process.stdin as line:
        line.write(f"{json.dumps({**task, 'parent': os.getpid()})}\n".encode())
    return process


def _environment() -> dict[str, str]:
    return {"LANG": "C.UTF-8", **handed_on(_HANDED_ON, _HANDED_ON_PREFIXES)}


def _messages(process: subprocess.Popen[bytes], bounds: Bounds) -> Iterator[dict[str, Any]]:
    """Give what the child says, line by line, until it closes its line.

    Raises:
        EndedApart: it passed a bound.
    """
    assert process.stdout is not None, "it was asked for"
    until = time.monotonic() + bounds.seconds_max
    waiting = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            ready = selector.select(min(_LOOK_SECONDS, max(until - time.monotonic(), 0.0)))
            _check(process.pid, bounds, until)
            if not ready:
                continue
            read = os.read(process.stdout.fileno(), _READ_BYTES)
            if not read:
                return
            waiting += read
            *lines, rest = waiting.split(b"\n")
            waiting = bytearray(rest)
            if len(waiting) > _LINE_BYTES_MAX:
                raise EndedApart("It said more than it may.")
            yield from map(_message, lines)


def _message(line: bytes | bytearray) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise EndedApart("It said something that is not an answer.") from error
    if not isinstance(message, dict) or not (
        isinstance(message.get("done"), dict) or "error" in message or isinstance(message.get("share"), float)
    ):
        raise EndedApart("It said something that is not an answer.")
    return message


def _check(group: int, bounds: Bounds, until: float) -> None:
    if time.monotonic() >= until:
        raise EndedApart(f"It did not end within {bounds.seconds_max:g} seconds and was ended.")
    if (used := resident_bytes(group)) > bounds.memory_bytes_max:
        raise EndedApart(
            f"It took {_mib(used)} MiB of memory, more than {_mib(bounds.memory_bytes_max)}, and was ended."
        )
    if bounds.folder is not None and (wrote := folder_bytes(bounds.folder)) > bounds.folder_bytes_max:
        raise EndedApart(
            f"It wrote {_mib(wrote)} MiB, more than {_mib(bounds.folder_bytes_max)}, and was ended."
        )


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // 2**20)


def resident_bytes(group: int) -> int:
    """Sum what the processes of one group hold in memory; 0 where the system does not say."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for entry in os.scandir("/proc") if os.path.isdir("/proc") else ():
        if not entry.name.isdigit():
            continue
        # A process may end between two looks.
        with suppress(OSError, IndexError, ValueError):
            # "pid (name) state ppid pgrp ...": a name may hold spaces and brackets.
            if int(_text(entry.path, "stat").rpartition(")")[2].split()[2]) == group:
                total += int(_text(entry.path, "statm").split()[1]) * page_bytes
    return total


def _text(folder: str, name: str) -> str:
    return Path(folder, name).read_text(encoding="utf-8", errors="replace")


def folder_bytes(folder: Path) -> int:
    """Sum the sizes of all files under a folder; what goes away meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """Look at how it ended without taking it off the kernel's list: its number stays its own until `_end`."""
    until = time.monotonic() + _ENDING_SECONDS
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := os.waitid(os.P_PID, process.pid, look)) is None:
        if time.monotonic() >= until:
            return "It closed its line and went on; it was ended."
        time.sleep(_ENDING_LOOK_SECONDS)
    if ended.si_code == os.CLD_EXITED:
        return f"It ended by itself without an answer (exit code {ended.si_status})."
    known = ended.si_status in set(signal.Signals)
    return f"It was ended by signal {signal.Signals(ended.si_status).name if known else ended.si_status}."


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child and all it started. Until it is waited for, its number is nobody else's."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
