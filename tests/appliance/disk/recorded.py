"""A disk that writes down what is asked of it, and every state that a power cut could leave behind.

It stands under `appliance.disk`: the calls reach the real file system, and each that matters is noted.
Afterwards each prefix of the record is taken as the moment of the cut, and of what no sync covered by then
any part may be missing: whole blocks of data, names of files, lengths.
Directories themselves are taken for durable; syncs are believed.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.disk import blocks

BLOCK = 4096
_SUBSETS_OF_MAX = 6
# Every call that may fail, for faults put in one by one.
CALLS = ("open", "write", "pwrite", "pwritev", "fdatasync", "fsync", "rename", "unlink", "ftruncate",
         "posix_fallocate")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Op:
    """One call: what was done, to which file (by number) or name, where, and with what."""

    kind: str
    file: int = -1
    path: str = ""
    to: str = ""
    at: int = 0
    length: int = 0
    data: bytes = b""
    note: Any = None


@dataclass
class Image:
    """What a file system holds: names of files, and files by number."""

    names: dict[str, int] = field(default_factory=dict)
    files: dict[int, bytearray] = field(default_factory=dict)

    def copy(self) -> Image:
        return Image(dict(self.names), {number: bytearray(data) for number, data in self.files.items()})

    def key(self) -> tuple[tuple[str, bytes], ...]:
        return tuple(sorted((name, bytes(self.files[number])) for name, number in self.names.items()))

    def put_into(self, folder: Path) -> None:
        """Make a real folder of it."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, number in self.names.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.files[number])


