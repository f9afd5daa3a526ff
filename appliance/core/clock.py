"""The only place where the box reads a clock.

`now` is wall-clock time for rows that must outlive a restart; `elapsed` is for durations inside a process.
Tests hold both still through `Clock`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """The system's clock, in seconds."""

    def now(self) -> float:
        """Return seconds since the Unix epoch, UTC."""
        return time.time()

    def elapsed(self) -> float:
        """Return seconds on a clock that never jumps; only differences mean anything."""
        return time.monotonic()


@dataclass
class HeldClock(Clock):
    """A clock that a test moves by hand."""

    seconds: float = 1_700_000_000.0

    def now(self) -> float:
        """Return the held time."""
        return self.seconds

    def elapsed(self) -> float:
        """Return the held time."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Move the held time on."""
        self.seconds += seconds


class StepWatch:
    """Tells when somebody set the wall clock, which it compares with the one that never jumps."""

    def __init__(self, clock: Clock, step_seconds_min: float) -> None:
        self._clock, self._least = clock, step_seconds_min
        self._offset = clock.now() - clock.elapsed()

    def look(self) -> float:
        """Return by how many seconds the wall clock was set since the last look; a little is drift."""
        offset = self._clock.now() - self._clock.elapsed()
        step, self._offset = offset - self._offset, offset
        return step if abs(step) >= self._least else 0.0


class TokenBucket:
    """Lets so many things happen a minute, in a burst or spread; safe to ask from several threads."""

    def __init__(self, per_minute_max: int, clock: Clock) -> None:
        self._size, self._clock = float(per_minute_max), clock
        self._left, self._at = self._size, clock.elapsed()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one; false when none is left at the moment."""
        with self._lock:
            now = self._clock.elapsed()
            self._left = min(self._size, self._left + (now - self._at) * self._size / 60)
            self._at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


SYSTEM = Clock()


def as_datetime(seconds: float) -> datetime:
    """Return the aware UTC time of an epoch second."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def as_text(seconds: float) -> str:
    """Return an epoch second as ISO 8601 text in UTC, to the second."""
    return as_datetime(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
