"""End a call of a library that has no deadline of its own.

Promises: `end` is called at most once, from another thread, and never after the block was left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.inference.engine import InferenceError


@contextmanager
def ended_after(seconds: float, end: Callable[[], None]) -> Iterator[threading.Event]:
    """Call `end` when the block is still running after so many seconds; the event says that it was."""
    late = threading.Event()
    left = threading.Event()
    lock = threading.Lock()

    def ring() -> None:
        with lock:
            if not left.is_set():
                late.set()
                end()

    timer = threading.Timer(max(seconds, 0.0), ring)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        with lock:
            left.set()
        timer.cancel()


def too_late(seconds: float) -> InferenceError:
    """Give the error of a call that outlived its deadline."""
    return InferenceError("inference.deadline", f"The network did not answer within {seconds:.0f} seconds.")


def failed(error: Exception) -> InferenceError:
    """Give the error of a call that failed; the library's own text may quote paths and stays out of it."""
    return InferenceError("inference.failed", f"The network failed while it ran ({type(error).__name__}).")


class Deadline:
    """A point in time that several waits of one call share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._until = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """Give what is left of it, never less than nothing."""
        return max(self._until - time.monotonic(), 0.0)


class Turn:
    """Lets one call at a time use what cannot be shared: buffers, a stream, a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, seconds: float) -> Iterator[float]:
        """Wait for the turn; gives the seconds that are left of the deadline.

        Raises:
            InferenceError: inference.deadline.
        """
        start = time.monotonic()
        if not self._lock.acquire(timeout=max(seconds, 0.0)):
            raise too_late(seconds)
        try:
            yield max(seconds - (time.monotonic() - start), 0.0)
        finally:
            self._lock.release()
