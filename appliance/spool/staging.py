"""Where instances lie while they come: a bounded number of buffers, used again and again.

Promises: no more memory than `staging_buffers_max` buffers; one more arrival waits, which slows its sender.
Never: gives a buffer to two.
"""

from __future__ import annotations

import queue
import threading

from appliance.disk.blocks import aligned


class Staging:
    """Aligned buffers of one size; made when first needed, kept afterwards."""

    def __init__(self, buffer_bytes: int, count_max: int) -> None:
        self.buffer_bytes = buffer_bytes
        self._left = count_max
        self._lock = threading.Lock()
        # The last one back is the next one out: its pages are in memory and in the processor's cache.
        self._free: queue.LifoQueue[memoryview] = queue.LifoQueue()

    def take(self, seconds: float) -> memoryview | None:
        """Return a buffer, or nothing where none came free within the time."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            if self._left > 0:
                self._left -= 1
                return aligned(self.buffer_bytes)
        try:
            return self._free.get(timeout=seconds)
        except queue.Empty:
            return None

    def give_back(self, buffer: memoryview) -> None:
        """Take a buffer back; what lies in it is of no use to anybody."""
        self._free.put_nowait(buffer)
