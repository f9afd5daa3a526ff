"""The process that is the disk: it answers the kernel from a medium, and takes the power away when told to.

usage: python -m tests.lossy.serve FOLDER SEED RESTLESS
Orders come as lines of JSON on standard input, and each is answered by a line: {"halt": true} stops answering
the kernel in the middle of whatever is under way; {"cut": {...}} drops what was not synced, and mounts anew.
At the end of the orders the folder is unmounted.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import select
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.lossy import kernel
from tests.lossy.kernel import Op
from tests.lossy.medium import ROOT, Medium, Node

_SIZE_BYTES = 16 * 2**30
_PUNCH_HOLE, _KEEP_SIZE, _COLLAPSE = 0x02, 0x01, 0x08
_NO_REPLACE = 1
# Since Linux 6.7 a write past the page cache drops the pages that it makes stale.
_DIRECT_IS_COHERENT = tuple(int(part) for part in platform.release().split(".")[:2]) >= (6, 7)
_IN_A_ROW_MAX = 64
_HALTED_SECONDS_MAX = 30.0
Answer = bytes | None


class Refused(Exception):
    """What was asked cannot be; the number goes to whoever asked."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Disk:
    """The medium as the kernel sees it."""

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self._listings: dict[int, list[tuple[str, int, int]]] = {}
        self._handles = 0
        self._acts: dict[int, Callable[[int, memoryview], Answer]] = {
            Op.LOOKUP: self._lookup,
            Op.FORGET: self._forget,
            Op.BATCH_FORGET: self._forget_some,
            Op.GETATTR: lambda node, _: kernel.told(self._node(node)),
            Op.SETATTR: self._set,
            Op.READLINK: lambda node, _: self._node(node).target,
            Op.SYMLINK: self._symlink,
            Op.MKNOD: self._make_node,
            Op.MKDIR: self._make_folder,
            Op.CREATE: self._create,
            Op.UNLINK: self._unlink,
            Op.RMDIR: self._remove_folder,
            Op.RENAME: lambda node, body: self._rename(node, body, kernel.RENAME_IN.size),
            Op.RENAME2: lambda node, body: self._rename(node, body, kernel.RENAME2_IN.size),
            Op.LINK: self._link,
            Op.OPEN: self._open,
            Op.READ: self._read,
            Op.WRITE: self._write,
            Op.FALLOCATE: self._allocate,
            Op.FSYNC: self._sync,
            Op.FSYNCDIR: self._sync_folder,
            Op.OPENDIR: self._open_folder,
            Op.READDIR: self._list,
            Op.RELEASEDIR: self._close_folder,
            Op.RELEASE: lambda *_: b"",
            Op.STATFS: self._space,
            Op.INIT: self._begin,
            Op.INTERRUPT: lambda *_: None,
            Op.DESTROY: lambda *_: b"",
        }

    def answer(self, request: memoryview) -> bytes | None:
        """Do what one request asks; return the answer, if there is to be one."""
        length, code, unique, number, *who = kernel.IN_HEAD.unpack_from(request)
        self._uid, self._gid = who[0], who[1]
        body, failed = b"", 0
        try:
            act = self._acts.get(code)
            if act is None:
                raise Refused(errno.ENOSYS)
            answered = act(number, request[kernel.IN_HEAD.size : length])
            if answered is None:
                return None
            body = answered
        except Refused as refused:
            failed = refused.number
        return kernel.OUT_HEAD.pack(kernel.OUT_HEAD.size + len(body), -failed, unique) + body

    def _begin(self, _number: int, body: memoryview) -> Answer:
        _major, _minor, readahead, offered = kernel.INIT_IN.unpack_from(body)
        pages = kernel.WRITE_BYTES_MAX // kernel.BLOCK_BYTES
        return kernel.INIT_OUT.pack(
            *kernel.VERSION, readahead, offered & kernel.FLAGS, 16, 12, kernel.WRITE_BYTES_MAX, 1, pages, 0, 0
        )

    def _node(self, number: int) -> Node:
        return self.medium.nodes[number]

    def _lookup(self, number: int, body: memoryview) -> Answer:
        found = self.medium.find(number, _text(body))
        if found is None:
            raise Refused(errno.ENOENT)
        return kernel.entry(found)

    def _forget(self, number: int, body: memoryview) -> Answer:
        self._node(number).lookups -= kernel.FORGET_IN.unpack_from(body)[0]
        return None

    def _forget_some(self, _number: int, body: memoryview) -> Answer:
        count, _ = kernel.BATCH_IN.unpack_from(body)
        for at in range(count):
            number, times = kernel.FORGET_ONE.unpack_from(
                body, kernel.BATCH_IN.size + at * kernel.FORGET_ONE.size
            )
            self._node(number).lookups -= times
        return None

    def _set(self, number: int, body: memoryview) -> Answer:
        node = self._node(number)
        valid, _, _, size, _, atime, mtime, _, a_ns, m_ns, _, mode, _, uid, gid, _ = (
            kernel.SETATTR_IN.unpack_from(body)
        )
        if valid & kernel.MODE:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if valid & kernel.UID:
            node.uid = uid
        if valid & kernel.GID:
            node.gid = gid
        if valid & kernel.SIZE:
            self.medium.resize(node, size)
        now = time.time_ns()
        if valid & kernel.ATIME:
            node.atime = now if valid & kernel.ATIME_NOW else atime * 10**9 + a_ns
        if valid & kernel.MTIME:
            node.mtime = now if valid & kernel.MTIME_NOW else mtime * 10**9 + m_ns
        node.ctime = now
        return kernel.told(node)

    def _new(self, folder: int, name: str, mode: int) -> Node:
        if self.medium.find(folder, name) is not None:
            raise Refused(errno.EEXIST)
        return self.medium.make(folder, name, mode, uid=self._uid, gid=self._gid)

    def _symlink(self, number: int, body: memoryview) -> Answer:
        name, target, _ = bytes(body).split(b"\0", 2)
        node = self._new(number, os.fsdecode(name), stat.S_IFLNK | 0o777)
        node.target = target
        return kernel.entry(node)

    def _make_node(self, number: int, body: memoryview) -> Answer:
        mode, _, umask, _ = kernel.MKNOD_IN.unpack_from(body)
        return kernel.entry(self._new(number, _text(body[kernel.MKNOD_IN.size :]), mode & ~umask))

    def _make_folder(self, number: int, body: memoryview) -> Answer:
        mode, umask = kernel.MKDIR_IN.unpack_from(body)
        name = _text(body[kernel.MKDIR_IN.size :])
        return kernel.entry(self._new(number, name, stat.S_IFDIR | (mode & ~umask)))

    def _create(self, number: int, body: memoryview) -> Answer:
        flags, mode, umask, _ = kernel.CREATE_IN.unpack_from(body)
        node = self._new(number, _text(body[kernel.CREATE_IN.size :]), mode & ~umask)
        return kernel.entry(node) + _opened(flags)

    def _unlink(self, number: int, body: memoryview) -> Answer:
        if self.medium.find(number, _text(body)) is None:
            raise Refused(errno.ENOENT)
        self.medium.unlink(number, _text(body))
        return b""

    def _remove_folder(self, number: int, body: memoryview) -> Answer:
        found = self.medium.find(number, _text(body))
        if found is None:
            raise Refused(errno.ENOENT)
        if found.names:
            raise Refused(errno.ENOTEMPTY)
        self.medium.unlink(number, _text(body))
        return b""

    def _rename(self, number: int, body: memoryview, head: int) -> Answer:
        (to_folder,) = kernel.RENAME_IN.unpack_from(body)
        flags = kernel.RENAME2_IN.unpack_from(body)[1] if head == kernel.RENAME2_IN.size else 0
        old, new, _ = bytes(body[head:]).split(b"\0", 2)
        name, to = os.fsdecode(old), os.fsdecode(new)
        there = self.medium.find(to_folder, to)
        if flags & ~_NO_REPLACE:
            raise Refused(errno.EINVAL)
        if self.medium.find(number, name) is None:
            raise Refused(errno.ENOENT)
        if there is not None and flags & _NO_REPLACE:
            raise Refused(errno.EEXIST)
        if there is not None and there.names:
            raise Refused(errno.ENOTEMPTY)
        self.medium.rename(number, name, to_folder, to)
        return b""

    def _link(self, number: int, body: memoryview) -> Answer:
        node = self._node(kernel.LINK_IN.unpack_from(body)[0])
        name = _text(body[kernel.LINK_IN.size :])
        if self.medium.find(number, name) is not None:
            raise Refused(errno.EEXIST)
        self.medium.link(number, name, node)
        return kernel.entry(node)

    def _open(self, _number: int, body: memoryview) -> Answer:
        return _opened(kernel.OPEN_IN.unpack_from(body)[0])

    def _read(self, number: int, body: memoryview) -> Answer:
        _, at, length, *_ = kernel.WRITE_IN.unpack_from(body)
        return self._node(number).seen.read(at, length)

    def _write(self, number: int, body: memoryview) -> Answer:
        _, at, length, _, _, flags, _ = kernel.WRITE_IN.unpack_from(body)
        data = bytes(body[kernel.WRITE_IN.size : kernel.WRITE_IN.size + length])
        self.medium.write(self._node(number), at, data, durable=bool(flags & os.O_DSYNC))
        return kernel.WRITE_OUT.pack(length, 0)

    def _allocate(self, number: int, body: memoryview) -> Answer:
        _, at, length, mode, _ = kernel.FALLOCATE_IN.unpack_from(body)
        node = self._node(number)
        if mode == _PUNCH_HOLE | _KEEP_SIZE:
            self.medium.hole(node, at, length)
        elif mode & ~_KEEP_SIZE:
            raise Refused(errno.EOPNOTSUPP)
        elif not mode and at + length > node.seen.size:
            self.medium.resize(node, at + length)
        return b""

    def _sync(self, number: int, _body: memoryview) -> Answer:
        self.medium.sync(self._node(number))
        return b""

    def _sync_folder(self, number: int, _body: memoryview) -> Answer:
        self.medium.sync_folder(number)
        return b""

    def _open_folder(self, number: int, _body: memoryview) -> Answer:
        self._handles += 1
        node = self._node(number)
        here = [(".", number, node.mode), ("..", number, node.mode)]
        here += [(name, below, self._node(below).mode) for name, below in node.names.items()]
        self._listings[self._handles] = here
        return kernel.OPEN_OUT.pack(self._handles, 0, 0)

    def _list(self, _number: int, body: memoryview) -> Answer:
        handle, begin, length, *_ = kernel.WRITE_IN.unpack_from(body)
        return kernel.listing(self._listings[handle], begin, length)

    def _close_folder(self, _number: int, body: memoryview) -> Answer:
        self._listings.pop(kernel.FSYNC_IN.unpack_from(body)[0], None)
        return b""

    def _space(self, _number: int, _body: memoryview) -> Answer:
        blocks = _SIZE_BYTES // kernel.BLOCK_BYTES
        used = sum(-(-node.seen.size // kernel.BLOCK_BYTES) for node in self.medium.nodes.values())
        free = max(blocks - used, 0)
        return kernel.STATFS_OUT.pack(
            blocks, free, free, 10**6, 10**6, kernel.BLOCK_BYTES, 255, kernel.BLOCK_BYTES, 0
        )


def _text(body: memoryview) -> str:
    return os.fsdecode(bytes(body).split(b"\0", 1)[0])


def _opened(flags: int) -> bytes:
    """Answer an open: with O_DIRECT the kernel shall hand on each write as it stands, and no sync besides."""
    direct = bool(flags & os.O_DIRECT) and _DIRECT_IS_COHERENT
    return kernel.OPEN_OUT.pack(0, kernel.DIRECT_IO if direct else kernel.KEEP_CACHE, 0)


class Server:
    """Answers the kernel, and whoever gives orders."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder, self._disk = folder, disk
        self._device = self._halted = -1
        self._buffer = bytearray(kernel.REQUEST_BYTES_MAX)

    def run(self) -> None:
        """Serve until the orders end."""
        self._mount()
        _say({"mounted": True})
        orders = sys.stdin.fileno()
        while True:
            watched = [orders, *([self._device] if self._device >= 0 else [])]
            ready, _, _ = select.select(watched, [], [], _HALTED_SECONDS_MAX if self._halted >= 0 else None)
            if not ready:
                # Who waits for a disk cannot be killed: nobody may wait for one whose master is gone.
                raise TimeoutError("halted, and no cut was ordered")
            if self._device in ready:
                self._some_requests()
            if orders in ready:
                line = sys.stdin.readline()
                if not line:
                    break
                _say(self._order(json.loads(line)))
        self._unmount()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        if "halt" in order:
            # Whoever waits for an answer waits on, as on a disk without power, until the device is closed.
            self._halted, self._device = self._device, -1
            return {"halted": True}
        self._device = max(self._device, self._halted)
        self._unmount()
        cut = self._disk.medium.cut(**order["cut"])
        self._mount()
        return asdict(cut)

    def _mount(self) -> None:
        self._halted = -1
        self._device = os.open(kernel.DEVICE, os.O_RDWR | os.O_NONBLOCK)
        kernel.mount(self._device, self._folder)

    def _unmount(self) -> None:
        """Close the device first: what the kernel still had to write goes as all does that was not synced."""
        for handle in {self._device, self._halted} - {-1}:
            os.close(handle)
        self._device = self._halted = -1
        kernel.unmount(self._folder)

    def _some_requests(self) -> None:
        for _ in range(_IN_A_ROW_MAX):
            try:
                length = os.readv(self._device, [self._buffer])
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR):
                    continue
                raise
            with memoryview(self._buffer)[:length] as request:
                answer = self._disk.answer(request)
            if answer is not None:
                # Whoever asked may have gone meanwhile.
                with suppress(FileNotFoundError):
                    os.write(self._device, answer)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> None:
    """Serve one folder."""
    folder, seed, restless = sys.argv[1:]
    medium = Medium(seed=int(seed), restless=float(restless))
    assert medium.nodes[ROOT].is_folder
    Server(Path(folder), Disk(medium)).run()


if __name__ == "__main__":
    main()
