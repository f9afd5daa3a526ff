"""What every service stands on: configuration, ledger, a stop signal, a beat that says it lives."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.core import log
from appliance.core.config import Config
from appliance.core.limits import DEFAULT, Limits
from appliance.ledger import services
from appliance.ledger.engine import Ledger, open_ledger

_log = log.get("services")
_LOOK_SECONDS = 1.0
FAULT_EXIT = 70  # EX_SOFTWARE: the supervisor starts the service again, and its sweep puts things right


@dataclass
class Stage:
    """One running service."""

    name: str
    config: Config
    ledger: Ledger
    limits: Limits = DEFAULT
    stopping: threading.Event = field(default_factory=threading.Event)
    faulty: threading.Event = field(default_factory=threading.Event)

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
    log.configure(name)
    os.umask(0o077)
    ledger = open_ledger(config.ledger_url)
    stage = Stage(name=name, config=config, ledger=ledger)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stage.stop())
    with ledger.write() as tx:
        services.started(tx, name, pid=os.getpid(), at=ledger.clock.now(), detail=detail)
    beat = threading.Thread(target=_beat, args=(stage,), name="beat", daemon=True)
    beat.start()
    _log.info("service.started", pid=os.getpid(), **detail)
    try:
        yield stage
    finally:
        stage.stop()
        beat.join()
        ledger.close()
        _log.info("service.stopped", exit_code=stage.exit_code)


def _beat(stage: Stage) -> None:
    """Beat, and end the service when the supervisor that started it is gone."""
    parent = os.getppid()
    beaten_at = stage.ledger.clock.elapsed()
    while not stage.stopping.wait(_LOOK_SECONDS):
        if os.getppid() != parent:
            _log.error("service.orphaned")
            stage.stop()
        elif stage.ledger.clock.elapsed() - beaten_at >= stage.limits.heartbeat_seconds:
            beaten_at = stage.ledger.clock.elapsed()
            with stage.ledger.write() as tx:
                services.beat(tx, stage.name, at=stage.ledger.clock.now())
