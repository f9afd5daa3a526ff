"""Locks between processes: the kernel lets go of them however a process ends, and every wait ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.05


def take(handle: int) -> bool:
    """Lock an open file for this process alone; false when another holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path, *, seconds_max: float) -> Iterator[None]:
    """Hold a lock file, made when it is missing, while the block runs.

    Raises:
        TimeoutError: another process held it all the time.
        OSError: it cannot be opened.
    """
    until = time.monotonic() + seconds_max
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        while not take(handle):
            if time.monotonic() > until:
                raise TimeoutError(f"{path.name} is held by another process")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(handle)
