"""How fast a disk is and how long its syncs take, in a bounded trial that leaves nothing behind.

Promises: at most so many bytes and so many seconds; the file is gone afterwards.
Never: judges what it measured.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.disk.durable import FILE_MODE, translated

_BLOCK_BYTES = 4096
_PIECE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class DiskSpeed:
    """What a disk did.

    Attributes:
        sync_seconds: of one small write with its sync, the median.
        sync_seconds_max: the longest.
        bytes_per_second: of one long write with one sync at its end.
    """

    sync_seconds: float
    sync_seconds_max: float
    bytes_per_second: float


def measure(
    folder: Path, *, bytes_max: int = 32 * 2**20, syncs_max: int = 48, seconds_max: float = 2.0
) -> DiskSpeed:
    """Write to a file of its own in `folder`, once long and often small, and time the syncs.

    Raises:
        NoSpace: the disk is full.
        DiskFault: it failed.
    """
    path = folder / f".readside-doctor.{os.getpid()}.tmp"
    handle = -1
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        speed = _long(handle, bytes_max, seconds_max)
        syncs = sorted(_small(handle, syncs_max, seconds_max))
    except OSError as error:
        raise translated(error, path) from error
    finally:
        if handle >= 0:
            os.close(handle)
        with suppress(OSError):
            path.unlink(missing_ok=True)
    return DiskSpeed(sync_seconds=syncs[len(syncs) // 2], sync_seconds_max=syncs[-1], bytes_per_second=speed)


def _long(handle: int, bytes_max: int, seconds_max: float) -> float:
    """Write until the bytes or the time are used up, sync, and return bytes a second."""
    # Not zeros: a disk that compresses would be measured at something else.
    piece, written = os.urandom(_PIECE_BYTES), 0
    began = time.monotonic()
    while written < bytes_max and time.monotonic() - began < seconds_max:
        written += os.write(handle, piece)
    os.fdatasync(handle)
    return written / max(time.monotonic() - began, 1e-9)


def _small(handle: int, syncs_max: int, seconds_max: float) -> list[float]:
    """Write and sync one block again and again; return how long each took. It is one at least."""
    block, taken = os.urandom(_BLOCK_BYTES), list[float]()
    until = time.monotonic() + seconds_max
    while not taken or (len(taken) < syncs_max and time.monotonic() < until):
        began = time.perf_counter()
        os.pwrite(handle, block, 0)
        os.fdatasync(handle)
        taken.append(time.perf_counter() - began)
    return taken
