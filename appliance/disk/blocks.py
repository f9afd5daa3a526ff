"""Bytes in whole blocks of the disk: aligned memory, and a file that is written past the page cache.

Promises: what `write` wrote is on the disk when it returns, if it was asked to be durable.
Never: insists on the page cache being passed by: where the file system cannot, the calls are only slower.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import Final

from appliance.disk.durable import DiskFault, translated

# What every disk and file system in use can write by itself; a record never shares a block with another.
BLOCK_BYTES: Final = 4096
_PUNCH_HOLE_KEEP_SIZE: Final = 0x02 | 0x01  # linux/falloc.h
_NOT_HERE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def whole_blocks(length: int) -> int:
    """Return a length rounded up to whole blocks, in bytes."""
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES


def aligned(length: int) -> memoryview:
    """Return zeroed memory of at least `length` bytes that may be written past the page cache."""
    return memoryview(mmap.mmap(-1, whole_blocks(length)))


class BlockFile:
    """An open file that is written in whole blocks, by several threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sync_apart = False
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                self._handle = os.open(path, flags | os.O_DIRECT)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                self._handle = os.open(path, flags)
            self.size = os.fstat(self._handle).st_size
        except OSError as error:
            raise translated(error, path) from error

    def write(self, at: int, data: memoryview, *, durable: bool) -> None:
        """Write whole blocks at a byte offset; `data` comes from `aligned`.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        assert at % BLOCK_BYTES == 0 == len(data) % BLOCK_BYTES, "only whole blocks are written"
        try:
            while data:
                written = self._write_once(at, data, durable=durable)
                # What stopped inside a block goes on at its start: the rest must be whole blocks again.
                written -= written % BLOCK_BYTES
                if written == 0:
                    raise OSError(errno.EIO, "a write made no way")
                at, data = at + written, data[written:]
        except OSError as error:
            raise translated(error, self._path) from error

    def _write_once(self, at: int, data: memoryview, *, durable: bool) -> int:
        if not durable:
            return os.pwritev(self._handle, [data], at)
        if not self._sync_apart:
            try:
                return os.pwritev(self._handle, [data], at, os.RWF_DSYNC)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                self._sync_apart = True
        written = os.pwritev(self._handle, [data], at)
        os.fdatasync(self._handle)
        return written

    def sync(self) -> None:
        """Make all that was written durable, the size of the file included.

        Raises:
            DiskFault: the sync failed; the process must end.
        """
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            raise DiskFault(f"{self._path.parent}: {error.strerror}") from error

    def grow(self, size: int) -> None:
        """Give the file room up to a size in bytes.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        try:
            os.posix_fallocate(self._handle, self.size, size - self.size)
        except OSError as error:
            raise translated(error, self._path) from error
        self.size = size

    def cut(self, size: int) -> None:
        """Give back what lies behind a size in bytes; durable on return.

        Raises:
            DiskFault: the disk failed.
        """
        try:
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)
        except OSError as error:
            raise translated(error, self._path) from error
        self.size = size

    def give_back(self, at: int, length: int) -> bool:
        """Give blocks back to the file system; say whether it can do that. They read as zeros then."""
        if length <= 0:
            return True
        try:
            punch(self._handle, at, length)
        except OSError as error:
            if error.errno in _NOT_HERE:
                return False
            raise translated(error, self._path) from error
        return True

    def close(self) -> None:
        """Close the file; what was written durably stays so."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(handle: int, at: int, length: int) -> None:
    """Make a hole in a file (fallocate(2)), which the standard library does not offer.

    Raises:
        OSError: as the system call.
    """
    if _libc.fallocate(handle, _PUNCH_HOLE_KEEP_SIZE, at, length) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
