"""Jobs: leases, deaths, stale workers, retries and held work."""

from __future__ import annotations

import threading

import pytest

from appliance.core.words import JobState
from appliance.ledger import arrivals, events, jobs, results
from tests.appliance.ledger import given

THREAD_SECONDS_MAX = 30
LEASE = given.LIMITS.lease_seconds


def job_of(ledger, job_id):
    with ledger.read() as tx:
        found = jobs.find(tx, job_id)
    assert found is not None
    return found


def released(ledger, *, at, owner_name=None):
    with ledger.write() as tx:
        return jobs.release_dead(tx, at=at, limits=given.LIMITS, owner_name=owner_name)


def killed(ledger, job_id, *, times):
    """Let workers lease a job and die of it."""
    for number in range(times):
        at = given.NOW + number * 100
        with ledger.write() as tx:
            given.leased(tx, job_id, owner=f"worker:{number}", at=at)
        assert len(released(ledger, at=at + LEASE + 1)) == 1


def test_a_job_works_on_exactly_the_instances_it_was_opened_for(ledger):
    (job_id,) = given.a_job(ledger, 1, 2)
    with ledger.write() as tx:
        arrivals.add(tx, given.instance(1, content="b"), calling_ae="CT1", at=given.NOW + 1)
        given.kept(tx, 3, at=given.NOW + 2)
        assert jobs.inputs_of(tx, job_id) == [given.instance(1), given.instance(2)]


