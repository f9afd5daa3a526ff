"""Where instances lie while they come: a bounded number of buffers, used again and again.

Promises: no more memory than `staging_buffers_max` buffers; one more arrival waits, which slows its sender.
Never: gives a buffer to two.
"""

from __future__ import annotations

import threading

from appliance.disk.blocks import aligned


class Staging:
    """Aligned buffers of one size; made when first needed, kept afterwards."""

    def __init__(self, buffer_bytes: int, count_max: int) -> None:
        self.buffer_bytes = buffer_bytes
        self._left = count_max
        self._came_back = threading.Condition()
        # Changed without the lock where nobody waits: appending to a list and popping are one step each.
        # The last one back is the next one out: its pages are in memory and in the processor's cache.
        self._free: list[memoryview] = []
        self._waiters = 0

    def take(self, seconds: float) -> memoryview | None:
        """Return a buffer, or nothing where none came free within the time."""
        buffer = self._pop()
        if buffer is not None:
            return buffer
        with self._came_back:
            if self._left > 0:
                self._left -= 1
                return aligned(self.buffer_bytes)
            self._waiters += 1
            try:
                # It looks before it waits, so that what came back a moment ago is not missed.
                return self._came_back.wait_for(self._pop, timeout=seconds)
            finally:
                self._waiters -= 1

    def give_back(self, buffer: memoryview) -> None:
        """Take a buffer back; what lies in it is of no use to anybody."""
        self._free.append(buffer)
        if self._waiters:
            with self._came_back:
                self._came_back.notify()

    def _pop(self) -> memoryview | None:
        try:
            return self._free.pop()
        except IndexError:
            return None