class RecordedDisk:
    """Notes what happens below one folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.ops: list[Op] = []
        self.base = Image()
        self.calls = 0
        self._fail_at: tuple[int, int] | None = None
        self._numbers = itertools.count()
        self._names: dict[str, int] = {}
        self._handles: dict[int, int | str] = {}
        self._load()
        for name in CALLS:
            monkeypatch.setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))
        monkeypatch.setattr(os, "close", self._close(os.close))
        monkeypatch.setattr(blocks, "punch", self._punch(blocks.punch))

    def note(self, note: Any) -> None:
        """Put a word of the test's own into the record: an answer to a sender, a commit of the ledger."""
        self.ops.append(Op(kind="note", note=note))

    def fail(self, number: int, errno: int) -> None:
        """Let the call with this number fail, counted from now; as do all syncs after a sync that failed."""
        self.calls, self._fail_at = 0, (number, errno)

    def _load(self) -> None:
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                number = next(self._numbers)
                self._names[self._relative(path)] = number
                self.base.names[self._relative(path)] = number
                self.base.files[number] = bytearray(path.read_bytes())

    def _relative(self, path: Any) -> str:
        return Path(path).relative_to(self.root).as_posix()

    def _inside(self, path: Any) -> bool:
        return isinstance(path, str | Path) and Path(path).is_relative_to(self.root)

    def _may_fail(self) -> None:
        self.calls += 1
        if self._fail_at is not None and self.calls == self._fail_at[0] + 1:
            raise OSError(self._fail_at[1], os.strerror(self._fail_at[1]))

    def _file(self, handle: int) -> int | None:
        number = self._handles.get(handle)
        return number if isinstance(number, int) else None

    def _open(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            inside = self._inside(path)
            if inside and flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self._may_fail()
            handle = real(path, flags, *rest, **options)
            if inside:
                self._opened(handle, self._relative(path), flags)
            return handle

        return call

    def _opened(self, handle: int, name: str, flags: int) -> None:
        if flags & os.O_DIRECTORY:
            self._handles[handle] = name
        elif name in self._names:
            self._handles[handle] = self._names[name]
        elif flags & os.O_CREAT:
            self._names[name] = self._handles[handle] = next(self._numbers)
            self.ops.append(Op(kind="create", file=self._names[name], path=name))

    def _close(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def call(handle: int) -> None:
            self._handles.pop(handle, None)
            real(handle)

        return call

    def _write(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(handle: int, data: Any) -> int:
            number = self._file(handle)
            if number is None:
                return real(handle, data)
            self._may_fail()
            at = os.lseek(handle, 0, os.SEEK_CUR)
            written = real(handle, data)
            self.ops.append(Op(kind="write", file=number, at=at, data=bytes(data[:written])))
            return written

        return call

    def _pwrite(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(handle: int, data: Any, at: int) -> int:
            number = self._file(handle)
            if number is None:
                return real(handle, data, at)
            self._may_fail()
            written = real(handle, data, at)
            self.ops.append(Op(kind="write", file=number, at=at, data=bytes(data[:written])))
            return written

        return call

    def _pwritev(self, real: Callable[..., int]) -> Callable[..., int]:
        def call(handle: int, buffers: Any, at: int, flags: int = 0) -> int:
            number = self._file(handle)
            if number is None:
                return real(handle, buffers, at)
            self._may_fail()
            written = real(handle, buffers, at)
            data = b"".join(bytes(each) for each in buffers)[:written]
            self.ops.append(Op(kind="write", file=number, at=at, data=data))
            if flags & os.RWF_DSYNC:
                self.ops.append(Op(kind="sync range", file=number, at=at, length=written))
            return written

        return call

    def _fdatasync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        return self._synced(real)

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        return self._synced(real)

    def _synced(self, _real: Callable[[int], None]) -> Callable[[int], None]:
        def call(handle: int) -> None:
            # The disk of a test need not be waited for; the record says what was asked.
            what = self._handles.get(handle)
            if what is None:
                return
            self._may_fail()
            if isinstance(what, int):
                self.ops.append(Op(kind="sync", file=what))
            else:
                self.ops.append(Op(kind="sync folder", path=what))

        return call

    def _rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(source: Any, target: Any) -> None:
            if not self._inside(source):
                return real(source, target)
            self._may_fail()
            real(source, target)
            name, to = self._relative(source), self._relative(target)
            self._names[to] = self._names.pop(name)
            self.ops.append(Op(kind="rename", path=name, to=to, file=self._names[to]))
            return None

        return call

    def _unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(path: Any, **options: Any) -> None:
            if not self._inside(path):
                return real(path, **options)
            self._may_fail()
            real(path, **options)
            self._names.pop(self._relative(path), None)
            self.ops.append(Op(kind="unlink", path=self._relative(path)))
            return None

        return call

    def _ftruncate(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(handle: int, length: int) -> None:
            number = self._file(handle)
            if number is not None:
                self._may_fail()
                self.ops.append(Op(kind="cut", file=number, length=length))
            real(handle, length)

        return call

    def _posix_fallocate(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(handle: int, at: int, length: int) -> None:
            number = self._file(handle)
            if number is not None:
                self._may_fail()
                self.ops.append(Op(kind="room", file=number, length=at + length))
            real(handle, at, length)

        return call

    def _punch(self, real: Callable[..., None]) -> Callable[..., None]:
        def call(handle: int, at: int, length: int) -> None:
            real(handle, at, length)
            number = self._file(handle)
            if number is not None:
                self.ops.append(Op(kind="hole", file=number, at=at, length=length))

        return call


@dataclass(frozen=True, kw_only=True)
class Crash:
    """One state that a power cut may leave: what is on disk, and what the test noted before."""

    image: Image
    notes: tuple[Any, ...]
    after: int
    lost: int


def crash_states(disk: RecordedDisk) -> Iterator[Crash]:
    """Yield every distinct state: each prefix of the record, with each legal loss of what no sync covered."""
    seen: set[Any] = set()
    for end in range(len(disk.ops) + 1):
        done = disk.ops[:end]
        notes = tuple(op.note for op in done if op.kind == "note")
        for lost in _losses(_volatile(done)):
            image = _replayed(disk.base, done, lost)
            key = (image.key(), len(notes))
            if key not in seen:
                seen.add(key)
                yield Crash(image=image, notes=notes, after=end, lost=len(lost))


Item = tuple[int, int]  # the number of an operation, and the block of it


def _volatile(done: list[Op]) -> list[Item]:
    """Return what of the operations no later sync covers."""
    return [
        (number, block)
        for number, op in enumerate(done)
        for block in _parts(op)
        if not any(_covers(later, op, block) for later in done[number + 1 :])
    ]


def _parts(op: Op) -> range:
    if op.kind == "write":
        return range(-(-(op.at % BLOCK + len(op.data)) // BLOCK))
    return range(1 if op.kind in ("create", "rename", "unlink", "cut", "room", "hole") else 0)


def _covers(later: Op, op: Op, block: int) -> bool:
    if op.kind in ("write", "cut", "room", "hole"):
        if later.kind == "sync":
            return later.file == op.file
        start = op.at // BLOCK * BLOCK + block * BLOCK
        return (
            op.kind == "write"
            and later.kind == "sync range"
            and later.file == op.file
            and later.at <= start < later.at + later.length
        )
    folders = {str(Path(name).parent) for name in (op.path, op.to) if name}
    return later.kind == "sync folder" and later.path in folders


def _losses(items: list[Item]) -> Iterator[frozenset[Item]]:
    """Yield which items are lost: every choice of a few; of many, none, all, each alone, all but each."""
    if len(items) <= _SUBSETS_OF_MAX:
        for count in range(len(items) + 1):
            yield from map(frozenset, itertools.combinations(items, count))
        return
    whole = frozenset(items)
    yield from (frozenset(), whole)
    for item in items:
        yield frozenset({item})
        yield whole - {item}


def _replayed(base: Image, done: list[Op], lost: frozenset[Item]) -> Image:
    image = base.copy()
    # A file is there under whatever name; a name that never reached the disk is none.
    for number, op in enumerate(done):
        _act(image, op, [block for block in _parts(op) if (number, block) not in lost])
    image.names = {name: file for name, file in image.names.items() if file in image.files}
    return image


def _act(image: Image, op: Op, parts: list[int]) -> None:
    if op.kind == "create":
        image.files[op.file] = bytearray()
    if not parts:
        return
    if op.kind == "create":
        image.names[op.path] = op.file
    elif op.kind == "rename":
        # Its first name may have been lost alone: the two may lie in two folders.
        image.names.pop(op.path, None)
        image.names[op.to] = op.file
    elif op.kind == "unlink":
        image.names.pop(op.path, None)
    elif op.kind in _CHANGES:
        _CHANGES[op.kind](image.files[op.file], op, parts)


def _write(data: bytearray, op: Op, parts: list[int]) -> None:
    for block in parts:
        start = max(op.at, op.at // BLOCK * BLOCK + block * BLOCK)
        end = min(op.at + len(op.data), op.at // BLOCK * BLOCK + (block + 1) * BLOCK)
        data.extend(bytes(max(0, end - len(data))))
        data[start:end] = op.data[start - op.at : end - op.at]


def _resize(data: bytearray, op: Op, _parts: list[int]) -> None:
    if op.kind == "cut":
        del data[op.length :]
    data.extend(bytes(max(0, op.length - len(data))))


def _hole(data: bytearray, op: Op, _parts: list[int]) -> None:
    data[op.at : op.at + op.length] = bytes(op.length)


_CHANGES: Mapping[str, Callable[[bytearray, Op, list[int]], None]] = {
    "write": _write,
    "cut": _resize,
    "room": _resize,
    "hole": _hole,
}
