"""What a peer has to commit: asked, answered, lost and silent, on both databases."""

from __future__ import annotations

import pytest

from appliance.core.limits import Limits
from appliance.core.words import DeliveryState, StudyState
from appliance.ledger import commitments, counts, custody, deliveries, events, results
from appliance.ledger.commitments import BY_NEWER
from appliance.ledger.engine import Ledger
from tests.appliance.ledger import given

LIMITS = Limits(commitment_losses_max=2, commitment_asks_max=3, refusals_max=2)
NOW = given.NOW


def accepted(ledger: Ledger, peer: str = "pacs", *, at: float = NOW, wanted: bool = True) -> list[int]:
    """What is due at a peer went there, and has to be committed."""
    parcels = given.parcels(ledger, peer, at=at)
    with ledger.write() as tx:
        for parcel in parcels:
            assert deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=at)
            if wanted:
                commitments.want(tx, parcel.id, peer, due_at=at + 5)
    return [parcel.id for parcel in parcels]


def due(ledger: Ledger, *, at: float = NOW + 5) -> list[commitments.Wanted]:
    with ledger.read() as tx:
        return commitments.due(tx, "pacs", at=at, limit=200)


def asked(ledger: Ledger, uid: str = "2.25.1", *, at: float = NOW + 5) -> int:
    with ledger.write() as tx:
        wanted = commitments.due(tx, "pacs", at=at, limit=200)
        assert wanted
        return commitments.ask(tx, "pacs", uid, wanted, at=at, until=at + 600)


def told(
    ledger: Ledger,
    *,
    uid: str = "2.25.1",
    peer: str = "pacs",
    committed: set[str] | None = None,
    failed: dict[str, int] | None = None,
    at: float = NOW + 6,
) -> bool:
    with ledger.write() as tx:
        return commitments.reported(
            tx, peer, uid, committed=committed or set(), failed=failed or {}, at=at, limits=LIMITS
        )


def rows(ledger: Ledger) -> dict[str, deliveries.Delivery]:
    with ledger.read() as tx:
        found = deliveries.of_study(tx, given.STUDY)
        assert counts.count(tx).balance == 0
    return {one.output: one for one in found if one.peer == "pacs"}


def object_uids(job_id: int) -> dict[str, str]:
    return {output: given.result_object(job_id, output).sop_instance_uid for output in ("sr", "sc")}


def words(ledger: Ledger) -> list[str]:
    with ledger.read() as tx:
        return [e.word for e in events.of_study(tx, given.STUDY) if e.word.startswith("confirm.")]


def test_a_result_is_asked_about_once_all_of_it_is_there(ledger: Ledger) -> None:
    given.ended(ledger)
    first, second = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.accepted(tx, first, status=0, word="courier.accepted", at=NOW)
        commitments.want(tx, first.id, "pacs", due_at=NOW)
    assert due(ledger) == []
    with ledger.write() as tx:
        deliveries.accepted(tx, second, status=0, word="courier.accepted", at=NOW)
        commitments.want(tx, second.id, "pacs", due_at=NOW)
    assert [one.delivery_id for one in due(ledger)] == [first.id, second.id]
    with ledger.read() as tx:
        assert commitments.due(tx, "archive", at=NOW + 99, limit=9) == []


def test_an_object_that_is_dead_keeps_the_others_from_nothing(ledger: Ledger) -> None:
    given.ended(ledger)
    first, second = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.dead(tx, first, status=0x0122, word="courier.refused", at=NOW)
        deliveries.accepted(tx, second, status=0, word="courier.accepted", at=NOW)
        commitments.want(tx, second.id, "pacs", due_at=NOW)
    assert [one.delivery_id for one in due(ledger)] == [second.id]


def test_what_the_peer_commits_is_committed_and_the_study_can_close(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger, "archive", wanted=False)
    accepted(ledger)
    with ledger.write() as tx:
        assert custody.close_finished(tx) == 0, "the images wait for the answer too"
    asked(ledger)
    assert due(ledger, at=NOW + 99) == [], "one open request at a time"
    assert told(ledger, committed=set(uids.values()))
    found = rows(ledger)
    assert {row.state for row in found.values()} == {DeliveryState.COMMITTED}
    assert {row.status for row in found.values()} == {0}, "what it said to the store stays"
    assert words(ledger) == ["confirm.committed"] * 2
    with ledger.write() as tx:
        assert custody.close_finished(tx) == 1
        assert given.study(tx).state is StudyState.CLOSED
        assert commitments.standing(tx) == {}


