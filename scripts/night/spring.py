"""Where a box comes from that is started again and again: a process with everything loaded forks it.

A start then costs what the services do, and not the loading of what they are made of.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_LOOK_SECONDS = 0.02
_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_END_SECONDS_MAX = 20.0


class Sprung:
    """A supervisor that was forked: as much of a `Popen` as a box uses. Its parent buries it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return none while it lives; how it ended is not known here."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Tell it something, if it still is."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_LOOK_SECONDS)
        return 0


class Spring:
    """The process that forks; what it and all that comes of it say goes to one log."""

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        told, tell = os.pipe()
        with log_path.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--again", str(tell)], stdin=subprocess.PIPE, stdout=output,
                stderr=subprocess.STDOUT, pass_fds=[tell],
            )  # fmt: skip
        os.close(tell)
        self._told = os.fdopen(told, "r", encoding="ascii")

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self) -> Sprung:
        """Start a supervisor."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        line = self._told.readline()
        assert line, "the process that forks ended"
        return Sprung(int(line))

    def close(self) -> None:
        """End it; a supervisor that it forked is ended before."""
        try:
            self._process.communicate(timeout=_END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._told.close()


def forked_again(tell: int) -> None:
    """Be that process: fork for every line that comes, and return in the child alone."""
    # Who loses its parent gets this one: nobody of a box can be overlooked. The kernel buries them.
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    pid = 0
    for _ in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.close(tell)
            return
        os.write(tell, f"{pid}\n".encode("ascii"))
    if pid:
        # Ended before, if whoever gave the orders could: else nobody is left to end it.
        Sprung(pid).send_signal(signal.SIGTERM)
    os._exit(0)
