"""The segments that arrivals are written to: who gets which range, and when a segment is done.

One segment takes the instances of every association, side by side; an instance of unknown length has a
segment to itself until its length is known.
A segment that is full is sealed once a row names each of its instances: the sweep need not read it again.

Promises: a claimed range belongs to one claimant until it is kept or given up.
Never: seals a segment of which a row is still to be written.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from appliance.core.crash import crash_here
from appliance.core.instance import Location
from appliance.disk.blocks import BLOCK_BYTES, whole_blocks
from appliance.disk.durable import NoSpace, make_folder
from appliance.disk.segment import Segment
from appliance.disk.spares import Spares
from appliance.spool.frame import FIRST_FRAME, token_of
from appliance.spool.limits import DEFAULT, SpoolLimits
from appliance.spool.record import HEAD_BYTES
from appliance.spool.release import SEGMENT_FOLDER, SEGMENT_SUFFIX
from appliance.spool.seal import forget, write_label, write_seal


class _Open:
    """A segment that is written to; `pending` counts what is claimed and not yet in the ledger."""

    def __init__(self, path: Path, name: str) -> None:
        self.segment = Segment(path, start=FIRST_FRAME)
        self.name, self.token = name, token_of(path)
        self.pending, self.retired = 0, False
        write_label(self.segment.file, self.token)


class Claim:
    """A range of a segment that one arrival writes to; `at` and `length` in bytes."""

    def __init__(self, segments: Segments, owner: _Open, at: int, length: int) -> None:
        self._segments, self._owner = segments, owner
        self.at, self.length = at, length

    @property
    def token(self) -> str:
        """Return the token that the frame's head must carry."""
        return self._owner.token

    @property
    def path(self) -> Path:
        """Return the segment's file."""
        return self._owner.segment.path

    def write(self, start: int, data: memoryview, *, durable: bool) -> None:
        """Write whole blocks, `start` bytes into the range.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        self._owner.segment.file.write(self.at + start, data, durable=durable)

    def sync(self) -> None:
        """Make what was written so far durable."""
        self._owner.segment.file.sync()

    def extend(self, length: int) -> None:
        """Make a range that is alone in its segment at least so long, and the file too if it must be."""
        if self.at + length > self._owner.segment.file.size:
            self._segments.grow(self._owner.segment, self.at + length)
        self.length = self._owner.segment.file.size - self.at

    def location(self, length: int) -> Location:
        """Return where a data set of some bytes lies that was written behind its head."""
        return Location(file=self._owner.name, offset=self.at + HEAD_BYTES, length=length)

    def shorten(self, length: int) -> None:
        """Give back what a range that was alone in its segment did not need."""
        self._segments.shorten(self._owner, self, length)

    def settled(self) -> None:
        """Say that the ledger knows what became of the range; it may have been the last of its segment.

        Raises:
            DiskFault: a segment that was done could not be sealed.
        """
        self._segments.settled(self._owner)
        self._segments.seal_done()

    def abandon(self) -> None:
        """Give the range back; nothing of it was kept."""
        self._segments.abandon(self._owner, self)


class Segments:
    """Hands out ranges; called on the threads of associations, many at a time."""

    def __init__(
        self, root: Path, area: str, spares: Spares, *, rows_in: Callable[[str], int],
        limits: SpoolLimits = DEFAULT,
    ) -> None:  # fmt: skip
        self._folder, self._area = make_folder(root / area / SEGMENT_FOLDER), area
        self._spares, self._rows_in, self.limits = spares, rows_in, limits
        self._lock = threading.Lock()
        self._current: _Open | None = None
        self._lanes: list[_Open] = []
        self._done: list[_Open] = []

    def claim(self, length: int) -> Claim:
        """Take room for a frame of some bytes in the segment that all share.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        with self._lock:
            owner = self._current
            if owner is None or owner.segment.room < length:
                owner = self._turn_over(whole_blocks(length))
            return self._claimed(owner, length)

    def claim_lane(self) -> Claim:
        """Take a segment for one instance whose length nobody knows yet.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        with self._lock:
            wanted = self.limits.lane_bytes_min
            fit = next((one for one in self._lanes if one.segment.room >= wanted), None)
            if fit is not None:
                self._lanes.remove(fit)
            owner = fit or self._open_lane(wanted)
            return self._claimed(owner, owner.segment.room)

    def has_room(self) -> None:
        """See that something can be kept at all, before its bytes come.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        with self._lock:
            if self._current is None:
                self._turn_over(self.limits.staging_bytes)

    def grow(self, segment: Segment, needed: int) -> None:
        """Make a segment longer, by steps and not below the floor.

        Raises:
            NoSpace, DiskFault: see `appliance.disk.durable`.
        """
        step = self.limits.growth_bytes
        missing = whole_blocks(-(-(needed - segment.file.size) // step) * step)
        self._spares.admit(missing)
        segment.file.grow(segment.file.size + missing)

    def shorten(self, owner: _Open, claim: Claim, length: int) -> None:
        """End a lane: what is left of its segment may be used by others."""
        with self._lock:
            owner.segment.end = claim.at + whole_blocks(length)
            claim.length = length
            self._put_aside(owner)

    def abandon(self, owner: _Open, claim: Claim) -> None:
        """Take a range back, whole if nobody took one behind it."""
        with self._lock:
            owner.segment.give_back_last(claim.at, claim.length)
            if owner is not self._current and not owner.retired:
                self._put_aside(owner)
        self.settled(owner)

    def settled(self, owner: _Open) -> None:
        """Count down; a segment that is full and of which the ledger knows everything is done."""
        with self._lock:
            owner.pending -= 1
            self._note_done(owner)

    def seal_done(self) -> None:
        """End the segments that are done; apart from the rest, for no arrival need wait for it.

        Raises:
            DiskFault: the disk failed.
        """
        with self._lock:
            done, self._done = self._done, []
        for owner in done:
            self._seal(owner)

    def close(self) -> None:
        """Take no more; seal what is settled. What is not is swept at the next start."""
        with self._lock:
            left = [*self._lanes, *([self._current] if self._current is not None else [])]
            self._lanes, self._current = [], None
            for owner in left:
                self._retire(owner)
        self.seal_done()

    def _claimed(self, owner: _Open, length: int) -> Claim:
        owner.pending += 1
        return Claim(self, owner, owner.segment.reserve(length), length)

    def _turn_over(self, length: int) -> _Open:
        """Make another segment the current one: what a lane left over, or a new one."""
        former = self._current
        fit = next((one for one in self._lanes if one.segment.room >= length), None)
        self._current = fit or self._open(length)
        if fit is not None:
            self._lanes.remove(fit)
        if former is not None:
            self._put_aside(former)
        return self._current

    def _open(self, length: int) -> _Open:
        name = f"{secrets.token_hex(16)}{SEGMENT_SUFFIX}"
        path = self._folder / name
        self._spares.take(path, at_least=length + FIRST_FRAME)
        return _Open(path, f"{self._area}/{SEGMENT_FOLDER}/{name}")

    def _open_lane(self, length: int) -> _Open:
        """Open a segment with so much room, or with less where the disk has no more; it can grow."""
        while True:
            try:
                return self._open(length)
            except NoSpace:
                length //= 2
                if length < 2 * self.limits.staging_bytes:
                    raise

    def _put_aside(self, owner: _Open) -> None:
        """Keep a segment for what may still fit; retire it, or the smallest of too many."""
        self._lanes.append(owner)
        self._lanes.sort(key=lambda one: one.segment.room)
        while self._lanes and (
            len(self._lanes) > self.limits.lanes_waiting_max
            or self._lanes[0].segment.room < self.limits.staging_bytes
        ):
            self._retire(self._lanes.pop(0))

    def _retire(self, owner: _Open) -> None:
        owner.retired = True
        self._note_done(owner)

    def _note_done(self, owner: _Open) -> None:
        if owner.retired and owner.pending == 0:
            self._done.append(owner)

    def _seal(self, owner: _Open) -> None:
        """End a segment: give back its unused room, and note how many rows name it."""
        rows = self._rows_in(owner.name)
        file = owner.segment.file
        if rows:
            file.cut(max(owner.segment.end, FIRST_FRAME + BLOCK_BYTES))
            crash_here("seal-unwritten")
            write_seal(file, rows)
        file.close()
        if not rows:
            forget(owner.segment.path)
