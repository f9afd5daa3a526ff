"""A file that grows over several attempts, under a temporary name, until it is whole.

Promises: what was written stays for the next attempt, also when the process dies; under the final name the
file is whole and findable after a power cut.
Never: says that the bytes are right. Whoever commits has checked them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from appliance.disk.durable import FILE_MODE, sync_folder, translated


class PartialFile:
    """The part of a file that is here already, and what comes next; close it in any case."""

    def __init__(self, path: Path) -> None:
        """Open the part at `path`, or begin one.

        Raises:
            NoSpace, DiskFault: the disk is full or failed.
        """
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, FILE_MODE)
            self.length = os.fstat(self._handle).st_size
        except OSError as error:
            raise translated(error, path) from error
        self._open = True

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            NoSpace: the disk is full; the part was removed, so that others may have the room.
            DiskFault: any other error of the disk.
        """
        assert self._open, "a part that was committed or removed is not written to"
        view = memoryview(data)
        try:
            while view:
                count = os.write(self._handle, view)
                self.length += count
                view = view[count:]
        except OSError as error:
            self.remove()
            raise translated(error, self.path) from error

    def restart(self) -> None:
        """Drop what is here and begin anew."""
        assert self._open, "a part that was committed or removed is not begun anew"
        os.ftruncate(self._handle, 0)
        self.length = 0

    def commit(self, final: Path) -> None:
        """Give the file its final name, in the same file system. It is durable on return.

        Raises:
            NoSpace, DiskFault: the disk was full after all, or failed.
        """
        assert self._open, "a part is committed once"
        try:
            os.fdatasync(self._handle)
            os.rename(self.path, final)
        except OSError as error:
            raise translated(error, final) from error
        finally:
            self.close()
        sync_folder(final.parent)

    def remove(self) -> None:
        """Remove the part: nothing of it is of use."""
        self.close()
        with suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Leave the part as it is, for the next attempt."""
        if self._open:
            os.close(self._handle)
            self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
