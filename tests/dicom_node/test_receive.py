"""Instances sent over a real association: what is kept is what was sent, and each refusal has its status."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO

import pytest
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from structlog.testing import capture_logs

from dicom_node.dial import Line, _entity, hold
from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.receive import Arrival, Refused
from dicom_node.status import Status
from dicom_node.storage_classes import VERIFICATION
from dicom_node.values import Peer
from tests.dicom_node.samples import (
    EXPLICIT,
    IMPLICIT,
    LIMITS,
    MR,
    REAL_FILES,
    Sample,
    Shelf,
    element,
    encoded,
    header,
    nested,
    real,
    sample,
)

MARK = "MARKED^PATIENT"


@contextmanager
def associated(box: Peer, *samples: Sample, calling_ae: str = "CTSCAN") -> Iterator[Association]:
    """An association that a sender without any checks of its own would have."""
    pairs = dict.fromkeys((known.sop_class_uid, known.transfer_syntax_uid) for known in samples)
    association = _entity(calling_ae, LIMITS).associate(
        box.host, box.port, contexts=[build_context(*pair) for pair in pairs], ae_title=box.ae_title
    )
    assert association.is_established
    assert hold(association, seconds_max=5.0)
    line = Line(association, LIMITS)
    try:
        yield association
    finally:
        line.hang_up()


def store(association: Association, known: Sample, **changes: str) -> C_STORE | None:
    """Send the bytes of a sample as they are and return the response."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 0
    request.AffectedSOPClassUID = changes.get("sop_class_uid", known.sop_class_uid)
    request.AffectedSOPInstanceUID = changes.get("sop_instance_uid", known.sop_instance_uid)
    request.DataSet = BytesIO(known.data)
    contexts = association.accepted_contexts
    context = next(
        cx
        for cx in contexts
        if cx.abstract_syntax == known.sop_class_uid and cx.transfer_syntax[0] == known.transfer_syntax_uid
    )
    message = C_STORE_RQ()
    with warnings.catch_warnings():
        # The sender's own library dislikes some of what is sent here.
        warnings.simplefilter("ignore")
        message.primitive_to_message(request)
    for data in message.encode_msg(context.context_id or 0, 16_382):
        association.dul.send_pdu(data)
    _, response = association.dimse.get_msg(block=True)
    assert response is None or isinstance(response, C_STORE)
    return response


def answer_to(box: Peer, known: Sample, **changes: str) -> C_STORE:
    with associated(box, known) as association:
        response = store(association, known, **changes)
    assert response is not None
    return response


@pytest.mark.parametrize("name", REAL_FILES)
def test_what_is_kept_is_what_was_sent(box: Peer, shelf: Shelf, name: str) -> None:
    known = real(name)
    assert answer_to(box, known).Status == Status.KEPT
    (arrival,) = shelf.arrivals
    assert arrival.data == known.data
    assert arrival.header.transfer_syntax_uid == known.transfer_syntax_uid
    assert (arrival.calling_ae, arrival.called_ae, arrival.peer_name) == ("CTSCAN", "BOX", "modality")


def test_the_keeper_runs_on_the_thread_of_the_association(box: Peer, shelf: Shelf) -> None:
    answer_to(box, sample())
    assert all(name.startswith(("AcceptorThread", "UpperLayer")) for name in shelf.threads)


def test_success_is_answered_only_after_the_keeper_returned(box: Peer, shelf: Shelf) -> None:
    go_on, answered = threading.Event(), threading.Event()
    shelf.before = lambda _arrival: assert_true(go_on.wait(5))

    def ask() -> int | None:
        status = answer_to(box, sample()).Status
        answered.set()
        return status

    with ThreadPoolExecutor(1) as pool:
        status = pool.submit(ask)
        assert not answered.wait(0.3)
        go_on.set()
        assert status.result(5) == Status.KEPT


def assert_true(value: bool) -> None:
    assert value


def twisted(data: bytes, syntax: str = EXPLICIT) -> Sample:
    known = sample()
    return Sample(
        data=data,
        transfer_syntax_uid=syntax,
        sop_class_uid=known.sop_class_uid,
        sop_instance_uid=known.sop_instance_uid,
    )


