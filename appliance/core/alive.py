"""Tell systemd that a service serves, and that it goes on doing so (sd_notify(3), the watchdog).

Promises: the first word says that the service is ready; where nobody listens, a word costs a comparison.
Never: is called from a thread that does nothing else, for that would go on when the work has stopped.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping

_SOCKET, _WATCHDOG = "NOTIFY_SOCKET", "WATCHDOG_USEC"
# So often within the time after which systemd takes a service for hung.
_WORDS_IN_A_WATCHDOG = 4


class Notifier:
    """The line from a service to whoever started it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Read where words go, and how often they are wanted; a child process inherits neither use."""
        self._address = environment.get(_SOCKET, "").replace("@", "\0", 1)
        wanted = environment.get(_WATCHDOG, "")
        self._every = int(wanted) / 1e6 / _WORDS_IN_A_WATCHDOG if wanted.isdigit() else float("inf")
        self._lock = threading.Lock()
        self._told_at: float | None = None

    def alive(self) -> None:
        """Say that the work goes on; the first time, that the service is ready."""
        if not self._address:
            return
        with self._lock:
            first, now = self._told_at is None, time.monotonic()
            if self._told_at is not None and now - self._told_at < self._every:
                return
            self._told_at = now
        self._say("READY=1" if first else "WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service brings to an end what it holds."""
        if self._address:
            self._say("STOPPING=1")

    def _say(self, word: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            try:
                line.sendto(word.encode(), self._address)
            except OSError:
                # Who does not hear it starts the service anew; the work itself is not at fault.
                return


_NOTIFIER = Notifier(os.environ)
alive, stopping = _NOTIFIER.alive, _NOTIFIER.stopping
