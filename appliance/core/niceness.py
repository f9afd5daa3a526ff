"""Less of the processor for work that can wait, while it can (setpriority(2), of one thread on Linux).

Promises: a thread that gave way is what it was before when the block ends.
Never: gives way where that could not be taken back: without CAP_SYS_NICE or RLIMIT_NICE a thread may only
become nicer, and work that somebody waits for would stay behind everything else.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

NICER_BY = 10
"""A tenth of what another thread gets that wants the same core."""


@contextmanager
def giving_way() -> Iterator[bool]:
    """Run a block nicer than before on the calling thread; give whether the system lets it."""
    if not may_come_back():
        yield False
        return
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, before + NICER_BY)
    try:
        yield True
    finally:
        os.setpriority(os.PRIO_PROCESS, thread, before)


@cache
def may_come_back() -> bool:
    """Say whether a thread that became nicer may become what it was; tried on one that ends with it."""
    tried: list[bool] = []
    probe = threading.Thread(target=lambda: tried.append(_tried()), name="niceness")
    probe.start()
    probe.join()
    return tried == [True]


def _tried() -> bool:
    # Elsewhere a number names a process, and all its threads would become nicer.
    if sys.platform != "linux":
        return False
    thread = threading.get_native_id()
    try:
        before = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, before + NICER_BY)
        os.setpriority(os.PRIO_PROCESS, thread, before)
        return os.getpriority(os.PRIO_PROCESS, thread) == before
    except OSError:
        return False
