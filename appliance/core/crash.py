"""Named places where a test may kill the process, to see that nothing was promised too early.

Promises: costs one comparison where no test asks for it.
Never: does anything in a box that serves, where the variable is not set.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "READSIDE_CRASH_AT"


class _Point:
    """Where to die, and after how many times of passing by."""

    def __init__(self, text: str) -> None:
        self.name, _, times = text.partition(":")
        self.left = int(times or "1")


_POINT: Final = _Point(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def crash_here(name: str) -> None:
    """Die as by SIGKILL if `READSIDE_CRASH_AT` is this name, or `name:3` and this is the third time."""
    if _POINT is None or _POINT.name != name:
        return
    _POINT.left -= 1
    if _POINT.left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
