"""Results: an attempt's end, its objects and deliveries in one step, and what supersedes what."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from appliance.core.words import DeliveryState, JobState, Outcome
from appliance.ledger import counts, deliveries, events, jobs, results
from tests.appliance.ledger import given

THREAD_SECONDS_MAX = 30


def test_the_end_of_a_job_is_its_state_result_objects_and_deliveries(ledger):
    job = given.ended(ledger)
    with ledger.read() as tx:
        (result,) = results.of_study(tx, given.STUDY)
        objects = results.objects_of(tx, result.id)
        rows = deliveries.of_study(tx, given.STUDY)
        found = jobs.find(tx, job.id)
        total = counts.count(tx)
        assert results.find(tx, result.id) == results.find_of_job(tx, job.id) == result
        assert events.of_study(tx, given.STUDY)[-1].word == "job.done"
        assert results.find_object(tx, objects[0].id) == objects[0]
    assert found is not None
    assert (found.state, found.lease_until, found.finished_at) == (JobState.DONE, None, given.NOW)
    assert (result.outcome, result.job_id, result.route, result.supersedes_id) == (
        Outcome.MEASURED,
        job.id,
        "bands",
        None,
    )
    assert result.evidence == [["1.2.3.1.1", "sha256:aa"]]
    assert [item.output for item in objects] == ["sr", "sc"]
    assert objects[0].location == given.result_object(job.id, "sr").location
    assert [(row.peer, row.output, row.state) for row in rows] == [
        ("pacs", "sr", DeliveryState.PENDING),
        ("archive", "sr", DeliveryState.PENDING),
        ("pacs", "sc", DeliveryState.PENDING),
    ]
    assert (total.results, total.objects, total.deliveries, total.balance) == (1, 2, {"PENDING": 3}, 0)


def test_a_result_without_objects_has_nothing_to_send(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        ending = given.ending(job_id, outputs=(), outcome=Outcome.NOT_RUN)
        assert results.end(tx, given.leased(tx, job_id), ending, at=given.NOW)
        assert deliveries.of_study(tx, given.STUDY) == []
        assert counts.count(tx).balance == 0


def test_a_shadow_route_keeps_its_objects_and_sends_none(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        assert results.end(tx, given.leased(tx, job_id), given.ending(job_id, send_to={}), at=given.NOW)
        found = counts.count(tx)
    assert (found.objects, found.deliveries, found.balance) == (2, {}, 0)


def test_a_new_result_supersedes_the_newest_one_with_objects(ledger):
    first = given.ended(ledger)
    with ledger.write() as tx:
        given.kept(tx, 4, at=given.NOW + 1)
        (empty_id,) = given.decided(tx)
        job = given.leased(tx, empty_id)
        assert results.end(tx, job, given.ending(empty_id, outputs=()), at=given.NOW + 2)
        given.kept(tx, 5, at=given.NOW + 3)
        (third_id,) = given.decided(tx)
        third = given.leased(tx, third_id)
        former = results.predecessor(tx, third)
        assert former is not None
        assert former.job_id == first.id
        assert results.end(tx, third, given.ending(third_id), at=given.NOW + 4)
        one, two, three = results.of_study(tx, given.STUDY)
        assert (one.supersedes_id, two.supersedes_id, three.supersedes_id) == (None, one.id, one.id)
        assert results.superseded(tx, one.id)
        assert not results.superseded(tx, three.id)


def test_another_route_supersedes_nothing(ledger):
    ids = given.a_job(ledger, routes=("bands", "lesion"))
    with ledger.write() as tx:
        for job_id in ids:
            assert results.end(tx, given.leased(tx, job_id), given.ending(job_id), at=given.NOW)
        assert [r.supersedes_id for r in results.of_study(tx, given.STUDY)] == [None, None]


def test_bytes_under_a_uid_are_recorded_once(ledger):
    ids = given.a_job(ledger, routes=("bands", "lesion"))
    with ledger.write() as tx:
        results.end(tx, given.leased(tx, ids[0]), given.ending(ids[0]), at=given.NOW)
    with pytest.raises(sa.exc.IntegrityError), ledger.write() as tx:
        results.end(tx, given.leased(tx, ids[1]), given.ending(ids[0]), at=given.NOW)
    with ledger.read() as tx:
        job = jobs.find(tx, ids[1])
        assert job is not None
        assert job.state is JobState.WAITING
        assert counts.count(tx).balance == 0


def test_every_file_of_a_result_is_known_with_its_preview(ledger):
    job = given.ended(ledger)
    with ledger.read() as tx:
        assert results.known_files(tx) == {f"out/{job.id}-sr", f"out/{job.id}-sc", f"out/{job.id}.png"}


def test_of_two_ends_of_one_held_job_exactly_one_counts(ledger):
    (job_id,) = given.a_job(ledger)
    for number in range(3):
        with ledger.write() as tx:
            given.leased(tx, job_id, at=given.NOW + number)
            jobs.release_dead(tx, at=given.NOW, limits=given.LIMITS, owner_name="worker")
    with ledger.write() as tx:
        held = jobs.claim_notice(tx, job_id, owner="worker:1", at=given.NOW, limits=given.LIMITS)
    assert held is not None
    counted: list[bool] = []
    both = threading.Barrier(2)

    def end() -> None:
        both.wait(THREAD_SECONDS_MAX)
        with ledger.write() as tx:
            counted.append(results.end(tx, held, given.ending(job_id, state=JobState.HELD), at=given.NOW))

    threads = [threading.Thread(target=end) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREAD_SECONDS_MAX)
    assert sorted(counted) == [False, True]