def test_a_rejection_note_waits_until_what_stands_in_its_place_is_committed(ledger: Ledger) -> None:
    (job_id,) = given.a_job(ledger)
    send_to = {"pacs": ("sr", "iocm")}
    with ledger.write() as tx:
        ended = given.ending(job_id, outputs=("sr", "iocm"), send_to=send_to)
        assert results.end(tx, given.leased(tx, job_id), ended, at=NOW)
    accepted(ledger)
    assert rows(ledger)["iocm"].state is DeliveryState.PENDING
    report = given.result_object(job_id, "sr").sop_instance_uid
    for number in (1, 2):
        assert given.parcels(ledger, at=NOW + 99) == [], "the former result stays until the new one is safe"
        asked(ledger, f"2.25.{number}", at=NOW + 199)
        if number == 1:
            told(ledger, failed={report: 0x0112})
            assert [parcel.item.output for parcel in given.parcels(ledger, at=NOW + 99)] == ["sr"]
            with ledger.write() as tx:
                deliveries.release_dead(tx, at=NOW + 99, everything=True)
            accepted(ledger, at=NOW + 99)
    assert told(ledger, uid="2.25.2", committed={report})
    assert [parcel.item.output for parcel in given.parcels(ledger, at=NOW + 199)] == ["iocm"]


