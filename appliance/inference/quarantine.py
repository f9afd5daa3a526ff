"""Remember which engines took their process down, and leave alone those that did so twice.

A mark is written before an engine is loaded and taken away when it came through. The kernel holds a lock on
the mark for as long as the process lives: a mark that says "at work" and that nobody holds is a crash.
Never: judges an answer. What is quarantined stays so until a person clears it (`readside doctor --clear`).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from appliance.core import log
from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import DiskFault, NoSpace, make_folder, remove_file, write_file
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.lock import locked, take

_log = log.get("inference")
_AT_WORK, _IDLE = b"w", b"-"
_LOCK = "crashes.lock"
_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Crashes:
    """What one built engine did: its key, what it is, when it took its process down, seconds since 1970."""

    key: str
    engine: str
    model: str
    at: tuple[float, ...] = ()


class Mark:
    """One running engine's mark. Writing it costs no sync: it must outlive the process, not the power."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path, self._handle = path, handle

    def at_work(self) -> None:
        """Say that a crash from here on is the engine's."""
        os.pwrite(self._handle, _AT_WORK, 0)

    def idle(self) -> None:
        """Say that a crash from here on is not the engine's."""
        os.pwrite(self._handle, _IDLE, 0)

    def remove(self) -> None:
        """Take the mark away: the engine is gone, in good order."""
        # Absence that a power cut undoes would only be one more mark that says "idle", or one crash too many.
        with suppress(OSError):
            self._path.unlink()
        os.close(self._handle)


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """The record of crashes beside the store of built engines."""

    root: Path
    limits: InferenceLimits
    clock: Clock = field(default=SYSTEM)

    def check(self, key: str) -> None:
        """Let an engine be tried.

        Raises:
            InferenceError: inference.quarantined, it crashed too often.
        """
        with _disk(), self._locked():
            self._collect()
            crashes = self._read(self._record(key))
        if crashes is not None and self._is_quarantined(crashes):
            raise InferenceError(
                "inference.quarantined",
                f"It ended its process {len(crashes.at)} times and is left alone; "
                f"`readside doctor --clear {key.removeprefix('sha256:')[:12]}` lets it be tried again.",
            )

    def mark(self, key: str, *, engine: str, model: str, hosted: bool = False) -> Mark:
        """Write a mark that says "at work", durable on return.

        `hosted`: the engine lives in a process of its own, so that this process ending is no crash of the
        engine's; the whole machine going down may be one.

        Raises:
            InferenceError: inference.load, the disk does not take it.
        """
        name = f"{_hex(key)}.{os.getpid()}.{next(_numbers)}.mark"
        held = {"key": key, "engine": engine, "model": model, "boot": _boot() if hosted else ""}
        about = json.dumps(held).encode()
        with _disk(), self._locked():
            path = self.root / name
            write_file(path, _AT_WORK + about)
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            take(handle)
        return Mark(path, handle)

    def crashed(self, key: str, *, engine: str, model: str) -> None:
        """Count one crash of an engine that lives in a process of its own.

        Raises:
            InferenceError: inference.load, the disk does not take it.
        """
        with _disk(), self._locked():
            self._count(Crashes(key=key, engine=engine, model=model))

    def entries(self) -> Sequence[tuple[Crashes, bool]]:
        """List the engines that crashed lately, and whether each is quarantined; writes nothing.

        What died since the last start of its engine is counted at the next.

        Raises:
            InferenceError: inference.load, the record cannot be read.
        """
        if not self.root.is_dir():
            return []
        with _disk():
            read = [self._read(path) for path in sorted(self.root.glob("*.json"))]
        return [(one, self._is_quarantined(one)) for one in read if one is not None]

    def clear(self, start_of_key: str) -> list[str]:
        """Forget the crashes of the engines whose key begins so; return their keys.

        Raises:
            InferenceError: inference.load, the record cannot be written.
        """
        wanted = [
            one.key
            for one, _ in self.entries()
            if _hex(one.key).startswith(start_of_key.removeprefix("sha256:"))
        ]
        with _disk():
            for key in wanted:
                remove_file(self._record(key))
        return wanted

    def _is_quarantined(self, crashes: Crashes) -> bool:
        return len(crashes.at) >= self.limits.crashes_max

    def _record(self, key: str) -> Path:
        return self.root / f"{_hex(key)}.json"

    def _collect(self) -> None:
        """Count the marks that dead processes left."""
        for path in self.root.glob("*.mark"):
            with suppress(FileNotFoundError), path.open("rb") as file:
                if not take(file.fileno()):
                    continue
                died = _died(file.read(), path.name.partition(".")[0])
                if died is not None:
                    self._count(died)
                path.unlink(missing_ok=True)

    def _count(self, new: Crashes) -> None:
        now = self.clock.now()
        before = self._read(self._record(new.key))
        at = tuple(t for t in (before.at if before else ()) if now - t <= self.limits.crash_memory_seconds)
        counted = Crashes(key=new.key, engine=new.engine, model=new.model, at=(*at, now))
        write_file(self._record(new.key), json.dumps(asdict(counted)).encode())
        word = "engine.quarantined" if self._is_quarantined(counted) else "engine.crashed"
        _log.error(word, engine=new.engine, model=new.model, key=new.key[:19], crashes=len(counted.at))

    def _read(self, path: Path) -> Crashes | None:
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            return Crashes(
                key=str(held["key"]),
                engine=str(held["engine"]),
                model=str(held["model"]),
                at=tuple(float(t) for t in held["at"]),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            _log.error("engine.crashes_unreadable", file=path.name[:19])
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(make_folder(self.root) / _LOCK, seconds_max=self.limits.crashes_wait_seconds_max):
            yield


def _died(mark: bytes, digits: str) -> Crashes | None:
    """Read a mark that nobody holds; None when it is no crash, or not of the key it is named after."""
    try:
        held = json.loads(mark[1:])
        died = Crashes(key=str(held["key"]), engine=str(held["engine"]), model=str(held["model"]))
        this_boot = held["boot"] == _boot()
    except (ValueError, KeyError, TypeError):
        return None
    return died if mark[:1] == _AT_WORK and _hex(died.key) == digits and not this_boot else None


def _boot() -> str:
    """Name this run of the machine; "?" where the system does not."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "?"


def _hex(key: str) -> str:
    return key.removeprefix("sha256:")


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except (NoSpace, DiskFault, OSError) as error:
        raise InferenceError(
            "inference.load", f"The record of crashes cannot be written ({type(error).__name__})."
        ) from error
