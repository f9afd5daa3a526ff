"""What is done to the data, F20 to F38: the status on the wire, the word for the log, and what is true after.

The short form of each case through the real listener, the segments of the spool and the ledger. All the ways
to break a data set: `tests/dicom_node/test_preflight.py`, `test_framing.py` and `test_fuzz.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.assemble.gather import Gatherer
from appliance.core.clock import HeldClock
from appliance.core.config import Assembly
from appliance.core.instance import Instance
from appliance.core.words import StudyState
from appliance.disk.limits import DiskLimits
from appliance.disk.space import Floor
from appliance.ledger import counts, events, studies
from appliance.ledger.engine import Ledger
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import RowWriter
from appliance.spool.limits import SpoolLimits
from appliance.spool.store import Spool
from appliance.worker.decode import Decoder
from appliance.worker.faults import DecodeError
from dicom_node.listener import Listener
from dicom_node.status import Status
from tests.appliance import making
from tests.dicom_node import raw
from tests.dicom_node.raw import LAST_COMMAND, LAST_DATA, RawPeer
from tests.dicom_node.samples import (
    BIG,
    EXPLICIT,
    FIRST,
    IMPLICIT,
    MR,
    UNDEFINED,
    Sample,
    element,
    encoded,
    header,
    item,
    nested,
    sample,
)
from tests.faults import mutate
from tests.faults.boxes import _empty_ledger, quick_ledger
from tests.faults.test_wire import Logs, echoes, said, wait_for

STUDY = "1.2.3.0.1"
ASSEMBLY = Assembly(quiet_seconds=60, series_quiet_seconds=30, deadline_seconds=600, confirm_settle_seconds=5)
MIB = 1 << 20
# Nothing here needs the room of a department, which takes a moment to be made.
SMALL = SpoolLimits(
    disk=DiskLimits(segment_bytes_min=4 * MIB, segment_bytes_max=4 * MIB, spare_bytes_max=0),
    lane_bytes_min=2 * MIB,
    growth_bytes=MIB,
)
JPEG_2000 = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG = "1.2.840.10008.1.2.4.70"


class Box:
    """A listener that keeps in segments on a disk, with its ledger and what gathers studies."""

    def __init__(self, listen: Callable[..., Listener], root: Path, ledger: Ledger) -> None:
        self.ledger, self.root = ledger, root
        self.spool, self.faults = Spool(root), list[str]()
        self.rows = RowWriter(
            ledger, self.spool, on_rows=lambda: None, on_fault=lambda: self.faults.append("rows")
        )
        self.intake = SpoolIntake(
            self.spool,
            Floor(root, 0),
            self.rows,
            on_fault=lambda: self.faults.append("disk"),
            clock=ledger.clock,
            limits=SMALL,
        )
        self.rows.start()
        self.intake.start()
        self.listener = listen(intake=self.intake)
        self.port = self.listener.start()
        self.gatherer = Gatherer(ledger, self.spool, ASSEMBLY, listening_since=lambda: -math.inf)

    def send(self, known: Sample, **changes: str) -> int:
        """Store one instance on an association of its own; return the status."""
        contexts = [(known.sop_class_uid, known.transfer_syntax_uid)]
        with RawPeer.associated(self.port, contexts=contexts) as peer:
            peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(known, 1, **changes))))
            for at in range(0, len(known.data), 60_000):
                part = known.data[at : at + 60_000]
                last = at + 60_000 >= len(known.data)
                peer.send(raw.p_data(raw.value(1, LAST_DATA if last else 0, part)))
            return peer.status()

    def arrive(self, **changes: Any) -> str:
        """Store a plausible CT slice, which is kept; return its UID once it has a row."""
        made = making.arrival(**changes)
        known = Sample(
            data=made.data,
            transfer_syntax_uid=EXPLICIT,
            sop_class_uid=made.header.sop_class_uid,
            sop_instance_uid=made.header.sop_instance_uid,
        )
        before = self.arrivals()
        assert self.send(known) == Status.KEPT
        assert wait_for(lambda: self.arrivals() == before + 1)
        return known.sop_instance_uid

    def arrivals(self) -> int:
        with self.ledger.read() as tx:
            found = counts.count(tx)
        return found.kept + found.duplicates

    def instances(self, study: str = STUDY) -> list[Instance]:
        with self.ledger.read() as tx:
            assert counts.count(tx).balance == 0
            return list(studies.instances_of(tx, study))

    def words(self) -> list[str]:
        with self.ledger.read() as tx:
            return [event.word for event in events.of_study(tx, STUDY)]

    def study(self) -> studies.Study:
        with self.ledger.read() as tx:
            found = studies.find(tx, STUDY)
        assert found is not None
        return found

    def close(self) -> None:
        self.listener.stop()
        self.intake.finish()
        self.rows.finish()
        self.intake.close()
        assert not self.faults


@pytest.fixture
def ledger(tmp_path: Path, clock: HeldClock) -> Iterator[Ledger]:
    """An empty ledger at its newest schema, copied: to make one takes longer than most of a test."""
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(_empty_ledger())
    opened = quick_ledger(path, clock)
    yield opened
    opened.close()


@pytest.fixture
def box(listen: Callable[..., Listener], tmp_path: Path, ledger: Ledger) -> Iterator[Box]:
    made = Box(listen, tmp_path / "root", ledger)
    yield made
    made.close()


def refused(box: Box, logs: Logs, known: Sample, *, status: Status, word: str, **changes: str) -> None:
    """Send what is not kept; it has its status and its one line, and leaves nothing."""
    logs_before = len(said(logs, word))
    assert box.send(known, **changes) == status
    (line,) = said(logs, word)[logs_before:]
    assert line["status"] == f"{status:04X}"
    assert box.arrivals() == 0
    with box.ledger.read() as tx:
        assert counts.count(tx).balance == 0


def test_f20_uid_traversal(box: Box, logs: Logs, tmp_path: Path) -> None:
    known = sample()
    for bad in ("../../etc/x", "/etc/passwd", "1.2\0.3", "1" * 65, "", "1..2", "2.25.101/../x"):
        refused(box, logs, known, status=Status.UID_INVALID, word="receive.bad_uid", sop_instance_uid=bad)
    inside = sample(StudyInstanceUID=None)
    data = inside.data[:-20] + element(0x0020000D, b"UI", b"../../../x\0\0") + inside.data[-20:]
    refused(box, logs, replace(inside, data=data), status=Status.UID_INVALID, word="receive.bad_uid")
    assert not [path for path in tmp_path.rglob("*") if path.name in ("x", "passwd", "etc")]
    assert box.send(sample(SOPInstanceUID="1.02.3")) == Status.KEPT, "leading zeros are seen in the wild"
    assert said(logs, "receive.uid_leading_zero")


def test_f21_uid_mismatch(box: Box, logs: Logs) -> None:
    changed = {"sop_instance_uid": "2.25.999"}
    refused(box, logs, sample(), status=Status.UID_MISMATCH, word="receive.uid_mismatch", **changed)


def test_f22_class_mismatch(box: Box, logs: Logs) -> None:
    lying = replace(sample(), sop_class_uid=MR)
    refused(box, logs, lying, status=Status.CLASS_MISMATCH, word="receive.class_mismatch")


def test_f23_truncated(box: Box, logs: Logs) -> None:
    known = sample()
    for cut in (len(known.data) - 1, len(known.data) - 9, 40, 9, 3):
        short = replace(known, data=known.data[:cut])
        refused(box, logs, short, status=Status.NOT_READABLE, word="receive.truncated")
    assert all(0 <= line["offset"] <= len(known.data) for line in said(logs, "receive.truncated"))


def test_f24_syntax_lie(box: Box, logs: Logs) -> None:
    for written in (EXPLICIT, IMPLICIT, BIG):
        for claimed in {EXPLICIT, IMPLICIT, BIG} - {written}:
            lying = replace(sample(written), transfer_syntax_uid=claimed)
            refused(box, logs, lying, status=Status.NOT_READABLE, word="receive.syntax_mismatch")


def test_f25_nested_sequences(box: Box, logs: Logs) -> None:
    start = encoded(header())
    for depth in (65, 5_000, 100_000):
        deep = replace(sample(), data=start + nested(depth)[len(FIRST) :])
        refused(box, logs, deep, status=Status.BOUND_EXCEEDED, word="receive.too_deep")
    whole = replace(
        sample(), data=start + nested(64)[len(FIRST) :].replace(b"\x08\0\x40\x11", b"\x40\0\x40\x11")
    )
    assert box.send(whole) == Status.KEPT


def test_f26_wide(box: Box, logs: Logs) -> None:
    start = encoded(header())
    items = element(0x00401140, b"SQ", b"", length=UNDEFINED) + item(b"") * 200_001
    private = b"".join(
        element(0x00290010 + (n << 17 & 0xFFFE0000) + n // 900, b"LO", b"X ") for n in range(1_001)
    )
    refused(
        box,
        logs,
        replace(sample(), data=start + items + item(b"", tag=0xFFFEE0DD)),
        status=Status.BOUND_EXCEEDED,
        word="receive.too_many",
    )
    assert len(private) > 10_000
    refused(
        box,
        logs,
        replace(sample(), data=start + private),
        status=Status.BOUND_EXCEEDED,
        word="receive.too_many",
    )


def test_f27_length_lie(box: Box, logs: Logs) -> None:
    known = sample()
    seed = mutate.Seed(sample=known, places=tuple(mutate._places(known.data, EXPLICIT)))
    last = seed.places[-1]
    for claimed in (0xFFFFFFFE, 0xFFFFFFFF, 0x7FFFFFFF, last.length + 1, 0):
        data = bytearray(known.data)
        struct.pack_into("<L", data, last.length_at, claimed)
        assert box.send(replace(known, data=bytes(data))) in (Status.NOT_READABLE, Status.BOUND_EXCEEDED)
    assert box.arrivals() == 0


def test_f28_deflate_is_never_negotiated(box: Box, logs: Logs) -> None:
    """There is no other way in: nothing is imported from files, and no presentation context deflates."""
    with RawPeer.call(box.port) as peer:
        peer.send(raw.associate_rq(contexts=[(raw.VERIFICATION, IMPLICIT), (MR, "1.2.840.10008.1.2.1.99")]))
        kind, _ = peer.read()
        assert kind == 2
        peer.send(raw.stored(replace(sample(), sop_class_uid=MR), context_id=3))
        assert peer.rest() == [(7, b"\0\0\0\0")]
    assert said(logs, "node.context_refused")
    assert box.arrivals() == 0


LIES: Mapping[str, dict[str, Any]] = {
    "rows beyond the pixels": {"Rows": 65535},
    "frames beyond reason": {"NumberOfFrames": 2**31 - 1},
    "bits that no pixel has": {"BitsAllocated": 3},
    "wide pixels": {"BitsAllocated": 64},
    "255 samples": {"SamplesPerPixel": 255},
    "no rows": {"Rows": 0},
}


def not_decoded(box: Box, uid: str) -> str:
    """The word with which a worker's decoder gives one kept instance up."""
    (instance,) = [one for one in box.instances() if one.sop_instance_uid == uid]
    with Decoder() as decoder, pytest.raises(DecodeError) as caught:
        list(decoder.frames(instance, box.spool))
    return caught.value.word


