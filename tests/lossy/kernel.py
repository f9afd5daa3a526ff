"""What the kernel says to a file system in a process, and how it is answered: <linux/fuse.h>, protocol 7.31.

Only what the medium can do is here; what is not is refused as ENOSYS, and the kernel then does it by itself:
locks, copies between files, looking for holes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from enum import IntEnum
from pathlib import Path
from typing import Final

from tests.lossy.medium import Node

DEVICE: Final = Path("/dev/fuse")
WRITE_BYTES_MAX: Final = 2**20
# A request is never longer than the longest write with its two heads.
REQUEST_BYTES_MAX: Final = WRITE_BYTES_MAX + 2**16
VERSION: Final = (7, 31)
# INIT: reads may overtake each other, writes come whole, requests may be of many pages.
FLAGS: Final = (1 << 0) | (1 << 5) | (1 << 18) | (1 << 22)
# OPEN: past the page cache; keep what the page cache holds.
DIRECT_IO, KEEP_CACHE = 1 << 0, 1 << 1
# SETATTR: what is to be set.
MODE, UID, GID, SIZE, ATIME, MTIME, ATIME_NOW, MTIME_NOW = (1 << n for n in (0, 1, 2, 3, 4, 5, 7, 8))
# Nobody but the kernel that asks changes anything here: its answers hold until it is unmounted.
VALID_SECONDS: Final = 86_400
BLOCK_BYTES: Final = 4096

IN_HEAD = struct.Struct("<IIQQIIIHH")
OUT_HEAD = struct.Struct("<IiQ")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHI28x")
_ATTR = struct.Struct("<6Q3I7I")
_ENTRY = struct.Struct("<4Q2I")
_ATTR_OUT = struct.Struct("<QII")
OPEN_OUT = struct.Struct("<QII")
SETATTR_IN = struct.Struct("<II3Q3Q3IIIIII")
WRITE_IN = struct.Struct("<QQIIQII")
WRITE_OUT = struct.Struct("<II")
CREATE_IN = struct.Struct("<IIII")
MKNOD_IN = struct.Struct("<IIII")
MKDIR_IN = struct.Struct("<II")
RENAME_IN = struct.Struct("<Q")
RENAME2_IN = struct.Struct("<QII")
LINK_IN = struct.Struct("<Q")
OPEN_IN = struct.Struct("<II")
FSYNC_IN = struct.Struct("<QII")
FORGET_IN = struct.Struct("<Q")
BATCH_IN = struct.Struct("<II")
FORGET_ONE = struct.Struct("<QQ")
FALLOCATE_IN = struct.Struct("<QQQII")
STATFS_OUT = struct.Struct("<5Q4I24x")
_DIRENT = struct.Struct("<QQII")


class Op(IntEnum):
    """The requests that are answered."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45


def attributes(node: Node) -> bytes:
    """Return a file's attributes, as struct fuse_attr."""
    whole = [divmod(at, 10**9) for at in (node.atime, node.mtime, node.ctime)]
    return _ATTR.pack(
        node.number, node.size, -(-node.size // 512), *(one[0] for one in whole), *(one[1] for one in whole),
        node.mode, node.links, node.uid, node.gid, 0, BLOCK_BYTES, 0,
    )  # fmt: skip


def told(node: Node) -> bytes:
    """Return the answer to a question for attributes."""
    return _ATTR_OUT.pack(VALID_SECONDS, 0, 0) + attributes(node)


def entry(node: Node) -> bytes:
    """Return the answer that names a file; the kernel remembers it until it says FORGET."""
    node.lookups += 1
    return _ENTRY.pack(node.number, 0, VALID_SECONDS, VALID_SECONDS, 0, 0) + attributes(node)


def listing(names: list[tuple[str, int, int]], begin: int, length: int) -> bytes:
    """Return names from the one with a number on, of (name, number, mode), as many as fit."""
    out = bytearray()
    for at, (name, number, mode) in enumerate(names[begin:], start=begin + 1):
        text = os.fsencode(name)
        one = _DIRENT.pack(number, at, len(text), mode >> 12) + text
        one += bytes(-len(one) % 8)
        if len(out) + len(one) > length:
            break
        out += one
    return bytes(out)


_libc = ctypes.CDLL(None, use_errno=True)
_NOSUID, _NODEV, _DETACH = 2, 4, 2


def mount(handle: int, folder: Path) -> None:
    """Let the kernel ask an open device for everything below a folder.

    Raises:
        OSError: it may not, or cannot.
    """
    options = f"fd={handle},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    answer = _libc.mount(
        b"lossy", os.fsencode(folder), b"fuse.lossy", ctypes.c_ulong(_NOSUID | _NODEV), options.encode()
    )
    _raise_unless(answer == 0, folder)


def unmount(folder: Path) -> None:
    """Take it away, whoever still has files of it open; where nothing is mounted there is nothing to do."""
    # Who may not unmount could not mount either.
    nothing = (errno.EINVAL, errno.EPERM)
    _raise_unless(_libc.umount2(os.fsencode(folder), _DETACH) == 0 or ctypes.get_errno() in nothing, folder)


def _raise_unless(fine: bool, folder: Path) -> None:
    if not fine:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
