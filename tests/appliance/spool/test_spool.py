"""The spool's promises: bytes verbatim and findable, rows that follow, a sweep that reconciles the two."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from appliance.core.clock import HeldClock
from appliance.core.instance import Location
from appliance.core.words import StudyState
from appliance.disk.limits import DiskLimits
from appliance.disk.space import Floor
from appliance.ledger import counts, custody, events, studies
from appliance.ledger.arrivals import Arrived
from appliance.ledger.engine import Ledger
from appliance.spool.frame import Frame, frames
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import Row, RowWriter, write_rows
from appliance.spool.limits import SpoolLimits
from appliance.spool.record import HEAD_BYTES, Record, RecordFault, as_file, decode, digest_of, encode
from appliance.spool.retain import purge_old
from appliance.spool.store import Spool
from appliance.spool.sweep import sweep
from appliance.spool.verify import damaged
from dicom_node.errors import Refusal
from dicom_node.limits import Limits as WireLimits
from dicom_node.memory import Held
from dicom_node.status import Status
from tests.appliance import making

SMALL = SpoolLimits(
    staging_bytes=64 * 1024,
    lane_bytes_min=256 * 1024,
    growth_bytes=256 * 1024,
    disk=DiskLimits(segment_bytes_min=512 * 1024, segment_bytes_max=2**20, spare_bytes_max=2**20),
)


def bring(intake: SpoolIntake, held: Held, piece: int = 100_000) -> None:
    """Bring an instance in, in pieces, as fragments come."""
    incoming = intake.begin()
    left = memoryview(held.data)
    while left:
        count = min(len(room := incoming.room()), len(left), piece)
        room[:count] = left[:count]
        incoming.filled(count)
        left = left[count:]
    with incoming.whole() as whole:
        assert whole == held.data
    incoming.keep(held)


class Caught(RowWriter):
    """Holds rows back instead of writing them."""

    def __init__(self, ledger: Ledger, spool: Spool) -> None:
        super().__init__(ledger, spool, on_rows=lambda: None, on_fault=lambda: None)
        self.rows: list[Row] = []

    def put(self, row: Row) -> None:
        self.rows.append(row)


class Box:
    """A spool with its keeper, row writer and ledger."""

    def __init__(self, ledger: Ledger, root: Path, clock: HeldClock) -> None:
        self.ledger, self.root = ledger, root
        self.spool = Spool(root)
        self.faults: list[str] = []
        self.bells = 0
        self.rows = RowWriter(
            ledger, self.spool, on_rows=self._ring, on_fault=lambda: self.faults.append("row")
        )
        self.clock = clock
        self.intake = self.intake_of(self.rows)
        self.rows.start()
        self.intake.start()

    def intake_of(self, rows: RowWriter, floor_bytes: int = 0) -> SpoolIntake:
        """A way in whose rows go to `rows`."""
        return SpoolIntake(
            self.spool,
            Floor(self.root, floor_bytes),
            rows,
            on_fault=lambda: self.faults.append("disk"),
            clock=self.clock,
            limits=SMALL,
        )

    def keep(self, held: Held) -> None:
        """Bring an instance in as the wire does."""
        bring(self.intake, held)

    def row_of(self, held: Held) -> Row:
        """Keep an instance, and hold its row back: the process is slow to write it."""
        caught = Caught(self.ledger, self.spool)
        intake = self.intake_of(caught)
        bring(intake, held)
        intake.finish()
        (row,) = caught.rows
        return row

    def _ring(self) -> None:
        self.bells += 1

    def kept(self) -> list[Location]:
        """Wait for the rows, then say where the current instances lie."""
        self.end()
        with self.ledger.read() as tx:
            return [i.location for i in studies.instances_of(tx, "1.2.3.0.1")]

    def end(self) -> None:
        """Let everything be written, as at an orderly end."""
        self.intake.finish()
        self.rows.finish()
        self.intake.close()

    def frames(self) -> list[Frame]:
        """Return every frame that still holds bytes."""
        return [frame for path in self.spool.segments() for frame in frames(path) if not frame.gone]

    def sweep(self):
        return sweep(self.ledger, self.spool, WireLimits())


@pytest.fixture
def box(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Iterator[Box]:
    made = Box(ledger, tmp_path / "root", clock)
    yield made
    made.end()


def count(box: Box):
    with box.ledger.read() as tx:
        return counts.count(tx)


RECORD = Record(
    sop_class_uid=making.CT,
    sop_instance_uid="1.2.3",
    transfer_syntax_uid=making.EXPLICIT_LE,
    calling_ae="PACS",
    received_at=1.5,
    length=3,
    digest="sha256:00",
)


def test_the_longest_record_fits_its_head_and_comes_back():
    longest = replace(
        RECORD,
        sop_class_uid="1." + "2" * 62,
        sop_instance_uid="1." + "3" * 62,
        transfer_syntax_uid="1." + "4" * 62,
        calling_ae="A" * 16,
        length=2**40,
        digest="sha256:" + "f" * 64,
        received_at=1_800_000_000.123456,
    )
    head = encode(longest)
    assert len(head) == HEAD_BYTES
    assert decode(head) == longest


@pytest.mark.parametrize("cut", [0, 131, 132, 500, HEAD_BYTES - 1])
def test_a_torn_head_is_no_record(cut):
    with pytest.raises(RecordFault):
        decode(encode(RECORD)[:cut])


def test_another_programs_file_is_no_record():
    head = encode(RECORD).replace(
        b"2.25.104287369871204917340298651420397245181", b"2.25.204287369871204917340298651420397245181"
    )
    with pytest.raises(RecordFault, match="another program"):
        decode(head)


def test_what_is_cut_out_of_a_segment_is_a_dicom_file_whose_data_set_is_verbatim(box: Box):
    arrived = making.arrival()
    box.keep(arrived)
    (location,) = box.kept()
    assert box.spool.read(location) == arrived.data
    read = pydicom.dcmread(BytesIO(box.spool.head(location, location.length)))
    assert read.SOPInstanceUID == arrived.header.sop_instance_uid
    assert read.file_meta.TransferSyntaxUID == making.EXPLICIT_LE
    assert box.spool.path(location).stat().st_mode & 0o777 == 0o600


def test_no_file_is_named_after_what_a_sender_says(box: Box):
    box.keep(making.arrival(PatientID="../../etc/passwd"))
    (location,) = box.kept()
    assert "1.2.3" not in location.file
    assert "passwd" not in location.file


def test_parts_of_a_location_can_be_read(box: Box):
    arrived = making.arrival()
    box.keep(arrived)
    (location,) = box.kept()
    assert box.spool.read(location, 4, 6) == arrived.data[4:10]
    assert box.spool.read(location, len(arrived.data) - 2, 100) == arrived.data[-2:]


def test_the_bytes_and_their_record_are_durable_in_one_write_and_the_row_may_follow(box: Box, monkeypatch):
    box.keep(making.arrival())  # the segment is there
    order: list[str] = []
    here = threading.current_thread()

    def recorded(name: str, real: Callable) -> Callable:
        def call(*arguments):
            if threading.current_thread() is here:
                order.append(f"{name} {os.RWF_DSYNC in arguments[3:]}" if name == "pwritev" else name)
            return real(*arguments)

        return call

    for name in ("pwritev", "fdatasync", "fsync", "rename", "open"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    bring(box.intake, making.arrival())
    assert order == ["pwritev True"]


def test_a_second_copy_is_counted_and_its_bytes_go(box: Box):
    arrived = making.arrival()
    box.keep(arrived)
    box.keep(arrived)
    assert len(box.kept()) == 1
    assert len(box.frames()) == 1
    counted = count(box)
    assert (counted.kept, counted.duplicates, counted.balance) == (1, 1, 0)


def test_other_bytes_under_a_known_uid_are_a_revision_and_both_stay(box: Box):
    box.keep(making.arrival(SOPInstanceUID="1.2.9", PatientSex="M"))
    box.keep(making.arrival(SOPInstanceUID="1.2.9", PatientSex="F"))
    assert len(box.kept()) == 1
    assert len(box.frames()) == 2
    assert count(box).kept == 2


def test_under_the_floor_nothing_is_kept_and_the_sender_hears_a700(box: Box):
    intake = box.intake_of(box.rows, floor_bytes=1 << 62)
    with pytest.raises(Refusal) as refused:
        intake.begin()
    assert refused.value.status is Status.NO_SPACE
    assert box.frames() == []
    assert box.faults == []


def test_a_failed_sync_is_a701_and_ends_the_service(box: Box, monkeypatch):
    def fail(*_) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwritev", fail)
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            box.keep(making.arrival())
        assert refused.value.status is Status.STORAGE_FAULT
    assert box.faults == ["disk"]
    assert box.frames() == []


def test_a_ledger_that_fails_ends_the_service(box: Box, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr("appliance.spool.keeper.write_rows", lambda *_: 1 / 0)
    box.rows._on_fault = ended.set
    box.keep(making.arrival())
    assert ended.wait(5)


def test_rows_that_a_crash_cost_are_made_from_the_files(ledger: Ledger, tmp_path: Path, clock: HeldClock):
    before = Box(ledger, tmp_path / "root", clock)
    arrived = [making.arrival() for _ in range(3)]
    caught = Caught(ledger, before.spool)  # nobody writes rows any more: the process is about to die
    dying = before.intake_of(caught)
    for one in arrived:
        bring(dying, one)
    dying.finish()
    assert count(before).kept == 0

    after = Box(ledger, tmp_path / "root", clock)
    swept = after.sweep()
    assert (swept.completed, swept.quarantined, swept.missing) == (3, 0, 0)
    assert {after.spool.read(i) for i in after.kept()} == {one.data for one in arrived}
    assert after.sweep().completed == 0


def test_versions_that_take_turns_leave_one_file_each_and_the_last_one_counts(box: Box, clock: HeldClock):
    one, other = (making.arrival(SOPInstanceUID="1.2.9", PatientSex=sex) for sex in "MF")
    rows = []
    for arrived in (one, other, one, other):
        clock.advance(1)
        rows.append(box.row_of(arrived))
        write_rows(box.ledger, box.spool, rows[-1:])
    assert len(box.frames()) == 2
    # A copy that a crash left behind says nothing about what the sender means now.
    with box.spool.begin() as writing:
        writing.write(one.data)
        kept = writing.commit(replace(RECORD, **whole(one, rows[2].received_at)))
    assert box.sweep().duplicates == 1
    assert not box.spool.path(kept).exists()
    with box.ledger.read() as tx:
        (current,) = studies.instances_of(tx, "1.2.3.0.1")
    assert box.spool.read(current.location) == other.data


def whole(arrived: Held, at: float) -> dict[str, Any]:
    """What a record says of an arrival."""
    return {
        "sop_instance_uid": arrived.header.sop_instance_uid,
        "received_at": at,
        "length": len(arrived.data),
        "digest": f"sha256:{hashlib.sha256(arrived.data).hexdigest()}",
    }


def test_a_row_that_a_sweep_made_first_costs_no_bytes(ledger: Ledger, tmp_path: Path, clock: HeldClock):
    slow = Box(ledger, tmp_path / "root", clock)
    arrived = making.arrival()
    row = slow.row_of(arrived)  # its row still waits in the process that kept it
    fresh = Box(ledger, tmp_path / "root", clock)
    assert fresh.sweep().completed == 1
    assert write_rows(ledger, slow.spool, [row]) == [Arrived.RECORDED]
    (location,) = fresh.kept()
    assert fresh.spool.read(location) == arrived.data
    assert count(fresh).duplicates == 0
    slow.rows.finish()


def as_old_file(box: Box, held: Held, at: float = 1.0) -> Location:
    """Keep an instance as an earlier version did, one file for each."""
    with box.spool.begin() as writing:
        writing.write(held.data)
        return writing.commit(replace(RECORD, **whole(held, at)))


def test_what_was_half_written_goes_and_a_torn_file_is_set_aside(box: Box):
    good = box.spool.path(as_old_file(box, making.arrival())).read_bytes()
    (box.root / "kept" / "incoming" / "x.part").write_bytes(b"half")
    (box.root / "kept" / "0" / "torn.dcm").write_bytes(good[:-1])
    (box.root / "kept" / "0" / "foreign.dcm").write_bytes(b"not ours")
    swept = box.sweep()
    assert (swept.unfinished, swept.quarantined, swept.completed) == (1, 2, 1)
    assert {p.name for p in (box.root / "quarantine").iterdir()} == {"torn.dcm", "foreign.dcm"}
    assert list((box.root / "kept" / "incoming").iterdir()) == []


def test_a_file_that_the_disk_cannot_read_is_set_aside_and_the_box_starts(box: Box, monkeypatch):
    as_old_file(box, making.arrival())

    def fails(self):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fails)
    assert box.sweep().quarantined == 1
    assert box.sweep().quarantined == 0
    with box.ledger.read() as tx:
        (told,) = events.latest(tx, 9, word="sweep.quarantined")
    assert told.detail["fault"] == "the disk failed: Input/output error"


def test_a_row_without_bytes_is_quarantined_and_a_resend_restores_it(
    ledger: Ledger, tmp_path: Path, clock: HeldClock
):
    first = Box(ledger, tmp_path / "root", clock)
    arrived = making.arrival()
    first.keep(arrived)
    (location,) = first.kept()
    first.spool.path(location).unlink()
    assert first.sweep().missing == 1
    assert (count(first).quarantined, count(first).balance) == (1, 0)

    second = Box(ledger, tmp_path / "root", clock)
    second.keep(arrived)
    (again,) = second.kept()
    assert second.spool.read(again) == arrived.data
    assert (count(second).quarantined, count(second).in_studies) == (0, 1)


def test_a_flipped_bit_is_found(box: Box):
    box.keep(making.arrival())
    (location,) = box.kept()
    with box.ledger.read() as tx:
        kept = studies.instances_of(tx, "1.2.3.0.1")
    assert damaged(box.spool, kept) == []
    path = box.spool.path(location)
    flip(path, location.offset + location.length - 1)
    assert damaged(box.spool, kept) == kept
    box.spool.remove(location)
    assert damaged(box.spool, kept) == kept
    path.unlink()
    assert damaged(box.spool, kept) == kept


def flip(path: Path, at: int) -> None:
    """Flip one bit."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("state", [StudyState.GATHERING, StudyState.DECIDED])
