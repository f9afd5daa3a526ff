"""Notices on the wire: read within bounds, taken before they are answered, refused with the right status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]
from structlog.testing import capture_logs

from dicom_node.echo import echo
from dicom_node.library import tame
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.notices import (
    INSTANCE_AVAILABILITY,
    NO_LONGER_UPDATED,
    PERFORMED_STEP,
    Availability,
    Change,
    Named,
    Status,
    Step,
    StepState,
    Unsound,
    read_availability,
    read_change,
    read_step,
)
from dicom_node.values import Peer
from tests.dicom_node.noticed import availability, begun, ended, notify, reference, say, saying, tell
from tests.dicom_node.samples import CT, EXPLICIT, IMPLICIT, LIMITS, Shelf, encoded, nested

NARROW = replace(LIMITS, notice_references_max=50, notice_studies_max=2)
STUDY, SERIES, UID = "2.25.1", "2.25.2", "2.25.7"
IMAGES = {SERIES: ["2.25.11", "2.25.12"], "2.25.3": ["2.25.13"]}
NAMED = [Named(SERIES, CT, "2.25.11"), Named(SERIES, CT, "2.25.12"), Named("2.25.3", CT, "2.25.13")]
DOSE = "1.2.840.10008.5.1.4.1.1.88.67"


@pytest.fixture(autouse=True)
def tamed() -> None:
    """As whoever opens an association or a port does first."""
    tame()


def written(dataset: Dataset, syntax: str = EXPLICIT) -> BytesIO:
    return BytesIO(encoded(dataset, syntax))


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_what_is_written_is_read(syntax: str) -> None:
    notice = read_availability(UID, written(availability(STUDY, IMAGES), syntax), syntax, NARROW)
    assert notice == Availability(sop_instance_uid=UID, study_uid=STUDY, named=NAMED)
    step = read_step(
        UID, written(begun(STUDY, "2.25.9", STUDY), syntax), syntax, replace(NARROW, notice_studies_max=3)
    )
    assert step == Step(sop_instance_uid=UID, study_uids=[STUDY, "2.25.9"], named=[])
    dataset = ended(IMAGES, status="DISCONTINUED", reason="110514", others={SERIES: ["2.25.14"]})
    change = read_change(UID, written(dataset, syntax), syntax, NARROW)
    assert (change.state, change.reason) == (StepState.DISCONTINUED, "110514")
    assert change.named == [*NAMED[:2], Named(SERIES, DOSE, "2.25.14", is_image=False), NAMED[2]]


def test_what_a_change_does_not_say_stays() -> None:
    change = read_change(UID, written(ended()), EXPLICIT, NARROW)
    assert change == Change(sop_instance_uid=UID, state=StepState.COMPLETED, named=None)
    nothing = Dataset()
    nothing.PerformedProcedureStepDescription = "x"
    assert read_change(UID, written(nothing), EXPLICIT, NARROW).state is None
    none_made = ended({SERIES: []})
    assert read_change(UID, written(none_made), EXPLICIT, NARROW).named == []


def test_what_is_unavailable_and_what_stands_twice_is_not_named_twice() -> None:
    dataset = availability(STUDY, IMAGES)
    dataset.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].InstanceAvailability = "UNAVAILABLE"
    dataset.ReferencedSeriesSequence[0].ReferencedSOPSequence.append(reference("2.25.12"))
    assert list(read_availability(UID, written(dataset), EXPLICIT, NARROW).named) == NAMED[1:]


@pytest.mark.parametrize("code", ["113500x", "A" * 70, "^.*$", "-1"])
def test_a_reason_is_a_code_of_dicom_or_nothing(code: str) -> None:
    dataset = ended(status="DISCONTINUED", reason=code)
    assert read_change(UID, written(dataset), EXPLICIT, NARROW).reason == ""
    dataset = ended(status="DISCONTINUED", reason="110514")
    dataset.PerformedProcedureStepDiscontinuationReasonCodeSequence[0].CodingSchemeDesignator = "99ACME"
    assert read_change(UID, written(dataset), EXPLICIT, NARROW).reason == ""


def twisted(good: bytes, bad: bytes) -> BytesIO:
    return BytesIO(written(availability(STUDY, IMAGES)).getvalue().replace(good, bad))


def without(dataset: Dataset, keyword: str) -> Dataset:
    delattr(dataset, keyword)
    return dataset


def of(dataset: Dataset, **changes: Any) -> Dataset:
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("broken", "status", "word"),
    [
        (None, Status.MISSING_ATTRIBUTE, "notice.no_attributes"),
        (BytesIO(b"\x08\0\x99\x11SQ\0\0\xff\0\0\0"), Status.INVALID_VALUE, "notice.unreadable"),
        (BytesIO(nested(30)), Status.INVALID_VALUE, "notice.unreadable"),
        (BytesIO(b"\0" * 9_000), Status.RESOURCE_LIMITATION, "notice.too_large"),
        (without(availability(STUDY, IMAGES), "StudyInstanceUID"), 0x0120, "notice.missing_attribute"),
        (
            without(availability(STUDY, IMAGES), "ReferencedSeriesSequence"),
            0x0120,
            "notice.missing_attribute",
        ),
        (availability(STUDY, {}), Status.MISSING_VALUE, "notice.missing_value"),
        (availability(STUDY, {SERIES: []}), Status.MISSING_VALUE, "notice.missing_value"),
        (availability("", IMAGES), Status.INVALID_VALUE, "notice.bad_uid"),
        (twisted(b"2.25.3", b"../../"), Status.INVALID_VALUE, "notice.bad_uid"),
        (twisted(b"2.25.11", b"2..5.11"), Status.INVALID_VALUE, "notice.bad_uid"),
        (
            availability(STUDY, {SERIES: [f"2.25.{n}" for n in range(51)]}),
            Status.RESOURCE_LIMITATION,
            "notice.too_many_references",
        ),
    ],
)
def test_what_is_no_notification_is_refused(broken: Any, status: int, word: str) -> None:
    attributes = written(broken) if isinstance(broken, Dataset) else broken
    with pytest.raises(Unsound) as fault:
        read_availability(UID, attributes, EXPLICIT, replace(NARROW, notice_bytes_max=8_000))
    assert (fault.value.status, fault.value.word) == (status, word)


@pytest.mark.parametrize(
    ("broken", "status", "word"),
    [
        (begun(STUDY, status="COMPLETED"), Status.INVALID_VALUE, "notice.not_in_progress"),
        (begun(STUDY, status=""), Status.INVALID_VALUE, "notice.not_in_progress"),
        (begun(), Status.MISSING_VALUE, "notice.missing_value"),
        (without(begun(STUDY), "ScheduledStepAttributesSequence"), 0x0120, "notice.missing_attribute"),
        (begun("2.25.1", "2.25.2", "2.25.3"), Status.RESOURCE_LIMITATION, "notice.too_many_studies"),
        (of(begun(STUDY), PerformedSeriesSequence=ended(IMAGES).PerformedSeriesSequence), None, ""),
    ],
)
def test_what_is_no_step_is_refused(broken: Dataset, status: int | None, word: str) -> None:
    if status is None:
        assert read_step(UID, written(broken), EXPLICIT, NARROW).named == NAMED
        return
    with pytest.raises(Unsound) as fault:
        read_step(UID, written(broken), EXPLICIT, NARROW)
    assert (fault.value.status, fault.value.word) == (status, word)


def test_a_status_that_there_is_not_is_refused() -> None:
    with pytest.raises(Unsound) as fault:
        read_change(UID, written(ended(status="FINISHED")), EXPLICIT, NARROW)
    assert (fault.value.status, fault.value.word) == (Status.INVALID_VALUE, "notice.bad_status")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_make_a_reader_stumble(data: st.DataObject) -> None:
    syntax = data.draw(st.sampled_from([IMPLICIT, EXPLICIT]))
    dataset = data.draw(st.sampled_from([availability(STUDY, IMAGES), begun(STUDY), ended(IMAGES)]))
    whole = bytearray(encoded(dataset, syntax))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for read in (read_availability, read_step, read_change):
        with suppress(Unsound):
            read(UID, BytesIO(cut), syntax, NARROW)


# On associations.


@dataclass
class Clerk:
    """Keeps notices in memory; a test says what is wrong."""

    taken: list[Any] = field(default_factory=list)
    refusal: Exception | None = None

    def _take(self, peer: Peer, what: Any) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.taken.append((peer.name, what))

    available = began = changed = _take


PEERS = (
    Peer(name="modality", ae_title="CTSCAN", host="", port=0, may=frozenset({"store", "notify"})),
    Peer(name="monitor", ae_title="MONITOR", host="", port=0, may=frozenset({"store"})),
)


@pytest.fixture
def clerk() -> Clerk:
    return Clerk()


@pytest.fixture
def box(clerk: Clerk) -> Iterator[Peer]:
    yield from listening(clerk)


def listening(clerk: Clerk | None, limits: Limits = NARROW) -> Iterator[Peer]:
    listener = Listener(
        ae_title="BOX", host="127.0.0.1", port=0, peers=PEERS, intake=Shelf(), limits=limits, clerk=clerk
    )
    port = listener.start()
    try:
        yield Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port, may=frozenset({"store"}))
    finally:
        listener.stop()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_step_and_a_notification_on_one_association(box: Peer, clerk: Clerk, syntax: str) -> None:
    with saying(box, syntaxes=(syntax,)) as association, capture_logs() as logs:
        assert say(association, begun(STUDY), UID) == 0
        assert tell(association, ended(IMAGES), UID).Status == 0
        assert notify(association, availability(STUDY, IMAGES), "2.25.8") == 0
    assert clerk.taken == [
        ("modality", Step(sop_instance_uid=UID, study_uids=[STUDY], named=[])),
        ("modality", Change(sop_instance_uid=UID, state=StepState.COMPLETED, named=NAMED)),
        ("modality", Availability(sop_instance_uid="2.25.8", study_uid=STUDY, named=NAMED)),
    ]
    text = str(logs)
    assert not [said for said in ("Zw", "4711", "Head", STUDY + "'", "2.25.11") if said in text], "P11"


def test_who_may_not_notify_is_not_authorised(box: Peer, clerk: Clerk) -> None:
    with saying(box, title="MONITOR") as association:
        assert say(association, begun(STUDY), UID) == Status.NOT_AUTHORISED
        assert tell(association, ended(), UID).Status == Status.NOT_AUTHORISED
        assert notify(association, availability(STUDY, IMAGES), UID) == Status.NOT_AUTHORISED
    assert clerk.taken == []


def test_a_refusal_of_the_clerk_is_the_answer(box: Peer, clerk: Clerk) -> None:
    with saying(box) as association:
        clerk.refusal = Unsound(Status.DUPLICATE_INSTANCE, "notice.duplicate")
        assert say(association, begun(STUDY), UID) == 0x0111
        clerk.refusal = Unsound(Status.NO_SUCH_INSTANCE, "notice.unknown")
        assert tell(association, ended(), UID).Status == 0x0112
        clerk.refusal = Unsound(
            Status.PROCESSING_FAILURE, "notice.no_longer_updated", error_id=NO_LONGER_UPDATED
        )
        status = tell(association, ended(), UID)
        assert (status.Status, status.ErrorID) == (0x0110, 0xA506)
        assert status.ErrorComment == "Performed Procedure Step Object may no longer be updated"
        clerk.refusal = OSError("disk")
        assert say(association, begun(STUDY), UID) == 0x0110
        clerk.refusal = None
        assert say(association, begun(STUDY), UID) == 0


def test_a_notice_names_itself_and_belongs_to_its_context(box: Peer, clerk: Clerk) -> None:
    with saying(box) as association:
        assert say(association, begun(STUDY), "1.2.x") == Status.INVALID_INSTANCE
        status, _ = association.send_n_create(begun(STUDY), PERFORMED_STEP, None)
        assert status.Status == Status.INVALID_INSTANCE
        # The context of one class, and a request of another.
        status, _ = association.send_n_create(
            begun(STUDY), PERFORMED_STEP, UID, meta_uid=INSTANCE_AVAILABILITY
        )
        assert status.Status == Status.NO_SUCH_CLASS
        status, _ = association.send_n_create(begun(STUDY), PERFORMED_STEP, UID, meta_uid=CT)
        assert status.Status == Status.NO_SUCH_CLASS
    assert clerk.taken == []


def test_a_request_of_another_service_ends_the_association_and_no_more(box: Peer, clerk: Clerk) -> None:
    with saying(box) as association:
        assert "Status" not in tell(association, ended(), UID, INSTANCE_AVAILABILITY)
    with saying(box) as association:
        status, _ = association.send_n_create(
            begun(STUDY), ModalityWorklistInformationFind, UID, meta_uid=PERFORMED_STEP
        )
        assert "Status" not in status
    assert echo(box, calling_ae="CTSCAN", limits=LIMITS).ok
    assert clerk.taken == []


def test_more_than_its_bound_is_cut_and_others_go_on(box: Peer, clerk: Clerk) -> None:
    many = availability(STUDY, {SERIES: [f"2.25.{n}" for n in range(60)]})
    with saying(box) as association:
        assert notify(association, many, UID) == Status.RESOURCE_LIMITATION
        huge = begun(STUDY)
        huge.add_new(0x00091001, "UN", b"\0" * 12_000_000)
        with capture_logs() as logs:
            assert say(association, huge, UID) == -1
    assert "notice.too_large" in {line["event"] for line in logs}
    assert echo(box, calling_ae="CTSCAN", limits=LIMITS).ok
    assert clerk.taken == []


def test_without_a_clerk_nothing_of_it_is_offered() -> None:
    for box in listening(None):
        with saying(box) as association:
            accepted = {str(one.abstract_syntax) for one in association.accepted_contexts}
        assert accepted == {CT}


def test_a_large_notification_is_within_the_bounds_that_ship() -> None:
    uids = [f"2.25.{10**37 + n}" for n in range(5_000)]
    dataset = availability(STUDY, {SERIES: uids})
    assert len(read_availability(UID, written(dataset), EXPLICIT, Limits()).named) == 5_000
