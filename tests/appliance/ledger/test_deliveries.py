"""Deliveries: taken once, accepted, later, dead, and settled by a person."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from appliance.core.words import DeliveryState
from appliance.ledger import counts, deliveries, events, jobs, results
from tests.appliance.ledger import given

THREAD_SECONDS_MAX = 30


def states(ledger):
    with ledger.read() as tx:
        return {(row.peer, row.output): row.state for row in deliveries.of_study(tx, given.STUDY)}


def row_of(ledger, delivery_id):
    with ledger.read() as tx:
        found = deliveries.find(tx, delivery_id)
    assert found is not None
    return found


def dead_one(ledger):
    """A delivery that the archive will not take."""
    given.ended(ledger)
    (parcel,) = given.parcels(ledger, "archive")
    with ledger.write() as tx:
        deliveries.dead(tx, parcel, status=0x0122, word="courier.refused", at=given.NOW + 1)
    return parcel


def test_what_is_due_at_a_peer_is_taken_whole_and_once(ledger):
    job = given.ended(ledger)
    with ledger.read() as tx:
        assert deliveries.peers_due(tx, at=given.NOW) == ["archive", "pacs"]
        assert deliveries.peers_due(tx, at=given.NOW - 1) == []
    taken = given.parcels(ledger)
    assert [(parcel.item.output, parcel.attempts, parcel.study_uid) for parcel in taken] == [
        ("sr", 1, given.STUDY),
        ("sc", 1, given.STUDY),
    ]
    assert taken[0].item.location == given.result_object(job.id, "sr").location
    assert given.parcels(ledger) == []
    assert states(ledger) == {
        ("pacs", "sr"): DeliveryState.SENDING,
        ("pacs", "sc"): DeliveryState.SENDING,
        ("archive", "sr"): DeliveryState.PENDING,
    }


def test_two_couriers_never_take_the_same_delivery(ledger):
    given.ended(ledger)
    taken: list[int] = []
    both = threading.Barrier(2)

    def take() -> None:
        both.wait(THREAD_SECONDS_MAX)
        taken.extend(parcel.id for parcel in given.parcels(ledger))

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREAD_SECONDS_MAX)
    assert len(taken) == len(set(taken)) == 2


def test_a_courier_that_waited_for_another_gets_nothing(ledger):
    if ledger.dialect == "sqlite":
        pytest.skip("SQLite lets one writer in at a time, so nobody chooses while another takes")
    given.ended(ledger)
    got: list[int] = []
    slow = threading.Thread(target=lambda: got.append(len(given.parcels(ledger))))
    with ledger.write() as tx:
        assert len(deliveries.take(tx, "pacs", at=given.NOW, limits=given.LIMITS)) == 2
        slow.start()
        # It has chosen the same rows by now, or will find them taken; both must come to nothing.
        slow.join(0.5)
    slow.join(THREAD_SECONDS_MAX)
    assert got == [0]


def test_one_association_carries_no_more_than_the_limit(ledger):
    given.ended(ledger)
    limits = type(given.LIMITS)(delivery_batch_max=1)
    with ledger.write() as tx:
        (first,) = deliveries.take(tx, "pacs", at=given.NOW, limits=limits)
        assert first.item.output == "sr"
        assert [p.item.output for p in deliveries.take(tx, "pacs", at=given.NOW, limits=limits)] == ["sc"]


def test_an_accepted_delivery_has_ended(ledger):
    given.ended(ledger)
    parcel, _ = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.accepted(tx, parcel, status=0xB000, word="courier.coerced", at=given.NOW + 3)
        last = events.of_study(tx, given.STUDY)[-1]
    row = row_of(ledger, parcel.id)
    assert (row.state, row.status, row.word, row.settled_at) == (
        DeliveryState.ACCEPTED,
        0xB000,
        "courier.coerced",
        given.NOW + 3,
    )
    assert (last.word, last.detail["delivery"]) == ("courier.coerced", parcel.id)
    assert given.parcels(ledger, at=given.NOW + 1e6) == []


@pytest.mark.parametrize("refused", [True, False])
def test_a_failed_attempt_is_due_again_later(ledger, refused):
    given.ended(ledger)
    parcel, _ = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.later(
            tx,
            parcel,
            status=0xA700,
            word="courier.later",
            at=given.NOW,
            due_at=given.NOW + 60,
            refused=refused,
        )
    assert row_of(ledger, parcel.id).refusals == int(refused)
    assert given.parcels(ledger, at=given.NOW + 59) == []
    (again,) = given.parcels(ledger, at=given.NOW + 60)
    assert (again.id, again.attempts, again.refusals) == (parcel.id, 2, int(refused))


def test_a_dead_delivery_waits_for_a_person(ledger):
    parcel = dead_one(ledger)
    row = row_of(ledger, parcel.id)
    assert (row.state, row.refusals, row.status) == (DeliveryState.DEAD, 1, 0x0122)
    assert given.parcels(ledger, "archive", at=given.NOW + 1e6) == []
    with ledger.read() as tx:
        assert [d.id for d in deliveries.in_state(tx, DeliveryState.DEAD, limit=5)] == [parcel.id]
        assert counts.count(tx).balance == 0


def test_a_person_settles_a_dead_delivery(ledger):
    parcel = dead_one(ledger)
    with ledger.write() as tx:
        assert deliveries.settle(tx, [parcel.id, 999], by="jo", send_again=False, at=given.NOW + 9) == 1
        assert deliveries.settle(tx, [parcel.id], by="jo", send_again=False, at=given.NOW + 9) == 0
        last = events.of_study(tx, given.STUDY)[-1]
    row = row_of(ledger, parcel.id)
    assert (row.state, row.settled_by, row.settled_at) == (DeliveryState.SETTLED, "jo", given.NOW + 9)
    assert (last.word, last.detail["by"]) == ("courier.settled", "jo")


def test_a_person_sends_a_dead_delivery_again(ledger):
    parcel = dead_one(ledger)
    with ledger.write() as tx:
        assert deliveries.settle(tx, [parcel.id], by="jo", send_again=True, at=given.NOW + 9) == 1
    row = row_of(ledger, parcel.id)
    assert (row.state, row.refusals, row.settled_at) == (DeliveryState.PENDING, 0, None)
    (again,) = given.parcels(ledger, "archive", at=given.NOW + 9)
    assert again.attempts == 2


def test_only_dead_deliveries_are_settled(ledger):
    given.ended(ledger)
    parcel, _ = given.parcels(ledger)
    with ledger.write() as tx:
        assert deliveries.settle(tx, [parcel.id], by="jo", send_again=False, at=given.NOW) == 0
    assert row_of(ledger, parcel.id).state is DeliveryState.SENDING


def test_what_a_dead_courier_was_sending_is_sent_again(ledger):
    given.ended(ledger)
    given.parcels(ledger)
    after = given.NOW + given.LIMITS.delivery_lease_seconds
    with ledger.write() as tx:
        assert deliveries.release_dead(tx, at=after, everything=False) == 0
        assert deliveries.release_dead(tx, at=after + 1, everything=False) == 2
    assert len(given.parcels(ledger, at=after + 1)) == 2
    with ledger.write() as tx:
        assert deliveries.release_dead(tx, at=after + 2, everything=True) == 2


@pytest.mark.parametrize("outcome", ["accepted", "later", "dead"])
def test_the_word_of_a_courier_that_was_given_up_is_thrown_away(ledger, outcome):
    given.ended(ledger)
    stale, _ = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.release_dead(tx, at=given.NOW, everything=True)
    current, _ = given.parcels(ledger)
    before = row_of(ledger, stale.id)
    with ledger.write() as tx:
        if outcome == "later":
            deliveries.later(tx, stale, status=None, word="w", at=given.NOW, due_at=given.NOW, refused=False)
        else:
            getattr(deliveries, outcome)(tx, stale, status=0, word="w", at=given.NOW)
    assert row_of(ledger, stale.id) == before
    with ledger.write() as tx:
        deliveries.accepted(tx, current, status=0, word="courier.accepted", at=given.NOW)
    assert row_of(ledger, current.id).state is DeliveryState.ACCEPTED


def replaced(ledger):
    """A study whose result was made anew before the first one reached the PACS."""
    job = given.ended(ledger)
    with ledger.write() as tx:
        former = jobs.find(tx, job.id)
        assert former is not None
        again = given.leased(tx, jobs.again(tx, former, at=given.NOW))
        assert results.end(tx, again, given.ending(again.id, outputs=("sr", "sc", "iocm")), at=given.NOW)
    return job.id, again.id


def test_a_result_goes_after_what_it_replaces_is_settled(ledger):
    """F51: the older one must not arrive last and look like the newer."""
    old, new = replaced(ledger)
    sr, sc = given.parcels(ledger)
    assert [parcel.item.series_uid for parcel in (sr, sc)] == [f"2.25.{old}"] * 2
    with ledger.write() as tx:
        deliveries.accepted(tx, sr, status=0, word="courier.accepted", at=given.NOW)
        deliveries.later(
            tx, sc, status=None, word="courier.later", at=given.NOW, due_at=given.NOW + 60, refused=False
        )
    assert given.parcels(ledger) == []
    (sc,) = given.parcels(ledger, at=given.NOW + 60)
    with ledger.write() as tx:
        deliveries.accepted(tx, sc, status=0, word="courier.accepted", at=given.NOW)
    assert {parcel.item.series_uid for parcel in given.parcels(ledger)} == {f"2.25.{new}"}


def test_a_dead_delivery_holds_up_nothing(ledger):
    _, new = replaced(ledger)
    with ledger.write() as tx:
        for parcel in deliveries.take(tx, "pacs", at=given.NOW, limits=given.LIMITS):
            deliveries.dead(tx, parcel, status=0x0122, word="courier.refused", at=given.NOW)
    assert {parcel.item.series_uid for parcel in given.parcels(ledger)} == {f"2.25.{new}"}


def test_what_a_peer_refuses_for_now_holds_up_no_other_object_of_its_result(ledger):
    given.ended(ledger)
    limits = type(given.LIMITS)(delivery_batch_max=1)
    with ledger.write() as tx:
        (first,) = deliveries.take(tx, "pacs", at=given.NOW, limits=limits)
        deliveries.later(
            tx, first, status=0xA700, word="courier.later", at=given.NOW, due_at=given.NOW + 60, refused=False
        )
        assert [p.item.output for p in deliveries.take(tx, "pacs", at=given.NOW, limits=limits)] == ["sc"]


def test_a_rejection_note_goes_when_all_that_replaces_the_rejected_has_arrived(ledger):
    send_to = {"pacs": ("sr", "iocm")}
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        job = given.leased(tx, job_id)
        ending = given.ending(job_id, outputs=("sr", "iocm"), send_to=send_to)
        assert results.end(tx, job, ending, at=given.NOW)
    (sr,) = given.parcels(ledger)
    assert sr.item.output == "sr"
    assert given.parcels(ledger) == []
    with ledger.write() as tx:
        deliveries.accepted(tx, sr, status=0, word="courier.accepted", at=given.NOW)
    assert [parcel.item.output for parcel in given.parcels(ledger)] == ["iocm"]


def second_result(ledger, *, outputs=("sr", "sc"), send_to=None, at=given.NOW + 1):
    """A later result of the same study, with objects of its own for pacs."""
    with ledger.write() as tx:
        given.kept(tx, 7, at=at)
        (job_id,) = given.decided(tx, at=at)
        job = given.leased(tx, job_id, at=at)
        send_to = {"pacs": outputs} if send_to is None else send_to
        made = [replace(given.result_object(job_id, "sr"), output=output) for output in outputs]
        made = [replace(item, sop_instance_uid=f"2.25.{job_id}.9{n}") for n, item in enumerate(made)]
        assert results.end(tx, job, replace(given.ending(job_id, send_to=send_to), objects=made), at=at)
    return job


def later(ledger, parcel, *, due_at):
    with ledger.write() as tx:
        deliveries.later(
            tx, parcel, status=None, word="courier.later", at=given.NOW, due_at=due_at, refused=False
        )


def test_what_is_being_sent_holds_back_what_is_newer(ledger):
    given.ended(ledger)
    given.parcels(ledger)
    second_result(ledger)
    assert given.parcels(ledger, at=given.NOW + 50) == []


def test_a_peer_or_a_study_that_waits_holds_no_other_back(ledger):
    given.ended(ledger)
    first, _ = given.parcels(ledger)
    later(ledger, first, due_at=given.NOW + 100)
    assert [parcel.item.output for parcel in given.parcels(ledger, "archive")] == ["sr"]
    other = "1.2.9"
    with ledger.write() as tx:
        given.kept(tx, 1, study=other, series=f"{other}.1")
        (job_id,) = given.decided(tx, other)
        assert results.end(tx, given.leased(tx, job_id), given.ending(job_id), at=given.NOW)
    assert {parcel.study_uid for parcel in given.parcels(ledger, at=given.NOW + 50)} == {other}


def test_a_rejection_note_never_goes_before_the_new_result_has_arrived(ledger):
    given.ended(ledger)
    for parcel in given.parcels(ledger):
        with ledger.write() as tx:
            deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
    second_result(ledger, outputs=("sr", "iocm"))
    (report,) = given.parcels(ledger, at=given.NOW + 1)
    with ledger.write() as tx:
        deliveries.dead(tx, report, status=0xC000, word="courier.refused", at=given.NOW)
    assert given.parcels(ledger, at=given.NOW + 1e6) == [], "the old result still stands for the reader"
    with ledger.write() as tx:
        deliveries.settle(tx, [report.id], by="jo", send_again=False, at=given.NOW)
    assert [p.item.output for p in given.parcels(ledger, at=given.NOW + 1e6)] == ["iocm"]


def test_the_courier_finds_what_is_due_by_index(ledger):
    if ledger.dialect != "sqlite":
        pytest.skip("PostgreSQL reads a small table whole, whatever its indices")
    query = deliveries._due("pacs", given.NOW).limit(200)
    text = str(query.compile(ledger._engine, compile_kwargs={"literal_binds": True}))
    with ledger.read() as tx:
        plan = [row[-1] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert plan[0] == "SEARCH deliveries USING COVERING INDEX ix_deliveries_unsettled (peer=?)"
    assert not [line for line in plan if line.startswith("SCAN")], plan
