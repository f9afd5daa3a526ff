"""Earlier studies that a job waits for: the wait ends, and what stands then stays; on both databases."""

from __future__ import annotations

import pytest

from appliance.core.words import JobState
from appliance.ledger import events, fetches, jobs, missing, priors, reading
from appliance.ledger.priors import Answer, Choice, PriorState
from tests.appliance.ledger import given

EARLIER = "1.2.9"
ANSWER = Answer(found=3, fitting=2, silent=0)
FETCHED = Choice(study_uid=EARLIER, peer="pacs", only=True)


@pytest.fixture
def waiting(ledger) -> int:
    """A job that waits for 300 s."""
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        assert priors.open_ask(
            tx, job_id, study_uid=given.STUDY, route="bands", wait_seconds=300.0, at=given.NOW
        )
    return job_id


def due(ledger, seconds):
    with ledger.read() as tx:
        return jobs.due(tx, at=given.NOW + seconds, limit=9)


def chosen(ledger, job_id, *choices, at=given.NOW + 1):
    with ledger.write() as tx:
        (ask,) = priors.unanswered(tx, at=at)
        assert ask.job_id == job_id
        assert priors.choose(tx, ask, choices, ANSWER, at=at)


def rows(ledger, job_id):
    with ledger.read() as tx:
        ask = priors.of_job(tx, job_id)
        assert ask is not None
        return ask, priors.of_ask(tx, ask.id)


def test_a_job_waits_no_longer_than_its_time_whatever_happens(ledger, waiting):
    assert due(ledger, 299.0) == []
    assert due(ledger, 300.0) == [waiting]


def test_a_job_that_waits_for_studies_does_not_wait_for_a_worker(ledger, waiting):
    with ledger.write() as tx:
        assert reading.oldest_waiting_job_at(tx) is None
        priors.close(tx, waiting, at=given.NOW + 5)
        assert reading.oldest_waiting_job_at(tx) == given.NOW


