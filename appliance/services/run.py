"""The whole box in the foreground: every service a process, started again when it dies.

The supervisor does nothing else; on an installed box systemd takes its place.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core import log
from appliance.core.config import Config
from appliance.core.limits import DEFAULT, Limits
from appliance.ledger.engine import assert_sound, open_ledger
from appliance.services.stage import SUPERVISOR

_log = log.get("supervisor")
NAMES = ("conductor", "audit", "health", "listener", "worker", "courier", "console")
# A kernel that looks for huge pages may have to move others out of their way: the masks of a series, written
# once, then cost up to half a second instead of a tenth. numpy asks for them unless told so before it starts.
_SMALL_PAGES = {"NUMPY_MADVISE_HUGEPAGE": "0"}
# Only where the site names a registry; the second also where somebody is told of alarms.
SYNC, TELEMETRY = "sync", "telemetry"


@dataclass
class Child:
    """One service's process and how often it had to be started again."""

    name: str
    process: subprocess.Popen[bytes]
    started_at: float
    pause_seconds: float
    due_at: float | None = None


@dataclass
class Supervisor:
    """Starts the services, starts them again when they die, and stops them in order."""

    config_path: Path
    names: Sequence[str] = NAMES
    limits: Limits = DEFAULT
    stopping: threading.Event = field(default_factory=threading.Event)
    children: dict[str, Child] = field(default_factory=dict)

    def run(self) -> int:
        """Run until told to stop; return 0."""
        for name in self.names:
            self._start(name, self.limits.restart_seconds)
        while not self.stopping.wait(0.2):
            for child in list(self.children.values()):
                self._look_after(child)
        self._stop_all()
        return 0

    def _start(self, name: str, pause_seconds: float) -> None:
        command = [sys.executable, "-m", "appliance.cli", "service", name, "--config", str(self.config_path)]
        environment = {**_SMALL_PAGES, **os.environ, SUPERVISOR: str(os.getpid())}
        process = subprocess.Popen(command, start_new_session=True, env=environment)
        self.children[name] = Child(name, process, time.monotonic(), pause_seconds)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.due_at is not None:
            if now >= child.due_at:
                self._start(child.name, child.pause_seconds)
            return
        code = child.process.poll()
        if code is None:
            if now - child.started_at > self.limits.restart_seconds_max:
                child.pause_seconds = self.limits.restart_seconds
            return
        _log.error(
            "service.died", service_name=child.name, exit_code=code, again_in_seconds=child.pause_seconds
        )
        child.due_at = now + child.pause_seconds
        child.pause_seconds = min(child.pause_seconds * 2, self.limits.restart_seconds_max)

    def _stop_all(self) -> None:
        """Stop the listener first and the conductor last, each with time to finish what it holds."""
        for name in reversed(self.names):
            self._signal(name, signal.SIGTERM)
        deadline = time.monotonic() + self.limits.drain_seconds + 5
        for name in reversed(self.names):
            try:
                self.children[name].process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                _log.error("service.killed", service_name=name)
                self._signal(name, signal.SIGKILL)
                self.children[name].process.wait()

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.children[name].process
        if process.poll() is None:
            os.kill(process.pid, number)


def names_of(config: Config) -> tuple[str, ...]:
    """Return the services that a site needs, in the order in which they are started."""
    sync = (SYNC,) if config.registry.url else ()
    telemetry = (TELEMETRY,) if config.registry.told != "off" or config.alerts.ways else ()
    return (*NAMES, *sync, *telemetry)


def run_box(config: Config, config_path: Path) -> int:
    """Run every service of the box until SIGTERM or SIGINT; return the exit code."""
    log.configure("supervisor")
    # Opened once before anything starts: a ledger that is refused is one clear error, not five.
    open_ledger(config.ledger_url).close()
    assert_sound(config.ledger_url, seconds_max=DEFAULT.ledger_start_look_seconds_max)
    supervisor = Supervisor(config_path, names_of(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    _log.info("box.started", pid=os.getpid(), services=len(supervisor.names))
    code = supervisor.run()
    _log.info("box.stopped")
    return code
