"""The only place where the box reads a clock.

`now` is wall-clock time for rows that must outlive a restart; `elapsed` is for durations inside a process.
Tests hold both still through `Clock`.
"""

from __future__ import annotations

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


SYSTEM = Clock()


def as_datetime(seconds: float) -> datetime:
    """Return the aware UTC time of an epoch second."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def as_text(seconds: float) -> str:
    """Return an epoch second as ISO 8601 text in UTC, to the second."""
    return as_datetime(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
