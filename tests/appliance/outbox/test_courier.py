"""The courier settles what the peer said, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.core.config import Peer
from appliance.core.limits import Limits
from appliance.core.outputs import SOP_CLASSES, Output
from appliance.core.words import DeliveryState, JobState, Outcome
from appliance.ledger import acceptances, arrivals, deliveries, jobs, results, studies
from appliance.ledger.engine import Ledger
from appliance.ledger.results import Ending, Result, ResultObject
from appliance.outbox.courier import Courier
from appliance.spool.record import Record
from appliance.spool.store import Spool
from dicom_node.send import Sent
from tests.appliance import making

PACS = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)
LIMITS = Limits(refusals_max=2)


class Office:
    """An outbox with objects in it, and a peer whose answers the test chooses."""

    def __init__(self, ledger: Ledger, root: Path) -> None:
        self.ledger = ledger
        self.spool = Spool(root, "results")
        self.batches: list[list[bytes]] = []
        self.answers: dict[str, Sent] = {}
        self.courier = Courier(ledger, self.spool, self._send, LIMITS)

    def _send(self, peer, objects):
        assert peer.name == PACS.name
        self.batches.append([o.data for o in objects])
        for item in objects:
            yield self.answers.get(item.sop_instance_uid) or sent(item.sop_instance_uid)

    def fill(
        self, *uids: str, kinds: dict[str, Output] | None = None, send_to: Sequence[Output] = ("sr",)
    ) -> None:
        """Make a finished job whose result has an object for each UID, those of some kinds for the PACS."""
        instance = making.instance(len(uids), study="1.9")
        with self.ledger.write() as tx:
            arrivals.add(tx, instance, calling_ae="PACS", at=0.0)
            work = jobs.Work(
                study_uid="1.9",
                series_uid=instance.series_uid,
                route="r",
                mode="release",
                model_name="m",
                model_version="1",
                model_digest="d",
                input_digest="+".join(uids),
                priority=5,
                refusal=None,
            )
            job_id = jobs.open_job(tx, work, at=0.0)
            job = jobs.lease(tx, job_id, owner="w:1", at=self.ledger.clock.now(), seconds=30)
            assert job is not None
            ending = Ending(
                state=JobState.DONE,
                word="job.done",
                reason=None,
                result=Result(
                    outcome=Outcome.MEASURED,
                    statement="",
                    engine="e",
                    stepped_down=None,
                    evidence_digest="x",
                    evidence=[],
                    measurements=[],
                    seconds={},
                ),
                objects=[self._object(uid, (kinds or {}).get(uid, "sr")) for uid in uids],
                send_to={"pacs": list(send_to)},
            )
            assert results.end(tx, job, ending, at=self.ledger.clock.now())

    def _object(self, uid: str, output: Output) -> ResultObject:
        data = f"object {uid}".encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with self.spool.begin() as writing:
            writing.write(data)
            location = writing.commit(
                Record(
                    sop_class_uid="1.2",
                    sop_instance_uid=uid,
                    transfer_syntax_uid=making.EXPLICIT_LE,
                    calling_ae="READSIDE",
                    received_at=0.0,
                    length=len(data),
                    digest=digest,
                )
            )
        return ResultObject(
            output=output,
            sop_class_uid=SOP_CLASSES[output],
            sop_instance_uid=uid,
            series_uid="1.5",
            transfer_syntax_uid=making.EXPLICIT_LE,
            series_description="x",
            modality="SR",
            digest=digest,
            location=location,
        )

    def states(self) -> dict[int, DeliveryState]:
        with self.ledger.read() as tx:
            return {d.id: d.state for d in deliveries.of_study(tx, "1.9")}

    def only(self) -> deliveries.Delivery:
        with self.ledger.read() as tx:
            (found,) = deliveries.of_study(tx, "1.9")
        return found


def sent(uid: str, outcome: str = "accepted", status: int | None = 0, word: str = "courier.accepted") -> Sent:
    return Sent(sop_instance_uid=uid, outcome=outcome, status=status, word=word)  # type: ignore[arg-type]


@pytest.fixture
def office(ledger: Ledger, tmp_path: Path) -> Office:
    return Office(ledger, tmp_path / "root")


def test_a_batch_goes_over_one_association_in_order_with_frozen_bytes(office: Office):
    office.fill("1.1", "1.2", "1.3")
    assert office.courier.deliver(PACS) == 3
    assert office.batches == [[b"object 1.1", b"object 1.2", b"object 1.3"]]
    assert set(office.states().values()) == {DeliveryState.ACCEPTED}
    assert office.courier.deliver(PACS) == 0
    assert len(office.batches) == 1


def test_what_was_not_answered_is_later_and_the_rest_is_accepted(office: Office):
    office.fill("1.1", "1.2")
    office.answers["1.2"] = sent("1.2", "later", None, "courier.later")
    office.courier.deliver(PACS)
    assert list(office.states().values()) == [DeliveryState.ACCEPTED, DeliveryState.LATER]


def test_later_waits_longer_each_time_and_never_gives_up(office: Office, clock: HeldClock):
    office.fill("1.1")
    office.answers["1.1"] = sent("1.1", "later", None, "courier.unreachable")
    waits = []
    for _ in range(12):
        office.courier.deliver(PACS)
        waits.append(office.only().due_at - clock.now())
        clock.seconds = office.only().due_at
    assert office.only().state is DeliveryState.LATER
    assert waits[0] <= 1.5 * LIMITS.delivery_backoff_seconds
    assert max(waits) <= 1.5 * LIMITS.delivery_backoff_seconds_max
    assert waits[-1] >= 0.5 * LIMITS.delivery_backoff_seconds_max
    office.answers.clear()
    assert office.courier.deliver(PACS) == 1


def test_attempts_that_the_courier_died_of_make_nobody_wait(office: Office, clock: HeldClock):
    office.fill("1.1")
    for _ in range(12):
        with office.ledger.write() as tx:
            assert deliveries.take(tx, PACS.name, at=clock.now(), limits=LIMITS)
            deliveries.release_dead(tx, at=clock.now(), everything=True)
    office.answers["1.1"] = sent("1.1", "later", None, "courier.unreachable")
    office.courier.deliver(PACS)
    assert office.only().due_at - clock.now() <= 1.5 * LIMITS.delivery_backoff_seconds


def test_nothing_is_sent_before_it_is_due(office: Office):
    office.fill("1.1")
    office.answers["1.1"] = sent("1.1", "later", None, "courier.later")
    office.courier.deliver(PACS)
    assert office.courier.deliver(PACS) == 0
    assert len(office.batches) == 1


def test_a_refusal_is_asked_again_and_then_a_person_must_look(office: Office, clock: HeldClock):
    office.fill("1.1")
    office.answers["1.1"] = sent("1.1", "refused", 0xA900, "courier.refused")
    office.courier.deliver(PACS)
    assert office.only().state is DeliveryState.LATER
    clock.advance(3600)
    office.courier.deliver(PACS)
    dead = office.only()
    assert (dead.state, dead.status, dead.word) == (DeliveryState.DEAD, 0xA900, "courier.refused")
    clock.advance(10 * 86_400)
    assert office.courier.deliver(PACS) == 0
    with office.ledger.write() as tx:
        assert deliveries.settle(tx, [dead.id], by="somebody", send_again=True, at=clock.now()) == 1
    office.answers.clear()
    assert office.courier.deliver(PACS) == 1


def test_a_slow_peer_is_not_taken_for_a_dead_courier(office: Office, clock: HeldClock):
    office.fill("1.1", "1.2", "1.3")

    def slowly(_peer, objects):
        for item in objects:
            clock.advance(0.6 * LIMITS.delivery_lease_seconds)
            with office.ledger.write() as tx:
                deliveries.release_dead(tx, at=clock.now(), everything=False)
            yield sent(item.sop_instance_uid)

    assert Courier(office.ledger, office.spool, slowly, LIMITS).deliver(PACS) == 3
    assert set(office.states().values()) == {DeliveryState.ACCEPTED}


def test_a_batch_is_bounded_in_bytes_and_one_object_always_goes(office: Office):
    office.fill("1.1", "1.2", "1.3")
    for bytes_max, objects in ((2 * len(b"object 1.1"), 2), (1, 1)):
        limits = Limits(delivery_batch_bytes_max=bytes_max)
        Courier(office.ledger, office.spool, office._send, limits).deliver(PACS)
        assert len(office.batches.pop()) == objects


def test_what_waits_for_a_peer_that_is_gone_is_for_a_person_to_settle(office: Office):
    office.fill("1.1")
    assert office.courier.give_up("pacs") == 1
    assert (office.only().state, office.only().word) == (DeliveryState.DEAD, "courier.unknown_peer")
    with office.ledger.read() as tx:
        assert deliveries.peers_due(tx, at=office.ledger.clock.now()) == []


def test_nothing_of_a_held_study_is_sent_until_it_is_released(office: Office, clock: HeldClock):
    office.fill("1.1")
    with office.ledger.write() as tx:
        study = studies.find(tx, "1.9")
        assert study is not None
        assert studies.hold(tx, study, reason="two patients", at=clock.now())
        assert deliveries.peers_due(tx, at=clock.now()) == []
    assert office.courier.deliver(PACS) == 0
    assert office.batches == []
    with office.ledger.write() as tx:
        arrivals.add(tx, making.instance(9, study="1.9"), calling_ae="PACS", at=clock.now())
    assert office.courier.deliver(PACS) == 0
    with office.ledger.write() as tx:
        study = studies.find(tx, "1.9")
        assert study is not None
        assert studies.hold(tx, study, reason="two patients", at=clock.now())
        assert studies.release(tx, "1.9", at=clock.now())
    assert office.courier.deliver(PACS) == 0
    with office.ledger.write() as tx:
        study = studies.find(tx, "1.9")
        assert study is not None
        assert studies.ready(tx, study, content_digest="c", instance_count=2, reason="quiet", at=clock.now())
    assert office.courier.deliver(PACS) == 1


def test_bytes_that_changed_on_disk_are_never_sent(office: Office):
    office.fill("1.1")
    (name,) = office.spool.names()
    path = office.spool.root / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert office.courier.deliver(PACS) == 0
    assert office.batches == []
    assert (office.only().state, office.only().word) == (DeliveryState.DEAD, "disk.digest_mismatch")


def test_a_courier_that_died_while_sending_leaves_nothing_stuck(office: Office, clock: HeldClock):
    office.fill("1.1")
    with office.ledger.write() as tx:
        deliveries.take(tx, "pacs", at=clock.now(), limits=LIMITS)
    assert office.courier.deliver(PACS) == 0
    with office.ledger.write() as tx:
        assert deliveries.release_dead(tx, at=clock.now(), everything=True) == 1
    assert office.courier.deliver(PACS) == 1


def test_an_answer_about_something_else_settles_nothing(office: Office):
    office.fill("1.1")
    office.answers["1.1"] = sent("6.6.6")
    office.courier.deliver(PACS)
    assert office.only().state is DeliveryState.SENDING


NO_CONTEXT = "courier.no_context"


def outputs_of(office: Office) -> dict[str, deliveries.Delivery]:
    with office.ledger.read() as tx:
        return {d.output: d for d in deliveries.of_study(tx, "1.9")}


def test_what_a_peer_takes_no_context_for_is_replaced_at_once(office: Office):
    office.fill("1.1", "1.2", kinds={"1.1": "seg", "1.2": "gsps"}, send_to=["seg"])
    office.answers["1.1"] = sent("1.1", "refused", None, NO_CONTEXT)
    assert office.courier.deliver(PACS) == 0
    rows = outputs_of(office)
    assert (rows["seg"].state, rows["seg"].settled_by) == (DeliveryState.SETTLED, "fallback")
    assert (rows["gsps"].state, rows["gsps"].instead_of) == (DeliveryState.PENDING, "seg")
    assert office.courier.deliver(PACS) == 1
    assert office.batches == [[b"object 1.1"], [b"object 1.2"]]


def test_what_a_peer_refuses_by_status_is_not_replaced(office: Office):
    office.fill("1.1", "1.2", kinds={"1.1": "seg", "1.2": "gsps"}, send_to=["seg"])
    office.answers["1.1"] = sent("1.1", "refused", 0xC000, "courier.refused")
    office.courier.deliver(PACS)
    assert set(outputs_of(office)) == {"seg"}, "this object was refused, not its kind"


def test_without_anything_that_stands_in_a_person_must_look(office: Office, clock: HeldClock):
    office.fill("1.1", kinds={"1.1": "seg"}, send_to=["seg"])
    office.answers["1.1"] = sent("1.1", "refused", None, NO_CONTEXT)
    for _ in range(LIMITS.refusals_max):
        office.courier.deliver(PACS)
        clock.advance(3600)
    assert (office.only().state, office.only().word) == (DeliveryState.DEAD, NO_CONTEXT)
    with office.ledger.read() as tx:
        said = acceptances.answer_of(tx, "pacs")
    assert said.takes_output("seg") is False
