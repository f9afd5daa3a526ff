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
from appliance.disk.space import Floor
from appliance.ledger import counts, custody, events, studies
from appliance.ledger.arrivals import Arrived
from appliance.ledger.engine import Ledger
from appliance.spool.keeper import RowWriter, SpoolKeeper, write_rows
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
        self.keeper = SpoolKeeper(
            self.spool, Floor(root, 0), self.rows, on_fault=lambda: self.faults.append("disk"), clock=clock
        )
        self.rows.start()

    def _ring(self) -> None:
        self.bells += 1

    def kept(self) -> list[Location]:
        """Wait for the rows, then say where the current instances lie."""
        self.rows.finish()
        with self.ledger.read() as tx:
            return [i.location for i in studies.instances_of(tx, "1.2.3.0.1")]

    def sweep(self):
        return sweep(self.ledger, self.spool, WireLimits())


@pytest.fixture
def box(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Iterator[Box]:
    made = Box(ledger, tmp_path / "root", clock)
    yield made
    made.rows.finish()


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


def test_a_spool_file_is_a_dicom_file_whose_data_set_is_verbatim(box: Box):
    arrived = making.arrival()
    box.keeper.keep(arrived)
    (location,) = box.kept()
    assert box.spool.read(location) == arrived.data
    read = pydicom.dcmread(box.spool.path(location))
    assert read.SOPInstanceUID == arrived.header.sop_instance_uid
    assert read.file_meta.TransferSyntaxUID == making.EXPLICIT_LE
    assert box.spool.path(location).stat().st_mode & 0o777 == 0o600


def test_no_file_is_named_after_what_a_sender_says(box: Box):
    box.keeper.keep(making.arrival(PatientID="../../etc/passwd"))
    (location,) = box.kept()
    assert "1.2.3" not in location.file
    assert "passwd" not in location.file


def test_parts_of_a_location_can_be_read(box: Box):
    arrived = making.arrival()
    box.keeper.keep(arrived)
    (location,) = box.kept()
    assert box.spool.read(location, 4, 6) == arrived.data[4:10]
    assert box.spool.read(location, len(arrived.data) - 2, 100) == arrived.data[-2:]


def test_the_bytes_are_durable_before_keep_returns_and_the_row_may_follow(box: Box, monkeypatch):
    order: list[str] = []

    def recorded(name: str, real: Callable) -> Callable:
        def call(*arguments):
            order.append(name)
            return real(*arguments)

        return call

    for name in ("fdatasync", "rename", "fsync"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    box.keeper.keep(making.arrival())
    assert order == ["fdatasync", "rename", "fsync"]


def test_a_second_copy_is_counted_and_its_bytes_go(box: Box):
    arrived = making.arrival()
    box.keeper.keep(arrived)
    box.keeper.keep(arrived)
    assert len(box.kept()) == 1
    assert len(list(box.spool.names())) == 1
    counted = count(box)
    assert (counted.kept, counted.duplicates, counted.balance) == (1, 1, 0)


def test_other_bytes_under_a_known_uid_are_a_revision_and_both_stay(box: Box):
    box.keeper.keep(making.arrival(SOPInstanceUID="1.2.9", PatientSex="M"))
    box.keeper.keep(making.arrival(SOPInstanceUID="1.2.9", PatientSex="F"))
    assert len(box.kept()) == 1
    assert len(list(box.spool.names())) == 2
    assert count(box).kept == 2


def test_under_the_floor_nothing_is_kept_and_the_sender_hears_a700(box: Box, clock: HeldClock):
    keeper = SpoolKeeper(box.spool, Floor(box.root, 1 << 62), box.rows, on_fault=lambda: None, clock=clock)
    with pytest.raises(Refusal) as refused:
        keeper.keep(making.arrival())
    assert refused.value.status is Status.NO_SPACE
    assert list(box.spool.names()) == []
    assert box.faults == []


def test_a_failed_sync_is_a701_and_ends_the_service(box: Box, monkeypatch):
    def fail(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            box.keeper.keep(making.arrival())
        assert refused.value.status is Status.STORAGE_FAULT
    assert box.faults == ["disk"]
    assert list(box.spool.names()) == []


def test_a_ledger_that_fails_ends_the_service(box: Box, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr("appliance.spool.keeper.write_rows", lambda *_: 1 / 0)
    box.rows._on_fault = ended.set
    box.keeper.keep(making.arrival())
    assert ended.wait(5)


def test_rows_that_a_crash_cost_are_made_from_the_files(ledger: Ledger, tmp_path: Path, clock: HeldClock):
    before = Box(ledger, tmp_path / "root", clock)
    arrived = [making.arrival() for _ in range(3)]
    before.rows.finish()  # nobody writes rows any more: the process is about to die
    for one in arrived:
        before.keeper.keep(one)
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
        rows.append(box.keeper._written(arrived))
        write_rows(box.ledger, box.spool, rows[-1:])
    assert len(list(box.spool.names())) == 2
    # A copy that a crash left behind says nothing about what the sender means now.
    leftover = box.spool.root / rows[2].instance.location.file
    with box.spool.begin() as writing:
        writing.write(one.data)
        kept = writing.commit(replace(RECORD, **whole(one, rows[2].received_at)))
    assert not leftover.exists()
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
    row = slow.keeper._written(arrived)  # its row still waits in the process that kept it
    fresh = Box(ledger, tmp_path / "root", clock)
    assert fresh.sweep().completed == 1
    assert write_rows(ledger, slow.spool, [row]) == [Arrived.RECORDED]
    (location,) = fresh.kept()
    assert fresh.spool.read(location) == arrived.data
    assert count(fresh).duplicates == 0
    slow.rows.finish()


def test_what_was_half_written_goes_and_a_torn_file_is_set_aside(box: Box):
    box.keeper.keep(making.arrival())
    (location,) = box.kept()
    (box.root / "kept" / "incoming" / "x.part").write_bytes(b"half")
    good = box.spool.path(location).read_bytes()
    (box.root / "kept" / "0" / "torn.dcm").write_bytes(good[:-1])
    (box.root / "kept" / "0" / "foreign.dcm").write_bytes(b"not ours")
    swept = box.sweep()
    assert (swept.unfinished, swept.quarantined, swept.completed) == (1, 2, 0)
    assert {p.name for p in (box.root / "quarantine").iterdir()} == {"torn.dcm", "foreign.dcm"}
    assert list((box.root / "kept" / "incoming").iterdir()) == []


def test_a_file_that_the_disk_cannot_read_is_set_aside_and_the_box_starts(box: Box, monkeypatch):
    box.keeper.keep(making.arrival())
    (location,) = box.kept()
    with box.ledger.write() as tx:
        custody.quarantine(tx, [location.file], reason="digest differs", at=1.0)

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
    first.keeper.keep(arrived)
    (location,) = first.kept()
    first.spool.remove(location)
    assert first.sweep().missing == 1
    assert (count(first).quarantined, count(first).balance) == (1, 0)

    second = Box(ledger, tmp_path / "root", clock)
    second.keeper.keep(arrived)
    (again,) = second.kept()
    assert second.spool.read(again) == arrived.data
    assert (count(second).quarantined, count(second).in_studies) == (0, 1)


def test_a_flipped_bit_is_found(box: Box):
    box.keeper.keep(making.arrival())
    (location,) = box.kept()
    with box.ledger.read() as tx:
        kept = studies.instances_of(tx, "1.2.3.0.1")
    assert damaged(box.spool, kept) == []
    path = box.spool.path(location)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    assert damaged(box.spool, kept) == kept
    box.spool.remove(location)
    assert damaged(box.spool, kept) == kept


@pytest.mark.parametrize("state", [StudyState.GATHERING, StudyState.DECIDED])
def test_nothing_unfinished_is_ever_purged(box: Box, clock: HeldClock, state: StudyState):
    box.keeper.keep(making.arrival())
    box.kept()
    set_state(box, state)
    clock.advance(365 * 86_400)
    assert purge_old(box.ledger, box.spool, retain_days=1) == 0
    assert len(list(box.spool.names())) == 1


def test_a_finished_study_goes_after_its_days_and_its_row_says_so(box: Box, clock: HeldClock):
    box.keeper.keep(making.arrival())
    (location,) = box.kept()
    set_state(box, StudyState.CLOSED)
    clock.advance(0.9 * 86_400)
    assert purge_old(box.ledger, box.spool, retain_days=1) == 0
    clock.advance(0.2 * 86_400)
    assert purge_old(box.ledger, box.spool, retain_days=1) == 1
    assert not box.spool.path(location).exists()
    counted = count(box)
    assert (counted.purged, counted.in_studies, counted.balance) == (1, 0, 0)


def test_bytes_that_a_crash_left_behind_a_purge_go_at_the_next_start(box: Box, clock: HeldClock):
    box.keeper.keep(making.arrival())
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
    box.keeper.keep(making.arrival())
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
