"""One at a time: the sweep at the listener's start, and each batch that the conductor purges.

Both read what lies in a segment and change it by that; in between nobody else may take it away.
Promises: the kernel lets go of it however its holder ends.
Never: keeps an arrival waiting; receiving begins after the sweep.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.disk.durable import make_folder
from appliance.spool.store import Spool

_NAME = "alone.lock"


@contextmanager
def alone(spool: Spool, *, wait: bool) -> Iterator[bool]:
    """Have the area to oneself, and say so; without `wait`, false where somebody else has it."""
    with (make_folder(spool.root / spool.area) / _NAME).open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
