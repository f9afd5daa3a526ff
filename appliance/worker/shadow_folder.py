"""Answers that wait on the box's disk until a shadow has seen the same images.

Promises: what is read is what was put away, or nothing; a file that nobody asks for any more is removed.
Never: takes room that images need: below the floor of free space nothing is put away.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from appliance.core.config import Config
from appliance.disk.durable import DiskFault, NoSpace, make_folder, remove_file, write_file
from appliance.disk.space import Floor
from appliance.worker.limits import ShadowLimits
from models.agreement import Reading
from models.sealed import SealFault, seal, unseal

_SUFFIX = ".answer"
# Younger ones may be another worker's, whose row is on its way.
_LEFT_BEHIND_SECONDS = 3600.0


class ShadowFolder:
    """The folder `shadow` under the storage root; a file is named after its job."""

    def __init__(self, config: Config, limits: ShadowLimits) -> None:
        self._folder = config.storage.root / "shadow"
        self._limits = limits
        self._floor = Floor(path=config.storage.root, floor_bytes=config.storage.floor_bytes)

    def put(self, job_id: int, reading: Reading) -> bool:
        """Put an answer away; false where it is too large, or the disk is full or fails.

        A disk that fails is met again by whoever keeps images, and that ends the process.
        """
        data = seal(reading)
        if len(data) > self._limits.kept_bytes_max:
            return False
        try:
            self._floor.admit(len(data))
            make_folder(self._folder)
            write_file(self._path(job_id), data)
        except (NoSpace, DiskFault, OSError):
            return False
        return True

    def read(self, job_id: int) -> Reading | None:
        """Return an answer; none where it is not there, or is not what was put away."""
        try:
            return unseal(self._path(job_id).read_bytes())
        except (OSError, SealFault):
            return None

    def remove(self, job_id: int) -> None:
        """Remove an answer; one that is gone is no error."""
        try:
            remove_file(self._path(job_id))
        except DiskFault:
            return

    def sweep(self, needed: Collection[int]) -> int:
        """Remove the answers that no job in `needed` has; return how many."""
        names = {str(job_id) for job_id in needed}
        removed = 0
        # Another worker may remove the same ones; and a disk that fails is met where images are kept.
        with suppress(OSError):
            for path in [path for path in self._folder.iterdir() if path.stem not in names]:
                if path.stat().st_mtime < time.time() - _LEFT_BEHIND_SECONDS:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _path(self, job_id: int) -> Path:
        return self._folder / f"{job_id}{_SUFFIX}"
