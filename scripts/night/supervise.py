"""The box's own supervisor, which also arms crash points and writes down each death.

usage: python -m scripts.night.supervise --config FILE --orders FOLDER [--forked] [--again FD]
An order is a file named after a service; its text is what READSIDE_CRASH_AT says to the next process of it.
With --forked, services are forked from this process, which has everything loaded: a start then costs
milliseconds, and is otherwise the same. With --again the supervisor itself is forked, for each line on
standard input, and its number is told to that file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from appliance.cli.box import ServiceName, _run_service
from appliance.core import crash, log
from appliance.core.config import load
from appliance.core.limits import Limits
from appliance.ledger.engine import open_ledger
from appliance.services.run import NAMES, Child, Supervisor
from appliance.services.stage import SUPERVISOR
from scripts.night.journal import Journal
from scripts.night.spring import forked_again

_LOOK_SECONDS = 0.02


class Forked:
    """A process that was forked: as much of a `Popen` as a supervisor uses."""

    def __init__(self, name: str, config_path: Path, armed: str) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _be(name, config_path, armed)

    def poll(self) -> int | None:
        """Return the exit code of a process that ended, as `Popen` does."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        deadline = time.monotonic() + (timeout or 0.0)
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_LOOK_SECONDS)
        return code


def _be(name: str, config_path: Path, armed: str) -> None:
    """Be a service from here on; never return."""
    code = 70
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        crash.arm(armed)
        os.environ[SUPERVISOR] = str(os.getppid())
        code = _run_service(ServiceName(name), load(config_path))
    # Typer's way to end with a code; the child must not run on as a supervisor.
    except BaseException as error:  # noqa: BLE001 - the forked process's last line
        code = int(getattr(error, "exit_code", 70))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(code)


@dataclass
class NightSupervisor(Supervisor):
    """Starts services armed where an order says so, and tells of each death."""

    orders: Path = field(kw_only=True)
    deaths: Journal = field(kw_only=True)
    forked: bool = field(kw_only=True)
    armed: dict[int, str] = field(default_factory=dict)

    def run(self) -> int:
        """Run as the box's own does, with a shorter look: who dies is missed for a moment only."""
        for name in self.names:
            self._start(name, self.limits.restart_seconds)
        while not self.stopping.wait(_LOOK_SECONDS):
            for child in list(self.children.values()):
                self._look_after(child)
        self._stop_all()
        return 0

    def _start(self, name: str, pause_seconds: float) -> None:
        armed = self._order(name)
        if self.forked:
            process: Any = Forked(name, self.config_path, armed)
        else:
            command = [sys.executable, "-m", "appliance.cli", "service", name]
            environment = {**os.environ, SUPERVISOR: str(os.getpid()), crash.VARIABLE: armed}
            process = subprocess.Popen(
                [*command, "--config", str(self.config_path)], start_new_session=True, env=environment
            )
        self.armed[process.pid] = armed
        self.children[name] = Child(
            name, cast("subprocess.Popen[bytes]", process), time.monotonic(), pause_seconds
        )

    def _order(self, name: str) -> str:
        path = self.orders / name
        try:
            text = path.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""
        path.unlink()
        return text

    def _look_after(self, child: Child) -> None:
        died = child.due_at is None and child.process.poll() is not None
        if died:
            self.deaths.note(
                service=child.name,
                pid=child.process.pid,
                code=child.process.poll(),
                armed=self.armed.pop(child.process.pid, ""),
                at=round(time.time(), 3),
                lived=round(time.monotonic() - child.started_at, 3),
            )
        super()._look_after(child)


def main() -> int:
    """Supervise until told to stop."""
    parser = argparse.ArgumentParser(prog="scripts.night.supervise")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--orders", type=Path, required=True)
    parser.add_argument("--forked", action="store_true")
    parser.add_argument("--again", type=int)
    asked = parser.parse_args()
    log.configure("supervisor")
    if asked.forked:
        for name in NAMES:
            import_module(f"appliance.services.{name}")
    if asked.again is not None:
        forked_again(asked.again)
    open_ledger(load(asked.config).ledger_url).close()
    asked.orders.mkdir(parents=True, exist_ok=True)
    supervisor = NightSupervisor(
        asked.config,
        # Killed again and again, a box must not be punished for it with ever longer pauses.
        limits=Limits(restart_seconds=0.05, restart_seconds_max=0.1),
        orders=asked.orders,
        deaths=Journal(asked.orders.parent / "deaths.jsonl"),
        forked=asked.forked,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    code = supervisor.run()
    if asked.again is not None:
        # A process that was forked has threads of libraries to wait for that it never had.
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
