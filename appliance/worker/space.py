"""Memory for one volume that stays with the worker and is taken from the kernel before it is needed.

A page that is touched for the first time costs more than what is then written to it, many times more in a
virtual machine; for a CT of 400 slices that is up to a second. So pages are touched while the slices arrive,
and kept for the next series.

Promises: an array is its holder's alone until the last view of it is gone; no more than the bound is kept
between volumes.
Never: refuses. A second volume at the same time, or one too large, gets memory of its own.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections.abc import Callable

import numpy as np

from models.tensors import FloatArray

Empty = Callable[[tuple[int, int, int]], FloatArray]
_STEP_BYTES = 16 << 20
_PAGE_BYTES = mmap.PAGESIZE
# Linux's MAP_NORESERVE, which Python names from 3.12 on.
_NO_RESERVE = 0x4000


def own_memory(shape: tuple[int, int, int]) -> FloatArray:
    """Return an array of fresh memory, not set to anything."""
    return np.empty(shape, np.float32)


class VolumeSpace:
    """Room for one volume at a time; any thread may ask."""

    def __init__(self, *, bytes_max: int, kept_bytes_max: int) -> None:
        # Addresses only: the kernel gives memory to a page when something is written there.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
        try:
            self._map = mmap.mmap(-1, bytes_max, flags=flags)
        except OSError:
            # A kernel that counts addresses as memory: each volume gets its own then.
            self._map, bytes_max = mmap.mmap(-1, _PAGE_BYTES, flags=flags), 0
        self._pages = np.frombuffer(self._map, np.uint8)
        self._bytes_max, self._kept_bytes_max = bytes_max, kept_bytes_max
        # The interpreter may free an array, and run `_free`, while this very thread holds the lock.
        self._lock = threading.RLock()
        self._in_use, self._touched = False, 0

    @property
    def touched_bytes(self) -> int:
        """Return how much has memory behind it, in bytes."""
        return self._touched

    def touch(self, size_bytes: int, *, go_on: Callable[[], bool] = lambda: True) -> None:
        """Take memory for a volume of some bytes, a step at a time as long as `go_on` says so."""
        wanted = min(size_bytes, self._kept_bytes_max, self._bytes_max)
        while go_on():
            with self._lock:
                if self._in_use or self._touched >= wanted:
                    return
                end = min(self._touched + _STEP_BYTES, wanted)
                self._pages[self._touched : end : _PAGE_BYTES] = 0
                self._touched = end

    def empty(self, shape: tuple[int, int, int]) -> FloatArray:
        """Return a float32 array that is not set to anything, here or in memory of its own."""
        count = shape[0] * shape[1] * shape[2]
        with self._lock:
            if self._in_use or not 0 < 4 * count <= self._bytes_max:
                return own_memory(shape)
            self._in_use = True
            held: FloatArray = np.frombuffer(self._map, np.float32, count)
        # Each view of it, whoever has it, holds this one.
        weakref.finalize(held, self._free, 4 * count).atexit = False
        return held.reshape(shape)

    def _free(self, size_bytes: int) -> None:
        with self._lock:
            self._touched = max(self._touched, size_bytes)
            if self._touched > self._kept_bytes_max:
                self._map.madvise(mmap.MADV_DONTNEED, self._kept_bytes_max)
                self._touched = self._kept_bytes_max
            self._in_use = False