def test_the_most_urgent_and_then_the_oldest_job_is_due_first(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        asked = [given.work(f"sha256:{n}", route=f"r{n}", priority=p) for n, p in enumerate([5, 9, 5, 1])]
        ids = [jobs.open_job(tx, work, at=given.NOW) for work in asked]
        assert jobs.due(tx, at=given.NOW, limit=10) == [ids[1], ids[0], ids[2], ids[3]]
        assert jobs.due(tx, at=given.NOW, limit=1) == [ids[1]]
        assert jobs.due(tx, at=given.NOW - 1, limit=10) == []


def test_of_two_workers_exactly_one_gets_the_lease(ledger):
    (job_id,) = given.a_job(ledger)
    got: list[jobs.Job | None] = []
    both = threading.Barrier(2)

    def take(owner: str) -> None:
        both.wait(THREAD_SECONDS_MAX)
        with ledger.write() as tx:
            got.append(jobs.lease(tx, job_id, owner=owner, at=given.NOW, seconds=LEASE))

    threads = [threading.Thread(target=take, args=(f"worker:{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREAD_SECONDS_MAX)
    winners = [job for job in got if job is not None]
    assert len(got) == 2
    assert len(winners) == 1
    assert job_of(ledger, job_id) == winners[0]
    assert (winners[0].state, winners[0].attempts, winners[0].lease_until) == (
        JobState.LEASED,
        1,
        given.NOW + LEASE,
    )


def test_a_heartbeat_keeps_the_lease(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        job = given.leased(tx, job_id)
        assert jobs.prolong(tx, job, at=given.NOW + 20, seconds=LEASE)
    assert released(ledger, at=given.NOW + LEASE + 1) == []
    assert len(released(ledger, at=given.NOW + 20 + LEASE + 1)) == 1
    with ledger.write() as tx:
        assert not jobs.prolong(tx, job, at=given.NOW + 60, seconds=LEASE)


def test_an_expired_lease_gives_the_job_to_the_next_worker(ledger):
    (job_id,) = given.a_job(ledger)
    killed(ledger, job_id, times=1)
    job = job_of(ledger, job_id)
    assert (job.state, job.kills, job.attempts, job.owner, job.lease_until) == (
        JobState.WAITING,
        1,
        1,
        None,
        None,
    )
    with ledger.write() as tx:
        assert given.leased(tx, job_id, owner="worker:2", at=given.NOW + 200).attempts == 2


def test_a_restarted_worker_releases_its_own_leases_at_once_and_no_others(ledger):
    ids = given.a_job(ledger, routes=("a", "b", "c"))
    with ledger.write() as tx:
        for job_id, owner in zip(ids, ("worker:1", "worker-2:1", "worker_:1"), strict=True):
            given.leased(tx, job_id, owner=owner)
    assert [job.id for job in released(ledger, at=given.NOW, owner_name="worker")] == ids[:1]
    assert [job.id for job in released(ledger, at=given.NOW, owner_name="worker_")] == ids[2:]


def test_a_job_that_killed_three_workers_is_held(ledger):
    (job_id,) = given.a_job(ledger)
    killed(ledger, job_id, times=2)
    assert job_of(ledger, job_id).state is JobState.WAITING
    killed(ledger, job_id, times=1)
    job = job_of(ledger, job_id)
    assert (job.state, job.kills, job.word) == (JobState.HELD, 3, "job.held")
    assert job.reason == "its worker died 3 times while working on it"
    assert job.finished_at is not None
    with ledger.write() as tx:
        assert jobs.lease(tx, job_id, owner="worker:9", at=given.NOW + 900, seconds=LEASE) is None
        assert jobs.due(tx, at=given.NOW + 900, limit=10) == []
        assert [job.id for job in jobs.in_state(tx, JobState.HELD, limit=10)] == [job_id]


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED])
def test_the_finish_of_a_stale_attempt_is_thrown_away(ledger, state):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        stale = given.leased(tx, job_id)
    released(ledger, at=given.NOW + LEASE + 1)
    with ledger.write() as tx:
        current = given.leased(tx, job_id, owner="worker:1", at=given.NOW + 100)
        assert not jobs.finish(tx, stale, state, word="job.done", reason=None, at=given.NOW)
        assert not jobs.postpone(tx, stale, word="w", reason="r", at=given.NOW, not_before=given.NOW)
        assert not results.end(tx, stale, given.ending(job_id), at=given.NOW)
        assert jobs.find(tx, job_id) == current
        assert results.of_study(tx, given.STUDY) == []
        assert jobs.finish(tx, current, state, word="job.done", reason=None, at=given.NOW + 101)
        assert not jobs.finish(tx, current, state, word="job.done", reason=None, at=given.NOW + 102)
    assert job_of(ledger, job_id).finished_at == given.NOW + 101


def test_a_failure_that_may_pass_waits_its_time(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        job = given.leased(tx, job_id)
        later = given.NOW + 10
        assert jobs.postpone(tx, job, word="job.later", reason="disk busy", at=given.NOW, not_before=later)
        assert jobs.due(tx, at=given.NOW + 9, limit=10) == []
        assert jobs.lease(tx, job_id, owner="worker:2", at=given.NOW + 9, seconds=LEASE) is None
        assert jobs.due(tx, at=later, limit=10) == [job_id]
        found = jobs.find(tx, job_id)
        assert found is not None
        assert (found.state, found.reason, found.kills) == (JobState.WAITING, "disk busy", 0)


def test_a_job_is_made_once_however_often_it_is_asked_for(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        first = jobs.open_job(tx, given.work("sha256:c"), at=given.NOW)
        assert jobs.open_job(tx, given.work("sha256:c"), at=given.NOW + 1) == first
        assert jobs.open_job(tx, given.work("sha256:d"), at=given.NOW) != first
        assert jobs.open_job(tx, given.work("sha256:c", model_digest="sha256:22"), at=given.NOW) != first


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED])
def test_again_makes_a_second_run_of_the_same_work(ledger, state):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        assert results.end(tx, given.leased(tx, job_id), given.ending(job_id, state=state), at=given.NOW)
    former = job_of(ledger, job_id)
    with ledger.write() as tx:
        again = jobs.again(tx, former, at=given.NOW + 50)
        assert jobs.inputs_of(tx, again) == jobs.inputs_of(tx, job_id)
        assert jobs.open_job(tx, given.work(former.input_digest), at=given.NOW + 60) == again
        assert jobs.again(tx, former, at=given.NOW + 70) != again
        runs = [(job.run, job.state) for job in jobs.of_study(tx, given.STUDY)]
        told = [event.detail for event in events.of_study(tx, given.STUDY) if event.word == "job.again"]
    assert runs == [(1, state), (2, JobState.WAITING), (3, JobState.WAITING)]
    assert job_of(ledger, job_id) == former
    assert told[0] == {"job": again, "route": "bands", "former": job_id}


def test_again_is_not_for_work_that_has_not_ended(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx, pytest.raises(AssertionError):
        jobs.again(tx, job_of(ledger, job_id), at=given.NOW)


def test_newer_exists_once_the_same_route_has_other_content(ledger):
    (job_id,) = given.a_job(ledger)
    old = job_of(ledger, job_id)
    with ledger.write() as tx:
        assert not jobs.newer_exists(tx, old)
        jobs.open_job(tx, given.work("sha256:elsewhere", route="lesion"), at=given.NOW)
        assert not jobs.newer_exists(tx, old)
        newer = jobs.open_job(tx, given.work("sha256:more"), at=given.NOW)
        assert jobs.newer_exists(tx, old)
        found = jobs.find(tx, newer)
        assert found is not None
        assert not jobs.newer_exists(tx, found)


def test_a_second_run_is_not_newer_content(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        results.end(tx, given.leased(tx, job_id), given.ending(job_id), at=given.NOW)
    former = job_of(ledger, job_id)
    with ledger.write() as tx:
        jobs.again(tx, former, at=given.NOW)
        assert not jobs.newer_exists(tx, former)


def test_a_held_job_is_claimed_by_one_worker_for_its_notice(ledger):
    (job_id,) = given.a_job(ledger)
    killed(ledger, job_id, times=3)
    at = given.NOW + 1000
    with ledger.write() as tx:
        assert jobs.unexplained(tx, at=at, limits=given.LIMITS) == [job_id]
        claimed = jobs.claim_notice(tx, job_id, owner="worker:7", at=at, limits=given.LIMITS)
        assert claimed is not None
        assert (claimed.state, claimed.notice_attempts) == (JobState.HELD, 1)
        assert jobs.claim_notice(tx, job_id, owner="worker:8", at=at, limits=given.LIMITS) is None
        assert jobs.unexplained(tx, at=at, limits=given.LIMITS) == []
        # The claimer died too: the next one may try.
        assert jobs.unexplained(tx, at=at + LEASE + 1, limits=given.LIMITS) == [job_id]
    with ledger.write() as tx:
        again = jobs.claim_notice(tx, job_id, owner="worker:8", at=at + LEASE + 1, limits=given.LIMITS)
        assert again is not None
        assert results.end(tx, again, given.ending(job_id, state=JobState.HELD), at=at + LEASE + 2)
        # The first claimer comes back late; the job has its result.
        assert not results.end(tx, claimed, given.ending(job_id, state=JobState.HELD), at=at + LEASE + 3)
        assert jobs.unexplained(tx, at=at + 900, limits=given.LIMITS) == []
        assert len(results.of_study(tx, given.STUDY)) == 1
    assert job_of(ledger, job_id).state is JobState.HELD


def test_the_notice_of_a_held_job_is_not_tried_for_ever(ledger):
    (job_id,) = given.a_job(ledger)
    killed(ledger, job_id, times=3)
    for number in range(given.LIMITS.notice_attempts_max):
        at = given.NOW + 1000 * (number + 1)
        with ledger.write() as tx:
            assert jobs.claim_notice(tx, job_id, owner="worker:7", at=at, limits=given.LIMITS) is not None
    with ledger.write() as tx:
        assert jobs.unexplained(tx, at=given.NOW + 1e6, limits=given.LIMITS) == []


def test_a_job_that_is_not_held_has_no_notice_to_claim(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        assert jobs.claim_notice(tx, job_id, owner="worker:7", at=given.NOW, limits=given.LIMITS) is None
        assert jobs.find(tx, 999) is None