def test_a_job_that_somebody_took_does_not_begin_to_wait(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        given.leased(tx, job_id)
        named = {"study_uid": given.STUDY, "route": "bands"}
        assert not priors.open_ask(tx, job_id, **named, wait_seconds=300.0, at=given.NOW)
        assert priors.of_job(tx, job_id) is None


def test_it_is_asked_once_and_what_is_not_here_is_fetched(ledger, waiting):
    chosen(ledger, waiting, FETCHED, Choice(study_uid="1.2.8", peer=None, only=False))
    ask, (first, second) = rows(ledger, waiting)
    assert (ask.found, ask.fitting, ask.silent, ask.ended_at) == (3, 2, 0, None)
    assert [(one.study_uid, one.state) for one in (first, second)] == [
        (EARLIER, PriorState.WAITED),
        ("1.2.8", PriorState.WAITED),
    ]
    with ledger.write() as tx:
        assert priors.unanswered(tx, at=given.NOW + 99) == []
        assert not priors.choose(tx, ask, [FETCHED], ANSWER, at=given.NOW + 2)
        (fetch,) = fetches.of_study(tx, EARLIER)
        assert (fetch.peer, fetch.asked_by) == ("pacs", fetches.TO_COMPARE)
        assert fetches.of_study(tx, "1.2.8") == []


def test_the_wait_ends_early_and_what_stands_then_stays(ledger, waiting):
    chosen(ledger, waiting, FETCHED, Choice(study_uid="1.2.8", peer="pacs", only=True))
    ask, (first, second) = rows(ledger, waiting)
    with ledger.write() as tx:
        priors.lack(tx, first, "prior.not_fetched", at=given.NOW + 20)
        assert priors.end(tx, ask, priors.DONE, at=given.NOW + 21)
        # Too late: the job may be at work with what stands.
        priors.lack(tx, second, "prior.held", at=given.NOW + 22)
        assert not priors.end(tx, ask, priors.LATE, at=given.NOW + 23)
    assert due(ledger, 21.0) == [waiting]
    _, settled = rows(ledger, waiting)
    assert [one.word for one in settled] == ["prior.not_fetched", "priors.done"]
    with ledger.read() as tx:
        told = [e for e in events.of_study(tx, given.STUDY) if e.word == "priors.ended"]
    assert [e.detail["used"] for e in told] == [0]


def test_a_job_that_begins_ends_the_wait(ledger, waiting):
    chosen(ledger, waiting, FETCHED)
    with ledger.write() as tx:
        given.leased(tx, waiting, at=given.NOW + 300)
        priors.close(tx, waiting, at=given.NOW + 300)
        priors.close(tx, waiting, at=given.NOW + 301)
    ask, (late,) = rows(ledger, waiting)
    assert (ask.word, ask.ended_at) == (priors.LATE, given.NOW + 300)
    assert (late.state, late.word) == (PriorState.LACKING, priors.LATE)


def test_nobody_answered_is_asked_again_and_remembered(ledger, waiting):
    with ledger.write() as tx:
        (ask,) = priors.unanswered(tx, at=given.NOW)
        priors.put_off(tx, ask, word="priors.no_answer", silent=2, due_at=given.NOW + 30)
        assert priors.unanswered(tx, at=given.NOW + 29) == []
        assert len(priors.unanswered(tx, at=given.NOW + 30)) == 1
        priors.close(tx, waiting, at=given.NOW + 300)
    ask, _ = rows(ledger, waiting)
    assert (ask.word, ask.silent) == ("priors.no_answer", 2)


def test_work_that_is_done_again_waits_again(ledger, waiting):
    with ledger.write() as tx:
        job = given.leased(tx, waiting, at=given.NOW + 300)
        priors.close(tx, waiting, at=given.NOW + 300)
        jobs.finish(tx, job, JobState.FAILED, word="job.failed", reason="", at=given.NOW + 301)
        found = jobs.find(tx, waiting)
        assert found is not None
        again = jobs.again(tx, found, at=given.NOW + 400)
        ask = priors.of_job(tx, again)
    assert ask is not None
    assert (ask.until_at, ask.ended_at) == (given.NOW + 700, None)
    assert due(ledger, 699.0) == []


@pytest.mark.parametrize(("state", "mode"), [(JobState.DONE, "release"), (JobState.FAILED, "prior")])
def test_a_person_who_wants_a_prior_once_more_wants_it_for_itself_unless_it_failed(ledger, state, mode):
    with ledger.write() as tx:
        given.kept(tx, 1)
        ready = given.ready(tx)
        assert ready.content_digest is not None
        job_id = jobs.open_job(tx, given.work(ready.content_digest, mode=priors.MODE), at=given.NOW)
        jobs.finish(tx, given.leased(tx, job_id), state, word="job.done", reason=None, at=given.NOW)
        found = jobs.find(tx, job_id)
        assert found is not None
        new = jobs.find(tx, jobs.again(tx, found, at=given.NOW))
    assert new is not None
    assert new.mode == mode


class TestWhyAStudyIsHere:
    """For comparison alone, or for itself."""

    def sought(self, ledger, last_at):
        with ledger.read() as tx:
            return priors.sought_by(tx, EARLIER, last_at=last_at)

    def test_it_was_fetched_for_that(self, ledger, waiting):
        assert self.sought(ledger, given.NOW + 9) == frozenset()
        chosen(ledger, waiting, FETCHED)
        assert self.sought(ledger, given.NOW + 9) == {"bands"}

    def test_one_that_may_come_by_itself_is_here_for_itself(self, ledger, waiting):
        chosen(ledger, waiting, Choice(study_uid=EARLIER, peer="pacs", only=False))
        assert self.sought(ledger, given.NOW + 9) == frozenset()

    def test_what_comes_after_the_fetch_was_not_asked_for(self, ledger, waiting):
        chosen(ledger, waiting, FETCHED)
        with ledger.write() as tx:
            (row,) = fetches.of_study(tx, EARLIER)
            state = fetches.FetchState.FETCHED
            fetches.end(tx, row, state, word="fetch.whole", absent=0, at=given.NOW + 20)
        assert self.sought(ledger, given.NOW + 19) == {"bands"}
        assert self.sought(ledger, given.NOW + 21) == frozenset()

    @pytest.mark.parametrize("peer", ["pacs", "other"])
    def test_somebody_else_wants_it_too(self, ledger, waiting, peer):
        chosen(ledger, waiting, FETCHED)
        with ledger.write() as tx:
            fetches.ask(tx, EARLIER, peer, by="ann", at=given.NOW)
        assert self.sought(ledger, given.NOW + 9) == frozenset()

    def test_it_should_have_been_here(self, ledger, waiting):
        chosen(ledger, waiting, FETCHED)
        with ledger.write() as tx:
            missing.note(tx, "pacs", EARLIER, absent=3, at=given.NOW, due_at=given.NOW + 900)
        assert self.sought(ledger, given.NOW + 9) == frozenset()
