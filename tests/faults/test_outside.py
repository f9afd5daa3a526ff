"""What goes wrong outside the box, F48 to F55: bells that lie, peers that are away or hostile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from appliance.core.clock import HeldClock
from appliance.core.words import DeliveryState
from appliance.ledger import counts, jobs
from appliance.ledger.engine import Ledger
from appliance.queue.bell import BellCord
from appliance.queue.hub import Hub, hub_address
from appliance.queue.tickets import BadTicket, Bell, Ticket, decode, encode
from dicom_node.limits import Limits
from dicom_node.query import count_instances
from dicom_node.send import Sent, send
from tests.appliance.ledger import given
from tests.appliance.outbox.test_committing import DEMANDING, Desk, lost, whole
from tests.appliance.outbox.test_committing import LIMITS as DESK_LIMITS
from tests.appliance.outbox.test_courier import PACS, Office, sent
from tests.dicom_node.samples import EXPLICIT, IMPLICIT, sample, serving
from tests.dicom_node.test_send import outgoing
from tests.faults.test_wire import Logs, said

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
QUICK = Limits(
    acse_seconds_max=3.0,
    dimse_seconds_max=3.0,
    network_seconds_max=3.0,
    abort_seconds_max=1.0,
    reply_bytes_max=100_000,
    find_responses_max=20,
)


def test_f48_bells_are_doubled_lost_reordered_and_made_up(logs: Logs, tmp_path: Path) -> None:
    """A bell wakes and says no more: what is to do is asked of the ledger, so any of them may be wrong."""
    dice = random.Random(48)
    for _ in range(2_000):
        noise = bytearray(encode(Ticket(Bell.JOB, dice.getrandbits(60))))
        noise[dice.randrange(len(noise))] = dice.randrange(256)
        try:
            assert isinstance(decode(bytes(noise[: dice.randint(0, len(noise))])), Ticket)
        except BadTicket:
            continue
    context = zmq.Context()
    with closing(Hub(tmp_path / "run")) as hub, closing(BellCord(tmp_path / "run")) as worker:
        stranger = context.socket(zmq.DEALER)
        stranger.linger = 0
        stranger.connect(hub_address(tmp_path / "run"))
        for number in range(2_000):
            stranger.send(dice.randbytes(number % 50))
        for _ in range(5):
            worker.ring(Ticket(Bell.IDLE))
        assert any(hub.listen(0.5) for _ in range(20))
        assert hub.offer(7)
        assert worker.wait(5) == Ticket(Bell.JOB, 7)
        stranger.close()
    context.term()
    assert said(logs, "queue.bad_ticket")
    assert {line["log_level"] for line in logs} <= {"warning", "info", "debug"}, "noise is nobody's fault"


def test_f48_a_box_that_hears_no_bell_works_all_the_same(ledger: Ledger, logs: Logs, tmp_path: Path) -> None:
    """Every bell is lost: whoever looks at the ledger finds what is to do, once, and it is done once."""
    (job_id,) = given.a_job(ledger)
    now = ledger.clock.now()
    for _ in range(2):
        with ledger.read() as tx:
            assert jobs.due(tx, at=now, limit=10) == [job_id], "doubled or not"
    with ledger.write() as tx:
        assert jobs.lease(tx, job_id, owner="worker:1", at=now, seconds=30) is not None
        assert jobs.lease(tx, job_id, owner="worker:2", at=now, seconds=30) is None, "two bells, one lease"
    with ledger.read() as tx:
        assert jobs.due(tx, at=now, limit=10) == []
        assert counts.count(tx).balance == 0


@pytest.fixture
def office(ledger: Ledger, tmp_path: Path) -> Office:
    return Office(ledger, tmp_path / "root")


def test_f51_a_peer_that_is_away_is_tried_until_it_is_back(office: Office, clock: HeldClock) -> None:
    office.fill("1.1")
    for word in ("unreachable", "rejected", "aborted", "no_reply", "later"):
        office.answers["1.1"] = sent("1.1", "later", None, f"courier.{word}")
        assert office.courier.deliver(PACS) == 0
        assert (office.only().state, office.only().word) == (DeliveryState.LATER, f"courier.{word}")
        clock.seconds = office.only().due_at
    office.answers.clear()
    assert office.courier.deliver(PACS) == 1
    assert set(map(tuple, office.batches)) == {(b"object 1.1",)}, "the same bytes each time"


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_f52_a_warning_is_an_acceptance_that_is_remembered(office: Office, status: int) -> None:
    office.fill("1.1")
    said = stored(answer=status)
    assert (said.outcome, said.word, said.status) == ("accepted", "courier.coerced", status)
    office.answers["1.1"] = sent("1.1", said.outcome, said.status, said.word)
    assert office.courier.deliver(PACS) == 1
    assert (office.only().state, office.only().word) == (DeliveryState.ACCEPTED, "courier.coerced")


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC123, 0x0122, 0x0124])
def test_f53_a_refusal_ends_with_a_person(office: Office, clock: HeldClock, status: int) -> None:
    office.fill("1.1")
    said = stored(answer=status)
    assert (said.outcome, said.word) == ("refused", "courier.refused")
    office.answers["1.1"] = sent("1.1", said.outcome, said.status, said.word)
    for _ in range(2):
        office.courier.deliver(PACS)
        clock.advance(3600)
    assert (office.only().state, office.only().status) == (DeliveryState.DEAD, status)


def stored(*, answer: int = 0, twist: Any = None) -> Sent:
    """What is said of one object that is stored at a peer, whose answers may be twisted."""
    entity, known = AE("PACS"), sample()
    entity.add_supported_context(known.sop_class_uid, EXPLICIT)
    handlers: list[Any] = [(evt.EVT_C_STORE, lambda _event: answer)]
    if twist is not None:
        handlers.append((evt.EVT_DIMSE_SENT, twist))
    with serving(entity, *handlers) as peer:
        (said,) = send(peer, calling_ae="BOX", objects=[outgoing(known)], limits=QUICK)
    return said


def _another_message(event: Any) -> None:
    event.message.command_set.MessageIDBeingRespondedTo = 999


def _another_kind(event: Any) -> None:
    event.message.command_set.CommandField = 0x8030


def _endless_comment(event: Any) -> None:
    event.message.command_set.ErrorComment = "x" * 200_000


@pytest.mark.parametrize("twist", [_another_message, _another_kind, _endless_comment])
def test_f55_an_answer_that_is_none_settles_nothing(twist: Any) -> None:
    said = stored(twist=twist)
    assert (said.outcome, said.status) == ("later", None)


@pytest.mark.parametrize("hostile", ["endless", "giant"])
def test_f55_a_query_without_end_is_cut(hostile: str) -> None:
    served = []

    def answers(event: Any) -> Iterator[tuple[int, Dataset]]:
        for number in range(100_000):
            served.append(number)
            dataset = Dataset()
            dataset.StudyInstanceUID = "1.2"
            dataset.QueryRetrieveLevel = "STUDY"
            if hostile == "giant":
                dataset.add_new(0x00091001, "UN", b"\0" * 300_000)
            yield 0xFF00, dataset
            if not event.assoc.is_established:
                return

    entity = AE("PACS")
    entity.add_supported_context(STUDY_ROOT_FIND, [EXPLICIT, IMPLICIT])
    with serving(entity, (evt.EVT_C_FIND, answers)) as peer:
        assert count_instances(peer, calling_ae="BOX", study_uid="1.2", limits=QUICK) is None
    assert 0 < len(served) < 100_000


@pytest.fixture
def desk(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Desk:
    return Desk(ledger, tmp_path / "desk", clock)


@pytest.mark.parametrize("recovers", [True, False])
def test_f54_a_peer_that_loses_what_it_took_gets_it_again(desk: Desk, recovers: bool) -> None:
    """It said 0000, then that it has no such object: the same bytes go again, and then a person must look."""
    desk.office.fill("1.1", "1.2")
    desk.at_once = lambda request: lost(request, "1.1")
    rounds = 1 if recovers else DESK_LIMITS.commitment_losses_max
    for _ in range(rounds):
        assert desk.round() >= 1
    if recovers:
        desk.at_once = whole
        desk.round()
    states = {row.id: (row.state, row.word) for row in desk.deliveries()}
    gone = (DeliveryState.DEAD, "confirm.lost")
    there = (DeliveryState.COMMITTED, "confirm.committed")
    assert list(states.values()) == [there if recovers else gone, there]
    assert desk.office.batches[0] == [b"object 1.1", b"object 1.2"]
    again = desk.office.batches[1:]
    assert again == [[b"object 1.1"]] * len(again), "the same bytes, and only of what was lost"
    assert len(again) == (1 if recovers else DESK_LIMITS.commitment_losses_max - 1)


def test_f54_a_peer_that_never_reports_is_asked_again_and_then_a_person_must_look(
    desk: Desk, clock: HeldClock
) -> None:
    desk.office.fill("1.1")
    desk.round()
    for _ in range(2 * DESK_LIMITS.commitment_asks_max):
        clock.advance(DESK_LIMITS.commitment_report_seconds_max)
        desk.committer.turn(DEMANDING)
        clock.advance(DESK_LIMITS.commitment_settle_seconds)
        desk.committer.turn(DEMANDING)
    (row,) = desk.deliveries()
    assert (row.state, row.word) == (DeliveryState.DEAD, "confirm.silent")
    assert len(desk.requests) == DESK_LIMITS.commitment_asks_max
    assert desk.report(whole(desk.requests[0])), "a late word still counts"
    assert desk.deliveries()[0].state is DeliveryState.COMMITTED


def test_f55_a_report_of_a_foreign_transaction_settles_nothing(desk: Desk) -> None:
    desk.office.fill("1.1")
    desk.round()
    foreign = replace(whole(desk.requests[0]), transaction_uid="2.25.99")
    assert not desk.report(foreign)
    assert not desk.report(whole(desk.requests[0]), peer="somebody")
    assert desk.deliveries()[0].state is DeliveryState.ACCEPTED
