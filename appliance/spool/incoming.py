"""One instance on its way into a segment; belongs to the thread of its association.

A small one lies in one buffer and goes to disk whole, record and all, in one durable write.
One that outgrows the buffer gets a segment to itself and goes there in pieces; its first block, which holds
the record, is written last, after a sync of the rest: until then nobody can take it for an instance.

Promises: the blocks behind an instance's last byte hold zeros, nothing of another's.
Never: writes a record before the bytes that it speaks of are known.
"""

from __future__ import annotations

import hashlib
import mmap
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from appliance.core.clock import Clock
from appliance.core.crash import crash_here
from appliance.disk.blocks import BLOCK_BYTES, aligned, whole_blocks
from appliance.disk.durable import NoSpace
from appliance.spool.digests import Digests
from appliance.spool.frame import encode_frame, sum_of
from appliance.spool.keeper import Row, RowWriter, instance_of
from appliance.spool.record import HEAD_BYTES, Record, digest_of
from appliance.spool.segments import Claim, Segments
from appliance.spool.staging import Staging
from dicom_node.errors import Refusal
from dicom_node.intake import Arrival

_NOTHING = memoryview(b"")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What every incoming instance works with."""

    segments: Segments
    staging: Staging
    digests: Digests
    rows: RowWriter
    clock: Clock
    guarded: Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What the bytes of an instance are; `length` in bytes."""

    length: int
    digest: str


class _Spilled:
    """What of a large instance is on disk already."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.first = aligned(BLOCK_BYTES)
        self.length = 0
        self.sum64 = 0
        self.sha256 = hashlib.sha256()
        self.map: mmap.mmap | None = None

    def take(self, piece: memoryview, used: int) -> None:
        """Write a piece, whole blocks of which `used` bytes are the instance's or its head's."""
        skip = HEAD_BYTES if self.length == 0 else 0
        if self.length == 0:
            self.first[:] = piece[:BLOCK_BYTES]
        self.claim.extend(self.length + len(piece))
        # Both release the interpreter, so the digest costs no time beside the disk.
        hashing = threading.Thread(target=self.sha256.update, args=(piece[skip:used],), name="hashing")
        hashing.start()
        try:
            self.claim.write(self.length, piece, durable=False)
        finally:
            hashing.join()
        self.sum64 = (self.sum64 + sum_of(piece[skip:used])) % 2**64
        self.length += used

    def mapped(self) -> memoryview:
        """Return the instance's bytes as they lie on disk, read-only."""
        with self.claim.path.open("rb") as file:
            size = self.length
            self.map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=self.claim.at)
        return memoryview(self.map)[HEAD_BYTES:]


class SegmentIncoming:
    """The `Incoming` of one instance."""

    def __init__(self, tools: Tools, buffer: memoryview) -> None:
        self._tools, self._buffer = tools, buffer
        self._used = HEAD_BYTES
        self._spilled: _Spilled | None = None
        self._buffer[:HEAD_BYTES] = bytes(HEAD_BYTES)

    def room(self) -> memoryview:
        """Return writable room for the next bytes, one at least.

        Raises:
            Refusal: A700 or A701; the instance is gone.
        """
        if self._used == len(self._buffer):
            self._spill(len(self._buffer))
            self._used = 0
        return self._buffer[self._used :]

    def filled(self, count: int) -> None:
        """Say that the first `count` bytes of the last `room` hold what came."""
        self._used += count

    def whole(self) -> memoryview:
        """Return every byte that came, read-only and contiguous, valid until `keep` or `abandon`.

        Raises:
            Refusal: A700 or A701; the instance is gone.
        """
        if self._spilled is None:
            return self._buffer[HEAD_BYTES : self._used].toreadonly()
        self._spill_rest()
        return self._spilled.mapped()

    def keep(self, arrival: Arrival) -> None:
        """Make the instance durable; it will be acknowledged when this returns.

        Raises:
            Refusal: A700 or A701; nothing of the instance is kept.
        """
        at = self._tools.clock.now()
        try:
            if self._spilled is None:
                self._keep_whole(arrival, at)
            else:
                self._spill_rest()
                self._keep_spilled(self._spilled, arrival, at)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Forget what came."""
        spilled, self._spilled = self._spilled, None
        if spilled is not None:
            spilled.claim.abandon()
        self._release()

    def _keep_whole(self, arrival: Arrival, at: float) -> None:
        length, total = self._used - HEAD_BYTES, whole_blocks(self._used)
        frame = self._buffer[:total]
        frame[self._used :] = bytes(total - self._used)
        data = frame[HEAD_BYTES : self._used]
        with self._tools.guarded(length):
            claim = self._tools.segments.claim(total)
            record = _record(arrival, at, length)
            frame[:HEAD_BYTES] = encode_frame(record, sum64=sum_of(data), token=claim.token, at=claim.at)
            crash_here("keep-unwritten")
            try:
                claim.write(0, frame, durable=True)
            except NoSpace:
                claim.abandon()
                raise
        crash_here("kept-record")
        buffer, self._buffer = self._buffer, _NOTHING

        def finish() -> None:
            digest = digest_of(data)
            self._tools.staging.give_back(buffer)
            self._hand_over(claim, arrival, at, _Content(length=length, digest=digest))

        self._tools.digests.put(finish)

    def _keep_spilled(self, spilled: _Spilled, arrival: Arrival, at: float) -> None:
        length = spilled.length - HEAD_BYTES
        claim = spilled.claim
        with self._tools.guarded(length):
            claim.sync()
            crash_here("keep-unwritten")
            record = _record(arrival, at, length)
            head = encode_frame(record, sum64=spilled.sum64, token=claim.token, at=claim.at)
            spilled.first[:HEAD_BYTES] = head
            claim.write(0, spilled.first, durable=True)
        crash_here("kept-record")
        # From here on the bytes are kept, whatever happens.
        self._spilled = None
        claim.shorten(spilled.length)
        self._release()
        content = _Content(length=length, digest=f"sha256:{spilled.sha256.hexdigest()}")
        self._hand_over(claim, arrival, at, content)

    def _hand_over(self, claim: Claim, arrival: Arrival, at: float, content: _Content) -> None:
        """Give the row to its writer."""
        instance = instance_of(arrival.header, claim.location(content.length), content.digest)
        row = Row(instance=instance, calling_ae=arrival.calling_ae, received_at=at, settled=claim.settled)
        self._tools.rows.put(row)

    def _spill_rest(self) -> None:
        """Write what is left in the buffer, filled up with zeros to a whole block."""
        if self._used > 0:
            total = whole_blocks(self._used)
            self._buffer[self._used : total] = bytes(total - self._used)
            self._spill(total)
            self._used = 0

    def _spill(self, total: int) -> None:
        try:
            with self._tools.guarded(total):
                if self._spilled is None:
                    self._spilled = _Spilled(self._tools.segments.claim_lane())
                self._spilled.take(self._buffer[:total], self._used)
        except Refusal:
            # The caller need not abandon what was refused.
            self.abandon()
            raise

    def _release(self) -> None:
        if len(self._buffer):
            self._tools.staging.give_back(self._buffer)
            self._buffer = _NOTHING


def _record(arrival: Arrival, at: float, length: int) -> Record:
    return Record(
        sop_class_uid=arrival.header.sop_class_uid,
        sop_instance_uid=arrival.header.sop_instance_uid,
        transfer_syntax_uid=arrival.header.transfer_syntax_uid,
        calling_ae=arrival.calling_ae,
        received_at=at,
        length=length,
        digest="",
    )