REFUSED: list[tuple[str, Callable[[], Sample], dict[str, str], Status, str]] = [
    ("truncated", lambda: twisted(sample().data[:-1]), {}, Status.NOT_READABLE, "receive.truncated"),
    ("empty", lambda: twisted(b"\0"), {}, Status.NOT_READABLE, "receive.truncated"),
    ("syntax", lambda: twisted(sample(IMPLICIT).data), {}, Status.NOT_READABLE, "receive.syntax_mismatch"),
    ("garbage", lambda: twisted(b"\x08\0\5\0CS\xff\xff" * 40), {}, Status.NOT_READABLE, "receive.truncated"),
    ("deep", lambda: twisted(nested(65)), {}, Status.BOUND_EXCEEDED, "receive.too_deep"),
    (
        "huge claim",
        lambda: twisted(sample().data[:-12] + b"\xfe\xff\xff\xff" + b"\0" * 8),
        {},
        Status.NOT_READABLE,
        "receive.bad_length",
    ),
    ("traversal", sample, {"sop_instance_uid": "../../etc/x"}, Status.UID_INVALID, "receive.bad_uid"),
    ("65 characters", sample, {"sop_instance_uid": "1" * 65}, Status.UID_INVALID, "receive.bad_uid"),
    ("no instance", sample, {"sop_instance_uid": ""}, Status.UID_INVALID, "receive.bad_uid"),
    ("no study", lambda: sample(StudyInstanceUID=None), {}, Status.UID_INVALID, "receive.bad_uid"),
    ("instance", sample, {"sop_instance_uid": "2.25.9"}, Status.UID_MISMATCH, "receive.uid_mismatch"),
    ("class", lambda: sample(SOPClassUID=MR), {}, Status.CLASS_MISMATCH, "receive.class_mismatch"),
    ("context", sample, {"sop_class_uid": MR}, Status.CLASS_NOT_SUPPORTED, "receive.class_not_negotiated"),
]


