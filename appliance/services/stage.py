"""What every service stands on: configuration, ledger, a stop signal, a beat that says it lives."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core import log
from appliance.core.alive import stopping
from appliance.core.config import Config
from appliance.core.limits import DEFAULT, Limits
from appliance.disk.durable import make_folder
from appliance.ledger import events, services
from appliance.ledger.engine import Ledger, open_ledger
from appliance.ledger.reading import LedgerFault

_log = log.get("services")
_LOOK_SECONDS = 1.0
_LOCK_LOOK_SECONDS = 0.1
# The variable in which a supervisor tells a service which process it is.
SUPERVISOR = "READSIDE_SUPERVISOR"
FAULT_EXIT = 70  # EX_SOFTWARE: the supervisor starts the service again, and its sweep puts things right


class AnotherRuns(Exception):
    """A service of this box runs already."""


@dataclass
class Stage:
    """One running service."""

    name: str
    config: Config
    ledger: Ledger
    limits: Limits = DEFAULT
    stopping: threading.Event = field(default_factory=threading.Event)
    faulty: threading.Event = field(default_factory=threading.Event)

    def up(self, **detail: str | int) -> None:
        """Note in the ledger that the service is up since now."""
        with self.ledger.write() as tx:
            services.started(tx, self.name, pid=os.getpid(), at=self.ledger.clock.now(), detail=detail)

    def stop(self) -> None:
        """Ask the service to end."""
        self.stopping.set()

    def fault(self) -> None:
        """End the service because something happened after which it may not go on."""
        self.faulty.set()
        self.stopping.set()

    @property
    def exit_code(self) -> int:
        """Return what the process should exit with."""
        return FAULT_EXIT if self.faulty.is_set() else 0


@contextmanager
def on_stage(name: str, config: Config, **detail: str | int) -> Iterator[Stage]:
    """Set a service up, note its start, beat while it runs, and take it down in order."""
    os.umask(0o077)
    with _only_one(config.run_dir, name):
        yield from _staged(name, config, detail)


def _staged(name: str, config: Config, detail: dict[str, str | int]) -> Iterator[Stage]:
    ledger = open_ledger(config.ledger_url)
    stage = Stage(name=name, config=config, ledger=ledger)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stage.stop())
    stage.up(**detail)
    _note(stage, "service.started")
    beat = threading.Thread(target=_beat, args=(stage,), name="beat", daemon=True)
    beat.start()
    _log.info("service.started", pid=os.getpid(), **detail)
    try:
        yield stage
    finally:
        stopping()
        stage.stop()
        beat.join()
        # A ledger that fails may be why the service ends: what it could not be told is in the log.
        with suppress(LedgerFault):
            _note(stage, "service.stopped")
        ledger.close()
        _log.info("service.stopped", exit_code=stage.exit_code)


def _note(stage: Stage, word: str) -> None:
    """Write into the timeline that the service began or ended: the audit trail tells of it."""
    with stage.ledger.write() as tx:
        events.add(tx, word, at=stage.ledger.clock.now(), service=stage.name, pid=os.getpid())


@contextmanager
def _only_one(run_dir: Path, name: str) -> Iterator[None]:
    """Wait until a former process of this service is gone; the kernel lets go of the lock however it ends.

    Raises:
        AnotherRuns: it is still there after the time it has to drain.
    """
    with (make_folder(run_dir) / f"{name}.lock").open("a") as handle:
        deadline = time.monotonic() + 2 * DEFAULT.drain_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise AnotherRuns(f"another {name} of this box runs and does not end") from None
                time.sleep(_LOCK_LOOK_SECONDS)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def living(run_dir: Path, name: str) -> int | None:
    """Return the process id of this service on this machine; none when no process of it lives."""
    try:
        with (run_dir / f"{name}.lock").open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        written = (run_dir / f"{name}.lock").read_text(encoding="ascii").strip()
        return int(written) if written.isdigit() else None
    return None


def _beat(stage: Stage) -> None:
    """Beat, and end the service when the supervisor that started it is gone."""
    # Whoever started it may have died while it was still being loaded.
    parent = int(os.environ.get(SUPERVISOR, os.getppid()))
    beaten_at = stage.ledger.clock.elapsed()
    while not stage.stopping.wait(_LOOK_SECONDS):
        if os.getppid() != parent:
            _log.error("service.orphaned")
            stage.stop()
        elif stage.ledger.clock.elapsed() - beaten_at >= stage.limits.heartbeat_seconds:
            beaten_at = stage.ledger.clock.elapsed()
            # A ledger without room for a beat is no reason to stop looking whether the supervisor lives.
            with suppress(LedgerFault), stage.ledger.write() as tx:
                services.beat(tx, stage.name, at=stage.ledger.clock.now())
