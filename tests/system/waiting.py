"""Bounded waits: nothing here sleeps longer than it must, and nothing waits for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.1


def until(look: Callable[[], T], *, seconds: float, what: str) -> T:
    """Look again and again; return the first answer that is not empty, or fail and say what was missing."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(_LOOK_SECONDS)