@pytest.mark.parametrize(
    ("make", "changes", "status", "word"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_refusal_has_a_status_a_comment_and_a_word(
    box: Peer, shelf: Shelf, make: Callable[[], Sample], changes: dict[str, str], status: Status, word: str
) -> None:
    with capture_logs() as logs:
        response = answer_to(box, make(), **changes)
    assert response.Status == status
    assert 0 < len(str(response.ErrorComment)) <= 64
    assert [line for line in logs if line["event"] == word]
    assert not shelf.arrivals


def test_a_refused_instance_is_told_with_its_study_as_far_as_its_bytes_can_be_read(
    box: Peer, shelf: Shelf, refused: list[Refused]
) -> None:
    answer_to(box, twisted(sample().data[:-1]))
    answer_to(box, sample(), sop_instance_uid="2.25.9")
    answer_to(box, twisted(b"\0"))
    answer_to(box, sample())
    study_uid = shelf.arrivals[0].header.study_uid
    assert [(one.study_uid, one.word) for one in refused] == [
        (study_uid, "receive.truncated"),
        (study_uid, "receive.uid_mismatch"),
        (None, "receive.truncated"),
    ]
    assert {one.peer_name for one in refused} == {"modality"}


@pytest.mark.parametrize("status", [Status.NO_SPACE, Status.STORAGE_FAULT, Status.DRAINING])
def test_the_keepers_refusal_reaches_the_sender(box: Peer, shelf: Shelf, status: Status) -> None:
    def refuse(_arrival: Arrival) -> None:
        raise Refusal(status, "disk.floor", "try later")

    shelf.before = refuse
    response = answer_to(box, sample())
    assert response.Status == status
    assert str(response.ErrorComment) == "try later"


def test_a_refusal_that_cannot_be_noted_still_reaches_the_sender(
    box: Peer, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_arrival: Arrival) -> None:
        raise Refusal(Status.NO_SPACE, "disk.floor", "out of resources: no space")

    def full(*_: object) -> None:
        raise OSError("no room for a row")

    shelf.before = refuse
    monkeypatch.setattr("dicom_node.receive._refused", full)
    assert answer_to(box, sample()).Status == Status.NO_SPACE


def test_a_fault_of_ours_has_an_incident_number_and_spares_the_next_instance(box: Peer, shelf: Shelf) -> None:
    def break_once(_arrival: Arrival) -> None:
        shelf.before = lambda _arrival: None
        raise RuntimeError(f"about {MARK}")

    shelf.before = break_once
    with capture_logs() as logs, associated(box, sample()) as association:
        first, second = store(association, sample()), store(association, sample())
    assert first is not None
    assert second is not None
    assert first.Status == Status.OUR_FAULT
    assert second.Status == Status.KEPT
    (line,) = [line for line in logs if line["event"] == "receive.our_fault"]
    assert line["incident"] in str(first.ErrorComment)
    assert line["error"] == "RuntimeError"
    assert line["where"].startswith("test_receive.py:")
    assert MARK not in repr(logs)


def test_a_store_that_names_verification_is_no_echo(box: Peer, shelf: Shelf) -> None:
    with capture_logs() as logs, associated(box, sample()) as association, pytest.raises(AssertionError):
        store(association, sample(), sop_class_uid=VERIFICATION)
    assert [line["event"] for line in logs if line["event"].startswith("receive.")] == [
        "receive.class_not_negotiated"
    ]
    assert not shelf.arrivals


def test_a_class_nobody_knows_ends_the_association(box: Peer, shelf: Shelf) -> None:
    with associated(box, sample()) as association:
        assert store(association, sample(), sop_class_uid="1.2.3") is None
    assert not shelf.arrivals


def test_a_peer_that_may_not_store_is_told_so(box: Peer, shelf: Shelf) -> None:
    with associated(box, sample(), calling_ae="MONITOR") as association:
        response = store(association, sample())
    assert response is not None
    assert response.Status == Status.NOT_AUTHORISED
    assert not shelf.arrivals


def test_a_refused_instance_spares_the_others_of_its_association(box: Peer, shelf: Shelf) -> None:
    good, bad = sample(), twisted(sample().data[:-3])
    with associated(box, good) as association:
        answers = [store(association, known) for known in (good, bad, good)]
    assert [answer.Status for answer in answers if answer] == [0, Status.NOT_READABLE, 0]
    assert len(shelf.arrivals) == 2


def test_resent_instances_are_kept_again(box: Peer, shelf: Shelf) -> None:
    with associated(box, sample()) as association:
        for _ in range(3):
            response = store(association, sample())
            assert response is not None
            assert response.Status == Status.KEPT
    assert len(shelf.arrivals) == 3


def test_eight_associations_interleave(box: Peer, shelf: Shelf) -> None:
    def send_some(sender: int) -> list[int | None]:
        knowns = [sample(SOPInstanceUID=f"2.25.{sender}.{n}", InstanceNumber=n) for n in range(12)]
        with associated(box, knowns[0]) as association:
            return [answer.Status if (answer := store(association, known)) else None for known in knowns]

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for part in pool.map(send_some, range(8)) for status in part]
    assert statuses == [0] * 96
    kept = {arrival.header.sop_instance_uid: arrival.data for arrival in shelf.arrivals}
    assert len(kept) == 96
    assert all(
        data == sample(SOPInstanceUID=uid, InstanceNumber=int(uid.rsplit(".")[-1])).data
        for uid, data in kept.items()
    )


def test_every_status_we_answer_is_known_to_be_one_of_ours() -> None:
    assert {row[3] for row in REFUSED} | {
        Status.KEPT,
        Status.OUR_FAULT,
        Status.NOT_AUTHORISED,
        Status.NO_SPACE,
        Status.STORAGE_FAULT,
        Status.DRAINING,
    } == set(Status)


def test_an_endless_data_set_is_cut(listen: Callable[..., Listener], shelf: Shelf) -> None:
    port = listen(Limits(instance_bytes_max=200_000, acse_seconds_max=3.0, abort_seconds_max=1.0)).start()
    box = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=port)
    known = twisted(sample().data + element(0x7FE10010, b"OB", b"\0" * 2_000_000))
    with capture_logs() as logs, associated(box, known) as association:
        assert store(association, known) is None
    assert [line for line in logs if line["event"] == "receive.instance_too_large"]
    assert not shelf.arrivals


def test_no_log_line_names_a_patient(box: Peer, shelf: Shelf) -> None:
    known = sample(PatientName=MARK, PatientID="MARKED-ID", SeriesDescription="MARKED", StudyID="MARKED")
    with capture_logs() as logs:
        answer_to(box, known)
        answer_to(box, known, sop_instance_uid="2.25.9")
        answer_to(box, twisted(known.data[:-5]))
    assert len(shelf.arrivals) == 1
    assert "MARKED" not in repr(logs)
    assert known.sop_instance_uid not in repr(logs)


def test_odd_but_sound_instances_are_kept_and_noted(box: Peer, shelf: Shelf) -> None:
    data = encoded(header(SOPInstanceUID=None)) + element(0x00080018, b"UI", b"1.02.3")
    with capture_logs() as logs:
        response = answer_to(box, twisted(data), sop_instance_uid="1.02.3")
    assert response.Status == Status.KEPT
    assert [line for line in logs if line["event"] == "receive.uid_leading_zero"]