def test_nothing_unfinished_is_ever_purged(box: Box, clock: HeldClock, state: StudyState):
    box.keep(making.arrival())
    box.kept()
    set_state(box, state)
    clock.advance(365 * 86_400)
    assert purge_old(box.ledger, box.spool, retain_days=1) == 0
    assert len(box.frames()) == 1


def test_a_finished_study_goes_after_its_days_and_its_row_says_so(box: Box, clock: HeldClock):
    box.keep(making.arrival())
    (location,) = box.kept()
    set_state(box, StudyState.CLOSED)
    clock.advance(0.9 * 86_400)
    assert purge_old(box.ledger, box.spool, retain_days=1) == 0
    clock.advance(0.2 * 86_400)
    assert purge_old(box.ledger, box.spool, retain_days=1) == 1
    assert not box.spool.path(location).exists()  # it was the last of its segment
    counted = count(box)
    assert (counted.purged, counted.in_studies, counted.balance) == (1, 0, 0)


def test_nothing_is_purged_while_a_sweep_goes_on(box: Box, clock: HeldClock, monkeypatch):
    """The two are of different processes: a segment must not go while the sweep reads it."""
    box.keep(making.arrival())
    box.end()
    set_state(box, StudyState.CLOSED)
    clock.advance(3 * 86_400)
    purged = []
    real = Spool.segments

    def looked(spool: Spool) -> list[Path]:
        found = real(spool)
        purged.append(purge_old(box.ledger, box.spool, retain_days=1))
        return found

    monkeypatch.setattr(Spool, "segments", looked)
    assert sweep(box.ledger, box.spool, WireLimits()).missing == 0
    assert set(purged) == {0}
    assert purge_old(box.ledger, box.spool, retain_days=1) == 1


