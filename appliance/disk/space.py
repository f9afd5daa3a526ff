"""Free space: receiving stops before the disk is full; nothing unprocessed is deleted to make room."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import NoSpace


def free_bytes(path: Path) -> int:
    """Return the bytes an ordinary process may still write on the file system of `path`."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


@dataclass
class Floor:
    """The free space that arrivals may not eat into.

    The answer of the file system is reused for `fresh_seconds`, less what was admitted meanwhile.
    """

    path: Path
    floor_bytes: int
    fresh_seconds: float = 1.0
    clock: Clock = SYSTEM
    _free: int = field(default=0, init=False)
    _at: float | None = field(default=None, init=False)

    def admit(self, size: int) -> None:
        """Reserve room for `size` bytes.

        Raises:
            NoSpace: they would bring free space under the floor.
        """
        now = self.clock.elapsed()
        if self._at is None or now - self._at >= self.fresh_seconds or self._free - size < self.floor_bytes:
            self._free, self._at = free_bytes(self.path), now
        if self._free - size < self.floor_bytes:
            raise NoSpace(f"{self.path}: {self._free} bytes free, the floor is {self.floor_bytes}")
        self._free -= size
