"""A medium that forgets: what programs see, what is safe, and what a power cut leaves.

Each file has two contents, the one that programs see and the one that a sync brought to the disk, and the
pages in which they may differ; each folder has two lists of names in the same way.

What is safe when; stricter than ext4, as POSIX lets a file system be, and not absurd:

- fsync or fdatasync of a file: its bytes, its holes and its length. Not its name, and not its neighbours.
- a write with O_DSYNC, O_SYNC or RWF_DSYNC: its range, and a length that reaches to its end. Nothing else.
- fsync of a folder: the names in it. Not what the files hold, and not the folder's own name in its parent.
  (ext4 commits a new file's name with the file's own fsync, and with it every other name that waits.)
- a rename inside one folder, or of a folder, happens wholly or not at all. A file that is moved to another
  folder may be found in both, until both are synced; it is never in neither.
- modes, owners and times are never forgotten; nobody here stands on them.

A cut takes what was not synced, each sector and each act on a name by the throw of a die: in whatever order
it was written, any part may have reached the disk. What was written over twice may also be there in its first
form, where `restless` lets the medium write back of its own accord. A sector is never half old and half new.
"""

from __future__ import annotations

import random
import stat
import time
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field

from tests.lossy.pages import PAGE_BYTES, Pages

ROOT = 1
SECTOR_BYTES = 512
_COLLECT_EVERY = 500


@dataclass(eq=False, kw_only=True)
class Node:
    """One file or folder: as programs see it, and as it is kept."""

    number: int
    mode: int
    uid: int = 0
    gid: int = 0
    target: bytes = b""
    links: int = 1
    lookups: int = 0
    atime: int = field(default_factory=time.time_ns)
    mtime: int = field(default_factory=time.time_ns)
    ctime: int = field(default_factory=time.time_ns)
    seen: Pages = field(default_factory=Pages)
    kept: Pages = field(default_factory=Pages)
    loose: set[int] = field(default_factory=set)
    names: dict[str, int] = field(default_factory=dict)
    kept_names: dict[str, int] = field(default_factory=dict)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def size(self) -> int:
        return len(self.target) or self.seen.size

    def loosen(self, pages: Iterable[int]) -> None:
        """Note that pages may not be as they are kept."""
        self.mtime = self.ctime = time.time_ns()
        self.loose.update(pages)