def test_what_the_peer_lost_is_sent_again_and_then_a_person_must_look(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    asked(ledger)
    assert told(ledger, committed={uids["sc"]}, failed={uids["sr"]: 0x0112})
    found = rows(ledger)
    assert found["sc"].state is DeliveryState.COMMITTED
    lost = found["sr"]
    assert (lost.state, lost.word, lost.status) == (DeliveryState.LATER, "confirm.missing", 0x0112)
    assert accepted(ledger, at=NOW + 7) == [lost.id], "the same object goes once more"
    asked(ledger, "2.25.2", at=NOW + 99)
    assert told(ledger, uid="2.25.2", failed={uids["sr"]: 0x0112})
    lost = rows(ledger)["sr"]
    assert (lost.state, lost.word, lost.status) == (DeliveryState.DEAD, "confirm.lost", 0x0112)
    with ledger.write() as tx:
        assert deliveries.settle(tx, [lost.id], by="jo", send_again=True, at=NOW + 200) == 1
    accepted(ledger, at=NOW + 200)
    asked(ledger, "2.25.3", at=NOW + 300)
    told(ledger, uid="2.25.3", failed={uids["sr"]: 0x0112})
    assert rows(ledger)["sr"].state is DeliveryState.LATER, "a person's word begins the count anew"


def test_what_was_replaced_at_the_peer_is_not_sent_behind_it(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    asked(ledger)
    with ledger.write() as tx:
        given.kept(tx, 9, at=NOW + 1)
        (newer,) = given.decided(tx, at=NOW + 1)
        assert results.end(tx, given.leased(tx, newer, at=NOW + 1), given.ending(newer), at=NOW + 1)
    accepted(ledger, at=NOW + 2, wanted=False)
    told(ledger, failed={uids["sr"]: 0x0112, uids["sc"]: 0x0112})
    with ledger.read() as tx:
        old = [d for d in deliveries.of_study(tx, given.STUDY) if d.word == "confirm.replaced"]
    assert [(d.state, d.settled_by) for d in old] == [(DeliveryState.SETTLED, BY_NEWER)] * 2


@pytest.mark.parametrize("reason", [0x0131, 0x0213])
def test_a_reason_that_says_nothing_of_the_object_is_asked_again(ledger: Ledger, reason: int) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    asked(ledger)
    told(ledger, failed=dict.fromkeys(uids.values(), reason))
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.ACCEPTED}
    assert len(due(ledger, at=NOW + 99)) == 2


def test_an_answer_to_a_request_that_was_never_made_is_foreign(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    asked(ledger)
    assert not told(ledger, uid="2.25.99", committed=set(uids.values()))
    assert not told(ledger, peer="archive", committed=set(uids.values())), "another peer's request"
    assert told(ledger, committed={"9.9.9"}, failed={"8.8.8": 0x0112}), "about nothing that was asked"
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.ACCEPTED}


def test_silence_is_asked_again_and_ends_with_a_person_and_a_late_answer_still_counts(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    at = NOW + 5
    for number in range(1, 4):
        asked(ledger, f"2.25.{number}", at=at)
        at += 600
        with ledger.write() as tx:
            assert commitments.expire(tx, "pacs", at=at - 1, limits=LIMITS) == 0
            assert commitments.expire(tx, "pacs", at=at, limits=LIMITS) == 2
        at += LIMITS.commitment_settle_seconds
    assert {(r.state, r.word) for r in rows(ledger).values()} == {(DeliveryState.DEAD, "confirm.silent")}
    told(ledger, uid="2.25.1", failed={uids["sr"]: 0x0112}, committed={uids["sc"]}, at=at)
    found = rows(ledger)
    assert (found["sr"].state, found["sc"].state) == (DeliveryState.DEAD, DeliveryState.COMMITTED)


def test_a_late_answer_counts_after_a_person_ended_it_too(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    at = NOW + 5
    for number in range(1, 4):
        asked(ledger, f"2.25.{number}", at=at)
        at += 600
        with ledger.write() as tx:
            assert commitments.expire(tx, "pacs", at=at, limits=LIMITS) == 2
        at += LIMITS.commitment_settle_seconds
    with ledger.write() as tx:
        dead = [row.id for row in deliveries.of_study(tx, given.STUDY) if row.peer == "pacs"]
        assert deliveries.settle(tx, dead, by="alice", send_again=False, at=at) == 2
    told(ledger, uid="2.25.3", failed={uids["sr"]: 0x0112}, committed={uids["sc"]}, at=at)
    found = rows(ledger)
    assert (found["sr"].state, found["sc"].state) == (DeliveryState.SETTLED, DeliveryState.COMMITTED)


def test_a_failure_that_an_older_request_met_says_nothing(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    asked(ledger)
    with ledger.write() as tx:
        commitments.expire(tx, "pacs", at=NOW + 605, limits=LIMITS)
    asked(ledger, "2.25.2", at=NOW + 700)
    told(ledger, failed=dict.fromkeys(uids.values(), 0x0112), at=NOW + 701)
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.ACCEPTED}
    told(ledger, committed=set(uids.values()), at=NOW + 702)
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.COMMITTED}


def test_what_was_lost_since_is_not_committed_by_an_older_answer(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    asked(ledger)
    with ledger.write() as tx:
        commitments.expire(tx, "pacs", at=NOW + 605, limits=LIMITS)
    asked(ledger, "2.25.2", at=NOW + 700)
    told(ledger, uid="2.25.2", failed=dict.fromkeys(uids.values(), 0x0112), at=NOW + 701)
    accepted(ledger, at=NOW + 702)
    told(ledger, uid="2.25.1", committed=set(uids.values()), at=NOW + 703)
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.ACCEPTED}
    asked(ledger, "2.25.3", at=NOW + 710)
    told(ledger, uid="2.25.3", committed=set(uids.values()), at=NOW + 711)
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.COMMITTED}


@pytest.mark.parametrize("refused", [True, False])
def test_a_request_that_is_not_taken_is_made_again(ledger: Ledger, refused: bool) -> None:
    given.ended(ledger)
    accepted(ledger)
    at = NOW + 5
    for number in range(1, 4):
        if not due(ledger, at=at):
            break
        commitment_id = asked(ledger, f"2.25.{number}", at=at)
        word = "confirm.refused" if refused else "confirm.unreachable"
        with ledger.write() as tx:
            commitments.not_taken(
                tx, commitment_id, word=word, at=at, due_at=at + 9, refused=refused, limits=LIMITS
            )
        at += 9
    states = {row.state for row in rows(ledger).values()}
    assert states == {DeliveryState.DEAD if refused else DeliveryState.ACCEPTED}


def test_a_report_that_comes_before_the_answer_is_not_undone_by_it(ledger: Ledger) -> None:
    uids = object_uids(given.ended(ledger).id)
    accepted(ledger)
    commitment_id = asked(ledger)
    told(ledger, committed=set(uids.values()))
    with ledger.write() as tx:
        commitments.taken(tx, commitment_id, until=NOW + 999)
        commitments.not_taken(
            tx, commitment_id, word="confirm.no_reply", at=NOW, due_at=NOW, refused=True, limits=LIMITS
        )
        assert commitments.standing(tx) == {}
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.COMMITTED}


def test_how_the_box_stands_and_a_peer_that_need_not_commit_any_more(ledger: Ledger) -> None:
    given.ended(ledger)
    accepted(ledger)
    with ledger.read() as tx:
        assert commitments.standing(tx) == {"pacs": commitments.Standing(to_ask=2, asked=0, oldest_at=NOW)}
    asked(ledger)
    with ledger.write() as tx:
        assert commitments.standing(tx) == {"pacs": commitments.Standing(to_ask=0, asked=2, oldest_at=NOW)}
        assert commitments.unwant(tx, ["pacs"], at=NOW) == 0
        assert commitments.unwant(tx, [], at=NOW) == 2
        assert commitments.standing(tx) == {}
    assert {row.state for row in rows(ledger).values()} == {DeliveryState.ACCEPTED}
