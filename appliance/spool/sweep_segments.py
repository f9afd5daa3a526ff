"""The sweep's half that reads segments: rows for frames that have none, and an end for each segment.

A sealed segment whose rows the ledger still has is not read again.
Any other is read from its first frame to its last, given what it lacks, and sealed or removed.

Promises: after a sweep each frame of each segment has a row, is marked as gone, or was set aside.
Never: removes a segment in which anything lives; takes bytes for a frame that were not written as one.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from appliance.core.crash import crash_here
from appliance.core.instance import Location
from appliance.core.words import InstanceState
from appliance.disk.blocks import BlockFile
from appliance.ledger import custody
from appliance.ledger.arrivals import Arrived
from appliance.ledger.engine import Ledger
from appliance.spool.frame import FIRST_FRAME, Frame, frames, location_of, sum_of
from appliance.spool.keeper import Row, write_rows
from appliance.spool.rebuild import row_of
from appliance.spool.record import HEAD_BYTES, RecordFault
from appliance.spool.seal import forget, read_seal, write_seal
from appliance.spool.set_aside import set_frame_aside
from appliance.spool.store import Spool
from dicom_node.errors import Refusal
from dicom_node.limits import Limits as WireLimits

_ROWS_PER_COMMIT = 200
_MISSING = "the bytes are not on disk"
Came = list[Arrived | None]


class SegmentSweep:
    """Goes through the segments of a spool, one at a time."""

    def __init__(self, ledger: Ledger, spool: Spool, wire: WireLimits) -> None:
        self._ledger, self._spool, self._wire = ledger, spool, wire
        self.missing = 0

    def sweep(self, path: Path) -> Came:
        """Bring one segment and its rows together; say what each new row was, nothing where none could be.

        Raises:
            DiskFault: the disk failed.
        """
        name = self._spool.name_of(path)
        with self._ledger.read() as tx:
            claims = custody.claims(tx, name)
        sealed = read_seal(path)
        if sealed is not None and len(claims) >= max(sealed, 1):
            self._forget_purged(path, name, claims)
            return []
        came, alive, end = self._read(path, name, claims)
        self._end(path, name, alive=alive, end=end)
        return came

    def _forget_purged(self, path: Path, name: str, claims: dict[int, InstanceState]) -> None:
        """Give up what a purge recorded and a crash left in place."""
        purged = [at for at, state in claims.items() if state is InstanceState.PURGED]
        if len(purged) == len(claims):
            forget(path)
        else:
            self._spool.remove_all([Location(file=name, offset=at, length=0) for at in purged])

    def _read(self, path: Path, name: str, claims: dict[int, InstanceState]) -> tuple[Came, bool, int]:
        """Go through the frames; return what came, whether any lives, and where the last one ends."""
        came: Came = []
        batch: list[Row] = []
        seen: set[int] = set()
        end = FIRST_FRAME
        for frame in frames(path):
            end = frame.at + frame.bytes_in_file
            if frame.gone:
                continue
            location = location_of(name, frame)
            seen.add(location.offset)
            state = claims.get(location.offset)
            if state is InstanceState.PURGED:
                self._spool.remove(location)
            elif state is None:
                row = self._row(path, frame, location)
                if row is None:
                    came.append(None)
                else:
                    batch.append(row)
            if len(batch) >= _ROWS_PER_COMMIT:
                came += self._write(batch)
        came += self._write(batch)
        self._quarantine_missing(name, [at for at, s in claims.items() if s is InstanceState.STUDY], seen)
        return came, self._lives(name), end

    def _row(self, path: Path, frame: Frame, location: Location) -> Row | None:
        """Make the row of a frame that has none; set it aside where that cannot be."""
        try:
            data = _mapped(path, frame)
            if sum_of(data) != frame.sum64:
                raise RecordFault("the bytes are not those that were kept")
            return row_of(data, frame.record, location, self._wire)
        # What the disk cannot read would else keep the listener from ever starting.
        except (RecordFault, Refusal, OSError) as fault:
            span = (frame.at, HEAD_BYTES + frame.record.length)
            set_frame_aside(self._ledger, path, span, fault, root=self._spool.root)
            self._spool.remove(location)
            return None

    def _write(self, batch: list[Row]) -> Came:
        came: Came = list(write_rows(self._ledger, self._spool, batch)) if batch else []
        batch.clear()
        return came

    def _quarantine_missing(self, name: str, claimed: list[int], seen: set[int]) -> None:
        lost = [Location(file=name, offset=at, length=0) for at in claimed if at not in seen]
        if lost:
            with self._ledger.write() as tx:
                self.missing += custody.quarantine_at(tx, lost, reason=_MISSING, at=self._ledger.clock.now())

    def _lives(self, name: str) -> bool:
        with self._ledger.read() as tx:
            return any(state is not InstanceState.PURGED for state in custody.claims(tx, name).values())

    def _end(self, path: Path, name: str, *, alive: bool, end: int) -> None:
        """Seal a segment behind its last frame, or remove one of which nothing is kept."""
        if not alive:
            forget(path)
            return
        with self._ledger.read() as tx:
            rows = len(custody.claims(tx, name))
        file = BlockFile(path)
        try:
            if end < file.size:
                file.cut(end)
            crash_here("seal-unwritten")
            write_seal(file, rows)
        finally:
            file.close()


def _mapped(path: Path, frame: Frame) -> memoryview:
    """Return the data set of a frame as it lies on disk, without reading it into memory of our own."""
    size = HEAD_BYTES + frame.record.length
    with path.open("rb") as file:
        if frame.at + size > path.stat().st_size:
            raise RecordFault("the segment ends inside the instance")
        mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ, offset=frame.at)
    return memoryview(mapped)[HEAD_BYTES:]
