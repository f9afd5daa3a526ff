"""Writes that must survive a power cut.

The order is always the same: bytes, fdatasync, rename, fsync of the folder.
A file under its final name is therefore whole; a file under a temporary name was never promised to anybody.
An error of a sync is fatal for the process that met it (`DiskFault`):
the kernel may have dropped the pages, so a second sync that succeeds proves nothing.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class NoSpace(Exception):
    """The disk or a quota is full; what was being written is gone, everything kept before is untouched."""


class DiskFault(Exception):
    """The disk failed in a way after which nothing unsynced may be trusted; the process must end."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_folder(path: Path) -> Path:
    """Create a folder and its parents, readable by the owner only, and make their entries durable."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_folder(folder.parent)
    return path


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable.

    Raises:
        DiskFault: the sync failed.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise DiskFault(f"fsync of folder {path}: {error.strerror}") from error


class DurableFile:
    """A file that does not exist under its final name until it is wholly on disk."""

    def __init__(self, temporary: Path) -> None:
        self._path = temporary
        try:
            self._handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        except OSError as error:
            raise translated(error, temporary) from error
        self._open = True

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes.

        Raises:
            NoSpace: the disk is full; the file was removed.
            DiskFault: any other error of the disk.
        """
        assert self._open, "a file that was committed or abandoned is not written to"
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            self.abandon()
            raise translated(error, self._path) from error

    def write_head(self, data: bytes) -> None:
        """Overwrite the first bytes of the file, which were written as a place-holder.

        Raises:
            NoSpace, DiskFault: as for `write`.
        """
        assert self._open, "a file that was committed or abandoned is not written to"
        try:
            written = os.pwrite(self._handle, data, 0)
        except OSError as error:
            self.abandon()
            raise translated(error, self._path) from error
        assert written == len(data), "a head is smaller than any page"

    def commit(self, final: Path) -> None:
        """Give the file its final name. On return it is whole and findable after a power cut.

        Raises:
            NoSpace: the disk was full after all; the file was removed.
            DiskFault: a sync failed; the process must end.
        """
        assert self._open, "a file is committed once"
        try:
            os.fdatasync(self._handle)
            os.rename(self._path, final)
        except OSError as error:
            self.abandon()
            raise translated(error, final) from error
        self._close()
        sync_folder(final.parent)

    def abandon(self) -> None:
        """Remove the file; nothing was promised about it."""
        self._close()
        # A disk that fails may refuse this too; the sweep at start removes temporary files.
        with suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        if self._open:
            os.close(self._handle)
            self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self.abandon()


def write_file(path: Path, data: bytes) -> None:
    """Put a whole file in place, replacing an older one. It is durable on return.

    Raises:
        NoSpace: the disk is full; the older file is untouched.
        DiskFault: the disk failed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with DurableFile(temporary) as file:
        file.write(data)
        file.commit(path)


def remove_file(path: Path) -> None:
    """Remove a file and make its absence durable; a file that is already gone is no error.

    Raises:
        DiskFault: the disk failed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise translated(error, path) from error
    sync_folder(path.parent)


def translated(error: OSError, path: Path) -> NoSpace | DiskFault:
    """Say what an error of the disk means for what was being written to `path`."""
    if error.errno in _FULL:
        return NoSpace(f"{path.parent}: {error.strerror}")
    return DiskFault(f"{path.parent}: {error.strerror}")
