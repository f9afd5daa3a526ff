"""Arrivals into segments: small and large, side by side, given up, and with bounded memory."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from appliance.core.clock import HeldClock
from appliance.core.instance import Location
from appliance.disk.limits import DiskLimits
from appliance.disk.space import Floor
from appliance.ledger import studies
from appliance.ledger.engine import Ledger
from appliance.spool.extract import instances_in
from appliance.spool.frame import FIRST_FRAME, frames
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import RowWriter
from appliance.spool.limits import SpoolLimits
from appliance.spool.record import HEAD_BYTES
from appliance.spool.seal import read_seal
from appliance.spool.store import Spool
from appliance.spool.sweep import sweep
from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.memory import Held
from dicom_node.status import Status
from tests.appliance import making
from tests.faults.boxes import image_of

KIB = 1024
LIMITS = SpoolLimits(
    staging_bytes=32 * KIB,
    staging_buffers_max=4,
    staging_wait_seconds=0.05,
    lane_bytes_min=256 * KIB,
    growth_bytes=128 * KIB,
    disk=DiskLimits(segment_bytes_min=256 * KIB, segment_bytes_max=256 * KIB, spare_bytes_max=256 * KIB),
)
JOIN_SECONDS = 60.0


class Box:
    """An intake with its spool and ledger."""

    def __init__(self, ledger: Ledger, root: Path, limits: SpoolLimits = LIMITS) -> None:
        self.ledger, self.root = ledger, root
        self.spool = Spool(root)
        self.faults: list[str] = []
        self.rows = RowWriter(
            ledger, self.spool, on_rows=lambda: None, on_fault=lambda: self.faults.append("rows")
        )
        self.intake = SpoolIntake(
            self.spool, Floor(root, 0), self.rows, on_fault=lambda: self.faults.append("disk"), limits=limits
        )
        self.rows.start()
        self.intake.start()

    def end(self) -> None:
        self.intake.finish()
        self.rows.finish()
        self.intake.close()

    def kept(self, study: str = "1.2.3.0.1") -> dict[str, Location]:
        """End in order; return where each instance lies."""
        self.end()
        with self.ledger.read() as tx:
            return {one.sop_instance_uid: one.location for one in studies.instances_of(tx, study)}


@pytest.fixture
def box(ledger: Ledger, tmp_path: Path):
    made = Box(ledger, tmp_path / "root")
    yield made
    made.end()
    assert made.faults == []


def pour(incoming, data: bytes, piece: int) -> None:
    left = memoryview(data)
    while left:
        count = min(len(room := incoming.room()), len(left), piece)
        assert count > 0
        room[:count] = left[:count]
        incoming.filled(count)
        left = left[count:]


def bring(intake: SpoolIntake, held: Held, piece: int = 1 << 20) -> None:
    incoming = intake.begin()
    pour(incoming, held.data, piece)
    with incoming.whole() as whole:
        assert whole == held.data
        assert whole.readonly
    incoming.keep(held)


# Around a buffer's end, with the head in front: one byte less, exactly, one more; and several buffers.
@pytest.mark.parametrize("size", [500, 3_072, 31_742, 31_744, 31_746, 65_000, 98_304, 400_000, 900_000])
@pytest.mark.parametrize("piece", [16_382, 1 << 20])
def test_an_instance_of_any_size_comes_out_as_it_came_in(box: Box, size: int, piece: int):
    small = making.arrival()
    filling = image_of(size - len(small.data) + 8)
    bring(box.intake, filling, piece)
    bring(box.intake, small)
    kept = box.kept()
    for held in (filling, small):
        location = kept[held.header.sop_instance_uid]
        assert location.offset % 4096 == HEAD_BYTES
        assert box.spool.read(location) == held.data
        read = pydicom.dcmread(BytesIO(box.spool.head(location, location.length)))
        assert read.SOPInstanceUID == held.header.sop_instance_uid
        assert read.file_meta.SourceApplicationEntityTitle == "PACS"
    with box.ledger.read() as tx:
        digests = {one.sop_instance_uid: one.digest for one in studies.instances_of(tx, "1.2.3.0.1")}
    assert digests[filling.header.sop_instance_uid] == f"sha256:{hashlib.sha256(filling.data).hexdigest()}"


def test_many_associations_at_once_mix_nothing_up(box: Box):
    brought = [[image_of(size) for size in (700, 40_000, 9_000, 70_000, 300)] for _ in range(4)]

    def send(some: list[Held]) -> None:
        for one in some:
            bring(box.intake, one, 5_000)

    threads = [threading.Thread(target=send, args=(some,)) for some in brought]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_SECONDS)
    kept = box.kept()
    everything = [one for some in brought for one in some]
    assert {uid: box.spool.read(place) for uid, place in kept.items()} == {
        one.header.sop_instance_uid: one.data for one in everything
    }


def test_no_byte_of_another_patient_lies_behind_an_instance(box: Box):
    first = image_of(20_000)
    bring(box.intake, first)
    bring(box.intake, making.arrival())  # in the same buffer, and much shorter
    kept = box.kept()
    (path,) = box.spool.segments()
    last = max(kept.values(), key=lambda place: place.offset)
    behind = path.read_bytes()[last.offset + last.length :]
    assert behind == bytes(len(behind))


@pytest.mark.parametrize("size", [500, 100_000])
def test_what_was_given_up_leaves_no_trace(box: Box, size: int):
    held = image_of(size)
    cut = box.intake.begin()
    pour(cut, held.data[: size // 2], 4_000)
    cut.abandon()
    cut.abandon()
    bring(box.intake, held)
    assert list(box.kept()) == [held.header.sop_instance_uid]
    assert sum(1 for path in box.spool.segments() for _ in frames(path)) == 1


def test_more_at_once_than_there_are_buffers_is_refused_and_heals(box: Box):
    waiting = [box.intake.begin() for _ in range(LIMITS.staging_buffers_max)]
    with pytest.raises(Refusal) as refused:
        box.intake.begin()
    assert (refused.value.status, refused.value.word) == (Status.NO_SPACE, "receive.busy")
    waiting[0].abandon()
    bring(box.intake, making.arrival())
    for one in waiting[1:]:
        one.abandon()
    assert len(box.kept()) == 1


def test_a_large_instance_takes_no_more_memory_than_a_buffer(box: Box):
    held = image_of(3_000_000)
    bring(box.intake, held)
    staging = box.intake._staging
    assert LIMITS.staging_buffers_max - staging._left == 1
    (location,) = box.kept().values()
    assert box.spool.read(location) == held.data


def test_segments_are_sealed_when_their_rows_are_written_and_hold_no_unused_room(box: Box):
    for _ in range(40):
        bring(box.intake, image_of(20_000))
    assert len(box.kept()) == 40
    seals = {path: read_seal(path) for path in box.spool.segments()}
    assert len(seals) > 3
    assert sum(rows or 0 for rows in seals.values()) == 40
    for path in seals:
        last = list(frames(path))[-1]
        assert path.stat().st_size == last.at + last.bytes_in_file


def test_a_sealed_segment_is_not_read_again_and_one_of_duplicates_goes(box: Box, monkeypatch):
    held = making.arrival()
    bring(box.intake, held)
    box.end()
    again = Box(box.ledger, box.root)
    bring(again.intake, held)
    again.end()
    assert len(again.spool.segments()) == 1, "the segment that held only a second copy is gone"
    monkeypatch.setattr("appliance.spool.sweep_segments.frames", lambda _: pytest.fail("it was read"))
    assert sweep(box.ledger, again.spool, Limits()).completed == 0


def test_a_segment_says_in_words_what_it_is(box: Box):
    bring(box.intake, making.arrival())
    box.end()
    (path,) = box.spool.segments()
    told = path.read_bytes()[:FIRST_FRAME].partition(b"\0")[0].decode("ascii")
    assert "readside spool extract" in told
    assert "multiple of 4096" in told


def test_a_sender_cannot_forge_an_instance_inside_its_own(box: Box, clock: HeldClock):
    victim = making.arrival()
    bring(box.intake, victim)
    (path,) = box.spool.segments()
    whole = path.read_bytes()[FIRST_FRAME : FIRST_FRAME + 4096]
    carrier = making.arrival()
    # A head as this box writes it, at the start of a block, in pixels whose own head is then lost.
    data = carrier.data[:-8] + bytes(3072 - len(carrier.data) + 8) + whole
    forged = replace(carrier, data=data, header=replace(carrier.header, pixel_bytes=None))
    incoming = box.intake.begin()
    pour(incoming, forged.data, 1 << 20)
    incoming.keep(forged)
    carried = list(frames(path))[1]
    assert path.read_bytes()[carried.at + 4096 : carried.at + 4096 + 200] == whole[:200]
    with path.open("r+b") as file:
        file.seek(carried.at)
        file.write(bytes(HEAD_BYTES))
    assert [frame.at for frame in frames(path)] == [FIRST_FRAME]


def test_everything_comes_out_of_a_folder_without_a_ledger(box: Box, tmp_path: Path):
    brought = [image_of(size) for size in (300, 50_000)]
    for held in brought:
        bring(box.intake, held)
    box.end()
    out = tmp_path / "out"
    out.mkdir()
    found = list(instances_in(box.root))
    assert all(one.is_whole() for one in found)
    for one in found:
        one.copy_to(out)
    read = {str(pydicom.dcmread(path).SOPInstanceUID): path.read_bytes() for path in out.iterdir()}
    assert {uid: data[HEAD_BYTES:] for uid, data in read.items()} == {
        one.header.sop_instance_uid: one.data for one in brought
    }
