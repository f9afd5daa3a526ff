"""A segment: one file with room made beforehand, to which whole blocks are appended, by many at once.

Promises: a range is given to one claimant only; what it wrote durably is there after a power cut.
Never: gives a range twice, or reuses one whose bytes were given back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from appliance.disk.blocks import BlockFile, aligned, whole_blocks
from appliance.disk.durable import FILE_MODE, sync_folder, translated


class Segment:
    """The segment that is being appended to; `end` is where the next range begins, in bytes."""

    def __init__(self, path: Path, *, start: int) -> None:
        self.path, self.end = path, start
        self.file = BlockFile(path)

    @property
    def room(self) -> int:
        """Return the bytes behind the end, made beforehand."""
        return self.file.size - self.end

    def reserve(self, length: int) -> int:
        """Take the next range of whole blocks and return its offset; the caller holds the lock."""
        assert length <= self.room, "the claimant asked for room first"
        at, self.end = self.end, self.end + whole_blocks(length)
        return at

    def give_back_last(self, at: int, length: int) -> None:
        """Take a range back that nobody promised anything about, if it is still the last one."""
        if self.end == at + whole_blocks(length):
            self.end = at


def make_segment(
    temporary: Path, final: Path, size: int, *, fill_bytes: int | None, stop: Callable[[], bool] = bool
) -> bool:
    """Make an empty segment under its final name; durable on return. Say false if `stop` said so meanwhile.

    With `fill_bytes` its zeros are written, so many bytes at a time; else only its room is reserved.

    Raises:
        NoSpace, DiskFault: see `appliance.disk.durable`; nothing is left behind.
    """
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            os.posix_fallocate(handle, 0, size)
            if fill_bytes is not None and not _fill(temporary, size, fill_bytes, stop):
                temporary.unlink()
                return False
            os.fsync(handle)
            os.rename(temporary, final)
        finally:
            os.close(handle)
    except OSError as error:
        _forget(temporary)
        raise translated(error, final) from error
    sync_folder(final.parent)
    return True


def _fill(path: Path, size: int, step: int, stop: Callable[[], bool]) -> bool:
    zeros = aligned(step)
    file = BlockFile(path)
    try:
        for at in range(0, size, step):
            if stop():
                return False
            file.write(at, zeros[: min(step, size - at)], durable=False)
    finally:
        file.close()
    return True


def _forget(path: Path) -> None:
    # A disk that fails may refuse this too; the sweep at start removes temporary files.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
