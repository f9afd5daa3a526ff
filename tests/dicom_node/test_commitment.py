"""Storage commitment on the wire, in both roles, with peers that are slow, wrong or hostile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.dsutils import decode
from structlog.testing import capture_logs

from dicom_node.commit_ask import Taken, ask_to_commit
from dicom_node.commit_tell import tell
from dicom_node.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    Reference,
    Report,
    Request,
    Status,
    Unsound,
    encode_report,
    encode_request,
    read_report,
    read_request,
)
from dicom_node.echo import echo
from dicom_node.library import tame
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.values import Peer
from tests.dicom_node.conftest import PEERS
from tests.dicom_node.samples import CT, EXPLICIT, IMPLICIT, LIMITS, Shelf, encoded, header, nested, serving

QUICK = replace(LIMITS, commitment_event_seconds=2.0, commitment_references_max=50)
ONE, TWO = Reference(CT, "2.25.101"), Reference(CT, "2.25.102")
ASKED = Request(transaction_uid="2.25.7", references=[ONE, TWO])
SAID = Report(transaction_uid="2.25.7", committed=[ONE], failed={TWO: 0x0112})


@pytest.fixture(autouse=True)
def tamed() -> None:
    """As whoever opens an association or a port does first."""
    tame()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_requests_and_reports_are_read_as_they_were_written(syntax: str) -> None:
    assert read_request(encode_request(ASKED, syntax), syntax, QUICK) == ASKED
    assert read_report(encode_report(SAID, syntax), syntax, QUICK) == SAID
    assert (SAID.event_type, replace(SAID, failed={}).event_type) == (2, 1)


def information(**changes: object) -> BytesIO:
    dataset = Dataset()
    dataset.TransactionUID = "2.25.7"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ONE
    dataset.ReferencedSOPSequence = Sequence([item])
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return BytesIO(encoded(dataset, EXPLICIT))


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (None, "commit.no_information"),
        (BytesIO(b"\x08\0\x99\x11SQ\0\0\xff\0\0\0"), "commit.unreadable"),
        (BytesIO(nested(20)), "commit.unreadable"),
        (BytesIO(b"\0" * 9_000), "commit.too_large"),
        (information(ReferencedSOPSequence=Sequence()), "commit.no_references"),
        (information(ReferencedSOPSequence=Sequence([Dataset()])), "commit.bad_uid"),
        (information(TransactionUID=""), "commit.bad_uid"),
        (BytesIO(information().getvalue().replace(b"2.25.7", b"../../")), "commit.bad_uid"),
    ],
)
def test_what_is_no_request_is_refused_with_a_word(broken: BytesIO | None, word: str) -> None:
    with pytest.raises(Unsound) as fault:
        read_request(broken, EXPLICIT, replace(QUICK, commitment_bytes_max=8_000))
    assert fault.value.word == word


def test_more_references_than_the_bound_are_refused() -> None:
    many = Request(transaction_uid="2.25.7", references=[Reference(CT, f"2.25.{n}") for n in range(51)])
    with pytest.raises(Unsound) as fault:
        read_request(encode_request(many, EXPLICIT), EXPLICIT, QUICK)
    assert (fault.value.word, fault.value.status) == ("commit.too_many_references", 0x0213)
    assert len(read_request(encode_request(many, EXPLICIT), EXPLICIT, Limits()).references) == 51


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_make_a_reader_stumble(data: st.DataObject) -> None:
    syntax = data.draw(st.sampled_from([IMPLICIT, EXPLICIT]))
    whole = bytearray(encode_report(SAID, syntax).getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for read in (read_report, read_request):
        with suppress(Unsound):
            read(BytesIO(cut), syntax, QUICK)


# We ask, a peer answers.


@contextmanager
def archive(
    action: Callable[[evt.Event], Any], *, syntax: str = EXPLICIT, context: str = PUSH_MODEL
) -> Iterator[Peer]:
    entity = AE("PACS")
    entity.supported_contexts = [build_context(context, [syntax])]
    with serving(entity, (evt.EVT_N_ACTION, action)) as peer:
        yield peer


def asked(
    peer: Peer, heard: list[Report] | None = None, *, known: bool = True, limits: Limits = QUICK
) -> Taken:
    def on_report(report: Report) -> bool:
        if heard is not None:
            heard.append(report)
        return known

    return ask_to_commit(peer, calling_ae="BOX", request=ASKED, on_report=on_report, limits=limits)


def reports(association: Association, answers: list[Any], report: Report = SAID) -> None:
    dataset = decode(encode_report(report, EXPLICIT), False, True)
    answers.append(
        association.send_n_event_report(dataset, report.event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    )


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_peer_takes_a_request_and_reports_later(syntax: str) -> None:
    seen: list[Dataset] = []

    def action(event: evt.Event) -> tuple[int, None]:
        seen.append(event.action_information)
        assert event.request.RequestedSOPInstanceUID == PUSH_MODEL_INSTANCE  # type: ignore[union-attr]
        return 0x0000, None

    heard: list[Report] = []
    with archive(action, syntax=syntax) as peer:
        assert asked(peer, heard, limits=replace(QUICK, commitment_event_seconds=0.2)).ok
    assert heard == []
    assert seen[0].TransactionUID == "2.25.7"
    assert [item.ReferencedSOPInstanceUID for item in seen[0].ReferencedSOPSequence] == [
        "2.25.101",
        "2.25.102",
    ]


@pytest.mark.parametrize("known", [True, False])
def test_a_report_on_the_association_of_its_request_is_taken_and_answered(known: bool) -> None:
    answers: list[Any] = []
    done = threading.Event()

    def action(event: evt.Event) -> tuple[int, None]:
        def later() -> None:
            time.sleep(0.2)
            reports(event.assoc, answers)
            done.set()

        threading.Thread(target=later).start()
        return 0x0000, None

    heard: list[Report] = []
    with archive(action) as peer:
        assert asked(peer, heard, known=known).ok
        assert done.wait(5)
    assert heard == [SAID]
    assert answers[0][0].Status == (0x0000 if known else 0x0115)


def test_a_report_that_comes_before_the_answer_is_taken_too() -> None:
    answers: list[Any] = []

    def action(event: evt.Event) -> tuple[int, None]:
        reports(event.assoc, answers)
        return 0x0000, None

    heard: list[Report] = []
    with archive(action) as peer:
        assert asked(peer, heard).ok
    assert heard == [SAID]
    assert answers[0][0].Status == 0x0000


def test_a_peer_that_leaves_at_once_is_let_go() -> None:
    def action(event: evt.Event) -> tuple[int, None]:
        threading.Timer(0.1, event.assoc.release).start()
        return 0x0000, None

    with archive(action) as peer:
        assert asked(peer, limits=replace(QUICK, commitment_event_seconds=30.0)).ok


@pytest.mark.parametrize(("status", "word"), [(0x0124, "confirm.refused"), (0xB000, "confirm.asked")])
def test_a_refusal_is_told_from_a_warning(status: int, word: str) -> None:
    with archive(lambda _event: (status, None)) as peer:
        taken = asked(peer, limits=replace(QUICK, commitment_event_seconds=0.1))
    assert (taken.word, taken.status) == (word, status)


def test_who_offers_no_commitment_or_nothing_at_all() -> None:
    with archive(lambda _event: (0, None), context="1.2.840.10008.1.1") as peer:
        taken = asked(peer)
    assert taken.word == "confirm.no_context"
    assert taken.refused
    taken = asked(Peer(name="p", ae_title="P", host="127.0.0.1", port=0))
    assert (taken.word, taken.refused) == ("confirm.unreachable", False)


def test_a_report_that_says_something_else_is_refused() -> None:
    answers: list[Any] = []

    def action(event: evt.Event) -> tuple[int, None]:
        dataset = Dataset()
        dataset.TransactionUID = "2.25.7"
        association = event.assoc
        answers.append(association.send_n_event_report(dataset, 9, PUSH_MODEL, PUSH_MODEL_INSTANCE))
        answers.append(association.send_n_event_report(dataset, 1, PUSH_MODEL, "2.25.1"))
        dataset.ReferencedSOPSequence = Sequence([Dataset()])
        answers.append(association.send_n_event_report(dataset, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE))
        return 0x0000, None

    heard: list[Report] = []
    with archive(action) as peer:
        asked(peer, heard)
    assert [status.Status for status, _ in answers] == [0x0113, 0x0112, 0x0115]
    assert heard == []


# A peer asks us.


@dataclass
class Steward:
    """Keeps promises in memory; a test says what is there."""

    commits: bool = True
    refusal: Unsound | None = None
    report: Report | None = SAID
    fault: Exception | None = None
    known: bool = True
    promised: list[tuple[str, Request]] = field(default_factory=list)
    owed: list[str] = field(default_factory=list)
    heard: list[tuple[str, Report]] = field(default_factory=list)

    def promise(self, peer: Peer, request: Request) -> None:
        if self.fault is not None:
            raise self.fault
        if self.refusal is not None:
            raise self.refusal
        self.promised.append((peer.name, request))
        self.owed.append(request.transaction_uid)

    def report_for(self, peer: Peer, transaction_uid: str) -> Report | None:
        assert transaction_uid in self.owed
        return self.report and replace(self.report, transaction_uid=transaction_uid)

    def told(self, peer: Peer, report: Report) -> None:
        self.owed.remove(report.transaction_uid)

    def reported(self, peer: Peer, report: Report) -> bool:
        if self.fault is not None:
            raise self.fault
        self.heard.append((peer.name, report))
        return self.known


@pytest.fixture
def steward() -> Steward:
    return Steward()


@pytest.fixture
def box(shelf: Shelf, steward: Steward) -> Iterator[Peer]:
    """A listener that commits, as its peers know it."""
    listener = Listener(
        ae_title="BOX",
        host="127.0.0.1",
        port=0,
        peers=PEERS,
        intake=shelf,
        limits=QUICK,
        steward=steward,
    )
    yield Peer(name="box", ae_title="BOX", host="127.0.0.1", port=listener.start())
    listener.stop()


@contextmanager
def modality(
    box: Peer, *handlers: Any, title: str = "CTSCAN", syntaxes: tuple[str, ...] = (EXPLICIT,), **more: Any
) -> Iterator[Association]:
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = 30
    contexts = [build_context(PUSH_MODEL, list(syntaxes)), build_context("1.2.840.10008.1.1")]
    association = entity.associate(
        box.host, box.port, contexts=contexts, ae_title="BOX", evt_handlers=list(handlers), **more
    )
    assert association.is_established
    yield association
    association.release()


def wants(association: Association, request: Request = ASKED, **changes: Any) -> int | None:
    dataset = decode(encode_request(request, EXPLICIT), False, True)
    values: dict[str, Any] = {
        "action_type": 1,
        "class_uid": PUSH_MODEL,
        "instance_uid": PUSH_MODEL_INSTANCE,
    } | changes
    status, _ = association.send_n_action(values.pop("dataset", dataset), **values)
    return status.Status if "Status" in status else None


class Ear:
    """What a modality hears in N-EVENT-REPORTs."""

    def __init__(self, *statuses: int) -> None:
        self.reports: list[Report] = []
        self._statuses = list(statuses)
        self.heard = threading.Event()

    def __call__(self, event: evt.Event) -> tuple[int, None]:
        information = event.request.EventInformation  # type: ignore[union-attr]
        self.reports.append(read_report(information, str(event.context.transfer_syntax), QUICK))
        self.heard.set()
        return (self._statuses.pop(0) if self._statuses else 0), None


def settled(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not look() and time.monotonic() < deadline:
        time.sleep(0.02)
    return look()


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_a_modality_asks_and_hears_on_the_same_association(box: Peer, steward: Steward, syntax: str) -> None:
    ear = Ear()
    with modality(box, (evt.EVT_N_EVENT_REPORT, ear), syntaxes=(syntax,)) as association:
        assert wants(association) == 0
        assert ear.heard.wait(30)
        assert settled(lambda: not steward.owed)
        ear.heard.clear()
        assert wants(association, replace(ASKED, transaction_uid="2.25.8")) == 0
        assert ear.heard.wait(30), "and once more on it"
        status = association.send_c_echo()
        assert status.Status == 0
    assert steward.promised[0] == ("modality", ASKED)
    assert ear.reports[0] == SAID


def test_what_comes_while_we_report_is_served_afterwards(box: Peer, steward: Steward) -> None:
    ear = Ear()
    steward.report = None
    with modality(box, (evt.EVT_N_EVENT_REPORT, ear)) as association:
        assert wants(association) == 0
        # The report cannot be made yet, and the peer goes on: it is owed for later.
        assert association.send_c_echo().Status == 0
    assert steward.owed == ["2.25.7"]
    assert ear.reports == []


def test_a_modality_that_leaves_or_refuses_is_still_owed_its_report(box: Peer, steward: Steward) -> None:
    ear = Ear(0x0110)
    with capture_logs() as logs, modality(box, (evt.EVT_N_EVENT_REPORT, ear)) as association:
        assert wants(association) == 0
        assert ear.heard.wait(30)
        # pynetdicom's own thread must have answered before this one says good-bye.
        assert settled(lambda: "commit.report_refused" in [line["event"] for line in logs])
    steward.report = None
    with modality(box) as association:
        assert wants(association, replace(ASKED, transaction_uid="2.25.8")) == 0
    assert steward.owed == ["2.25.7", "2.25.8"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"action_type": 2}, Status.NO_SUCH_ACTION),
        ({"instance_uid": "2.25.1"}, Status.NO_SUCH_INSTANCE),
        ({"dataset": None}, Status.INVALID_ARGUMENT),
    ],
)
def test_a_request_that_is_none_is_refused(
    box: Peer, steward: Steward, changes: dict[str, Any], status: int
) -> None:
    with modality(box) as association:
        assert wants(association, **changes) == status
    assert steward.promised == []


def test_who_may_not_store_may_not_ask_and_a_box_that_does_not_commit_says_so(
    box: Peer, steward: Steward
) -> None:
    with modality(box, title="MONITOR") as association:
        assert wants(association) == Status.NOT_AUTHORISED
    steward.commits = False
    with modality(box) as association:
        assert wants(association) == Status.NOT_AUTHORISED
    assert steward.promised == []


def test_a_promise_that_could_not_be_kept_is_not_made(box: Peer, steward: Steward) -> None:
    steward.fault = OSError("disk")
    with modality(box) as association:
        assert wants(association) == Status.PROCESSING_FAILURE
    steward.fault, steward.refusal = None, Unsound(Status.RESOURCE_LIMITATION, "commit.too_many_waiting")
    with modality(box) as association:
        assert wants(association) == Status.RESOURCE_LIMITATION


def test_too_many_references_and_too_many_bytes(box: Peer, steward: Steward) -> None:
    many = replace(ASKED, references=[Reference(CT, f"2.25.{n}") for n in range(60)])
    with modality(box) as association:
        assert wants(association, many) == Status.RESOURCE_LIMITATION
    huge = Dataset()
    huge.TransactionUID = "2.25.7"
    huge.add_new(0x00091001, "UN", b"\0" * 12_000_000)
    with capture_logs() as logs, modality(box) as association:
        assert wants(association, dataset=huge) is None
        assert settled(lambda: association.is_aborted)
    assert "commit.too_large" in {line["event"] for line in logs}
    assert echo(box, calling_ae="CTSCAN", limits=LIMITS).ok
    assert steward.promised == []


def test_a_request_of_another_service_ends_the_association_and_no_more(box: Peer) -> None:
    with modality(box) as association:
        request = C_ECHO()
        request.MessageID = 1
        request.AffectedSOPClassUID = UID(PUSH_MODEL)
        association.dimse.send_msg(request, association.accepted_contexts[0].context_id or 0)
        assert settled(lambda: association.is_aborted)
    assert echo(box, calling_ae="CTSCAN", limits=LIMITS).ok


# Reports between associations.


def test_a_peer_reports_on_an_association_of_its_own(box: Peer, steward: Steward) -> None:
    own = replace(box, ae_title="BOX")
    assert tell(own, calling_ae="CTSCAN", report=SAID, limits=QUICK).ok
    assert steward.heard == [("modality", SAID)]
    steward.known = False
    told = tell(own, calling_ae="CTSCAN", report=SAID, limits=QUICK)
    assert (told.ok, told.status) == (False, 0x0115)
    steward.fault = OSError("disk")
    assert tell(own, calling_ae="CTSCAN", report=SAID, limits=QUICK).status == 0x0110


@pytest.mark.parametrize("role", [True, False])
def test_a_peer_may_forget_to_say_that_it_is_the_provider(box: Peer, steward: Steward, role: bool) -> None:
    answers: list[Any] = []
    more: dict[str, Any] = {"ext_neg": [build_role(PUSH_MODEL, scp_role=True)]} if role else {}
    with modality(box, **more) as association:
        assert association.accepted_contexts[0].as_scp is role
        reports(association, answers)
    assert answers[0][0].Status == 0
    assert steward.heard == [("modality", SAID)]


def test_we_say_that_we_are_the_provider() -> None:
    ear = Ear()
    roles: list[tuple[bool, bool]] = []
    entity = AE("PACS")
    entity.add_supported_context(PUSH_MODEL, [EXPLICIT], scu_role=True, scp_role=True)
    accepted = (
        evt.EVT_ACCEPTED,
        lambda e: roles.extend((c.as_scu, c.as_scp) for c in e.assoc.accepted_contexts),
    )
    with serving(entity, (evt.EVT_N_EVENT_REPORT, ear), accepted) as peer:
        assert tell(peer, calling_ae="BOX", report=SAID, limits=QUICK).ok
    assert ear.reports == [SAID]
    assert roles == [(True, False)], "the one that was called is the user of the service"


def test_who_does_not_take_reports() -> None:
    with archive(lambda _event: (0, None), context="1.2.840.10008.1.1") as peer:
        assert tell(peer, calling_ae="BOX", report=SAID, limits=QUICK).word == "commit.no_context"


def test_a_flood_of_reports_is_answered_and_bounded(box: Peer, steward: Steward) -> None:
    gate, inside = threading.Event(), []

    def slowly(peer: Peer, report: Report) -> bool:
        inside.append(1)
        gate.wait(5)
        return True

    steward.reported = slowly  # type: ignore[method-assign]
    statuses: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                int(tell(box, calling_ae="CTSCAN", report=SAID, limits=QUICK).status or 0)
            )
        )
        for _ in range(12)
    ]
    # Each on an association of its own; more than the seats are turned away while they are taken.
    for thread in threads[:8]:
        thread.start()
    assert settled(lambda: len(inside) == QUICK.commitment_reports_at_once_max)
    assert tell(box, calling_ae="MONITOR", report=SAID, limits=QUICK).status in (0x0213, None)
    gate.set()
    for thread in threads[:8]:
        thread.join(10)
    assert statuses == [0] * 8


def test_a_late_answer_to_a_former_report_is_not_one_to_the_next(box: Peer, steward: Steward) -> None:
    ids: list[int] = []

    def hears(event: evt.Event) -> tuple[int, None]:
        ids.append(event.request.MessageID or 0)
        return 0, None

    with modality(box, (evt.EVT_N_EVENT_REPORT, hears)) as association:
        for number in (7, 8, 9):
            assert wants(association, replace(ASKED, transaction_uid=f"2.25.{number}")) == 0
            assert settled(lambda wanted=number: len(ids) == wanted - 6 and not steward.owed)  # type: ignore[misc]
    assert len(set(ids)) == 3


def test_images_and_requests_go_on_one_association(box: Peer, steward: Steward, shelf: Shelf) -> None:
    """As a modality does it: the streamed path and the library's take turns."""
    ear = Ear()
    entity = AE("CTSCAN")
    entity.acse_timeout = entity.dimse_timeout = 30
    association = entity.associate(
        box.host,
        box.port,
        contexts=[build_context(PUSH_MODEL, [EXPLICIT]), build_context(CT, [EXPLICIT])],
        ae_title="BOX",
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, ear)],
    )
    for number in (7, 8):
        image = header(SOPInstanceUID=f"2.25.10{number}")
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = UID(EXPLICIT)
        assert association.send_c_store(image).Status == 0
        assert wants(association, replace(ASKED, transaction_uid=f"2.25.{number}")) == 0
        # The next image goes while the report is on its way.
        assert association.send_c_store(image).Status == 0
        assert settled(lambda: not steward.owed)
    association.release()
    assert association.is_released
    assert len(shelf.arrivals) == 4
    assert len(ear.reports) == 2