@dataclass(eq=False, kw_only=True)
class Change:
    """A name given or taken that no sync has covered; acts with one number happen wholly or not at all."""

    act: int
    folder: int
    name: str
    node: int | None
    needs: Change | None = None
    safe: bool = False


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a cut found unsynced and what of it is gone: sectors, lengths and acts on names."""

    sectors: int
    sectors_lost: int
    lengths_lost: int
    names: int
    names_lost: int

    @property
    def lost(self) -> int:
        """Return how many things are gone."""
        return self.sectors_lost + self.lengths_lost + self.names_lost

    @property
    def kept(self) -> int:
        """Return how many things are there that no sync covered."""
        return self.sectors - self.sectors_lost + self.names - self.names_lost


class Medium:
    """All files of one disk; not for several threads."""

    def __init__(self, *, seed: int = 0, restless: float = 0.0) -> None:
        """Begin empty; `restless` is the chance that before a write an earlier one is written back."""
        self.nodes = {ROOT: Node(number=ROOT, mode=stat.S_IFDIR | 0o755, links=2)}
        self.changes: list[Change] = []
        self._dice, self._restless = random.Random(seed), restless
        self._numbers, self._acts, self._syncs = ROOT, 0, 0

    # Names.

    def find(self, folder: int, name: str) -> Node | None:
        """Return what a name in a folder means to programs."""
        number = self.nodes[folder].names.get(name)
        return None if number is None else self.nodes[number]

    def make(self, folder: int, name: str, mode: int, *, uid: int = 0, gid: int = 0) -> Node:
        """Make a file or folder under a name that is free."""
        self._numbers += 1
        node = Node(number=self._numbers, mode=mode, uid=uid, gid=gid, links=0)
        self.nodes[node.number] = node
        self._name(self._act(), folder, name, node)
        return node

    def link(self, folder: int, name: str, node: Node) -> None:
        """Give a file one more name."""
        self._name(self._act(), folder, name, node)

    def unlink(self, folder: int, name: str) -> None:
        """Take a name away, of a file or of an empty folder."""
        self._name(self._act(), folder, name, None)

    def rename(self, folder: int, name: str, to_folder: int, to: str) -> None:
        """Move a name; what the new one meant before is gone."""
        node = self.nodes[self.nodes[folder].names[name]]
        if (folder, name) == (to_folder, to) or self.nodes[to_folder].names.get(to) == node.number:
            return
        act = self._act()
        given = self._name(act, to_folder, to, node)
        taken = self._name(act if folder == to_folder or node.is_folder else self._act(), folder, name, None)
        taken.needs = given

    def _act(self) -> int:
        self._acts += 1
        return self._acts

    def _name(self, act: int, folder: int, name: str, node: Node | None) -> Change:
        names = self.nodes[folder].names
        former = names.pop(name, None)
        if former is not None:
            self._count(former, -1)
        if node is not None:
            names[name] = node.number
            self._count(node.number, +1)
        self.nodes[folder].mtime = self.nodes[folder].ctime = time.time_ns()
        change = Change(act=act, folder=folder, name=name, node=None if node is None else node.number)
        self.changes.append(change)
        return change

    def _count(self, number: int, by: int) -> None:
        node = self.nodes[number]
        node.links += by * (2 if node.is_folder else 1)
        node.ctime = time.time_ns()

    def sync_folder(self, folder: int) -> None:
        """Make the names in a folder safe."""
        acts = {change.act for change in self.changes if change.folder == folder}
        for change in self.changes:
            if change.act in acts:
                self._settle(change)
        self.changes = [change for change in self.changes if not change.safe]
        self._syncs += 1
        if self._syncs % _COLLECT_EVERY == 0:
            self._collect()

    def _settle(self, change: Change) -> None:
        if change.safe:
            return
        change.safe = True
        if change.needs is not None:
            self._settle(change.needs)
        # What this name meant before has had its time, synced or not.
        for former in self.changes:
            if former is change:
                break
            if (former.folder, former.name) == (change.folder, change.name):
                former.safe = True
        _put(self.nodes[change.folder].kept_names, change)

    def _collect(self) -> None:
        """Let go of files that nobody can see or find again."""
        known = {change.node for change in self.changes}
        known.update(number for node in self.nodes.values() for number in node.names.values())
        known.update(number for node in self.nodes.values() for number in node.kept_names.values())
        self.nodes = {
            number: node
            for number, node in self.nodes.items()
            if number == ROOT or number in known or node.lookups > 0
        }

    # Bytes.

    def write(self, node: Node, at: int, data: bytes, *, durable: bool = False) -> None:
        """Write; `durable` as with O_DSYNC."""
        if self._restless and node.loose and self._dice.random() < self._restless:
            self._write_back(node)
        node.loosen(node.seen.write(at, data))
        if durable:
            node.kept.write(at, data)

    def resize(self, node: Node, size: int) -> None:
        """Cut a file off, or make it longer by zeros."""
        node.loosen(node.seen.resize(size))

    def hole(self, node: Node, at: int, length: int) -> None:
        """Let a range read as zeros; the length stays."""
        node.loosen(node.seen.clear(at, length))

    def sync(self, node: Node) -> None:
        """Make the bytes and the length of a file safe."""
        for number in node.loose:
            node.kept.put_page(number, node.seen.page(number))
        node.kept.size = node.seen.size
        node.loose.clear()

    def _write_back(self, node: Node) -> None:
        number = self._dice.choice(sorted(node.loose))
        if number * PAGE_BYTES < node.kept.size:
            node.kept.put_page(number, node.seen.page(number))

    # The cut.

    def cut(self, *, seed: int, survive: float, grain_bytes: int = SECTOR_BYTES) -> Cut:
        """Take the power away; what was not synced survives with this chance, each grain of bytes alone."""
        dice = random.Random(seed)
        names, names_lost = self._cut_names(dice, survive)
        self._keep_reachable()
        found = [_cut_bytes(node, dice, survive, grain_bytes) for node in self.nodes.values()]
        return Cut(
            sectors=sum(one[0] for one in found),
            sectors_lost=sum(one[1] for one in found),
            lengths_lost=sum(one[2] for one in found),
            names=names,
            names_lost=names_lost,
        )

    def _cut_names(self, dice: random.Random, survive: float) -> tuple[int, int]:
        acts = dict.fromkeys(change.act for change in self.changes)
        alive = {act for act in acts if dice.random() < survive}
        for change in self.changes:
            needs = change.needs
            if change.act in alive and (needs is None or needs.safe or needs.act in alive):
                _put(self.nodes[change.folder].kept_names, change)
        self.changes.clear()
        return len(acts), len(acts) - len(alive)

    def _keep_reachable(self) -> None:
        """Forget what no kept name leads to, and count the names of the rest anew."""
        reached: dict[int, Node] = {}
        for number in self._walk(ROOT, reached):
            self.nodes[number].links += 1
        self.nodes = reached
        for node in reached.values():
            node.names = dict(node.kept_names)
            node.lookups = 0

    def _walk(self, number: int, reached: dict[int, Node]) -> Iterator[int]:
        node = self.nodes[number]
        if number not in reached:
            reached[number] = node
            node.links = 1 if node.is_folder else 0
            for below in node.kept_names.values():
                yield from self._walk(below, reached)
        yield number


def _put(names: dict[str, int], change: Change) -> None:
    if change.node is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.node


def _cut_bytes(node: Node, dice: random.Random, survive: float, grain: int) -> tuple[int, int, int]:
    """Leave of a file what the cut does; return its loose sectors, and the sectors and lengths lost."""
    length_lost = node.seen.size != node.kept.size and dice.random() >= survive
    loose = lost = 0
    for number in sorted(node.loose):
        old, new = node.kept.page(number), node.seen.page(number)
        left = bytearray(old)
        for at in range(0, PAGE_BYTES, grain):
            fresh = new[at : at + grain]
            differ = _sectors(old[at : at + grain], fresh)
            loose += differ
            if dice.random() < survive:
                left[at : at + grain] = fresh
            else:
                lost += differ
        node.kept.put_page(number, bytes(left))
    size = node.kept.size if length_lost else node.seen.size
    # Nothing may lie behind the end, or it would be seen when the file grows: a page is written back whole.
    node.kept.size = max(node.kept.size, node.seen.size) + PAGE_BYTES
    node.kept.resize(size)
    node.seen = copy(node.kept)
    node.loose.clear()
    return loose, lost, int(length_lost)


def _sectors(old: bytes, new: bytes) -> int:
    """Return how many sectors of two stretches of bytes differ."""
    sectors = range(0, len(old), SECTOR_BYTES)
    return sum(old[at : at + SECTOR_BYTES] != new[at : at + SECTOR_BYTES] for at in sectors)
