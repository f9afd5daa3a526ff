"""Where the loop of an association rests, and how a connection has its say in the log.

Promises: the loop wakes when something came for it, and looks around now and then all the same.
Never: knows what came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Protocol

_LOOK_SECONDS: Final = 0.25


class Warn(Protocol):
    """Logs a word about a connection, once in a while."""

    def __call__(self, word: str, **values: object) -> None:
        """Log `word`, or keep it back."""


class Checkpoint(threading.Event):
    """The event at which the association's loop may be held; here it also waits until something came."""

    def __init__(self, idle: Callable[[], bool]) -> None:
        """Be set, and wait while `idle`."""
        super().__init__()
        self._idle = idle
        self._rung = threading.Event()
        self.set()

    def ring(self) -> None:
        """Wake the loop."""
        self._rung.set()

    def set(self) -> None:
        """Let the loop run on, and wake it."""
        super().set()
        self._rung.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for something to do, for a moment at most, then until the loop may run."""
        if self._idle():
            self._rung.wait(_LOOK_SECONDS)
        self._rung.clear()
        return super().wait(timeout)