def test_f29_dimension_lies_are_kept_and_fail_by_name(box: Box) -> None:
    """The job ends as FAILED with this word: `tests/appliance/worker/test_run.py`, `test_attempt.py`."""
    for changes in LIES.values():
        assert not_decoded(box, box.arrive(**changes)) == "decode.shape"
    assert echoes(box.port)


def test_f32_no_preamble_comes_in(box: Box) -> None:
    """A network store carries none, and files are imported nowhere; a Part 10 file is no data set."""
    part_10 = b"MZ" + bytes(126) + b"DICM" + sample().data
    assert box.send(replace(sample(), data=part_10)) == Status.NOT_READABLE
    assert box.arrivals() == 0


def test_f34_same_uid_other_bytes(box: Box) -> None:
    uid = box.arrive()
    box.arrive(SOPInstanceUID=uid, PatientID="P1")
    before = box.spool.read(box.instances()[0].location)
    box.arrive(SOPInstanceUID=uid, RescaleIntercept="-1024")
    (current,) = box.instances()
    assert box.spool.read(current.location) != before
    assert "receive.changed" in box.words()


def ready(box: Box, clock: HeldClock) -> int:
    clock.advance(61)
    return box.gatherer.turn()


def test_f35_two_patients_hold_a_study(box: Box, logs: Logs, clock: HeldClock) -> None:
    box.arrive(PatientID="P1")
    box.arrive(PatientID="P2")
    assert ready(box, clock) == 0
    assert box.study().state is StudyState.HELD
    assert said(logs, "assemble.identity_conflict")
    assert ready(box, clock) == 0, "until a person settles it"


def test_f35_no_study_uid(box: Box, logs: Logs) -> None:
    known = sample(StudyInstanceUID=None)
    refused(box, logs, known, status=Status.UID_INVALID, word="receive.bad_uid")


def test_f36_late_images_reopen_a_study(box: Box, clock: HeldClock) -> None:
    box.arrive()
    assert ready(box, clock) == 1
    first = box.study().content_digest
    box.arrive()
    assert box.study().state is StudyState.GATHERING
    assert "assemble.reopened" in box.words()
    assert ready(box, clock) == 1
    assert box.study().content_digest != first, "other content is other work"