def test_bytes_that_a_crash_left_behind_a_purge_go_at_the_next_start(box: Box, clock: HeldClock):
    box.keep(making.arrival())
    (location,) = box.kept()
    with box.ledger.write() as tx:
        custody.purge(tx, studies.instances_of(tx, "1.2.3.0.1"), at=clock.now())
    swept = box.sweep()
    assert (swept.completed, swept.missing) == (0, 0)
    assert not box.spool.path(location).exists()
    assert count(box).purged == 1


def set_state(box: Box, state: StudyState) -> None:
    from sqlalchemy import update

    from appliance.ledger.tables import studies as table

    with box.ledger.write() as tx:
        tx.execute(update(table).values(state=state))


def test_every_kept_instance_is_in_one_place(box: Box):
    box.keep(making.arrival())
    box.kept()
    counted = count(box)
    assert counted.kept == counted.in_studies + counted.quarantined + counted.purged


def test_a_data_set_as_a_file_tells_of_its_own_bytes():
    arrived = making.arrival()
    file = as_file(
        arrived.data,
        sop_class_uid=arrived.header.sop_class_uid,
        sop_instance_uid=arrived.header.sop_instance_uid,
        transfer_syntax_uid=making.EXPLICIT_LE,
        calling_ae="PACS",
        at=1.5,
    )
    told = decode(file)
    assert (told.length, told.digest) == (len(arrived.data), digest_of(file[HEAD_BYTES:]))
    assert pydicom.dcmread(BytesIO(file)).SOPInstanceUID == arrived.header.sop_instance_uid
