"""How an earlier study stands as something to compare with, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from appliance.core.words import JobState, Outcome, Verdict
from appliance.ledger import comparable, counts, decisions, jobs, priors, results
from appliance.ledger.comparable import Standing
from appliance.ledger.priors import Prior, PriorState
from appliance.ledger.tables import objects, studies
from tests.appliance.ledger import given

PRIOR = Prior(
    id=1,
    ask_id=1,
    study_uid=given.STUDY,
    peer=None,
    only=False,
    state=PriorState.WAITED,
    word=None,
    result_id=None,
    chosen_at=given.NOW + 50,
    ended_at=None,
)


def ended(tx, job_id, outcome=Outcome.MEASURED, *, at=given.NOW + 1):
    """Bring a job to its end; return its result's id."""
    job = given.leased(tx, job_id, at=at)
    assert results.end(tx, job, given.ending(job_id, outcome=outcome, send_to={}), at=at)
    result = results.find_of_job(tx, job_id)
    assert result is not None
    return result.id


def asked_by(tx, job_id) -> jobs.Job:
    """Return a job of another study, of the same route and model."""
    job = jobs.find(tx, job_id)
    assert job is not None
    return replace(job, id=99, study_uid="1.2.77")


def test_the_newest_answer_is_taken_and_one_of_the_same_version_first(ledger):
    (first,) = given.a_job(ledger)
    with ledger.write() as tx:
        old = ended(tx, first)
        wanted = asked_by(tx, first)
        assert comparable.result_of(tx, given.STUDY, wanted) == old
        content = given.content_digest(tx)
        other = jobs.open_job(
            tx, given.work(content, model_digest="sha256:22", model_version="2.0.0"), at=given.NOW
        )
        new = ended(tx, other)
        # It took the place of the old one, whichever version asks.
        assert comparable.result_of(tx, given.STUDY, wanted) == new
        assert comparable.result_of(tx, given.STUDY, replace(wanted, route="other")) is None
        assert comparable.result_of(tx, given.STUDY, replace(wanted, model_name="other")) is None


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.NOT_ELIGIBLE, Outcome.NOT_RUN])
def test_a_notice_is_no_answer(ledger, outcome):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        ended(tx, job_id, outcome)
        assert comparable.result_of(tx, given.STUDY, asked_by(tx, job_id)) is None
        assert comparable.standing(tx, PRIOR, asked_by(tx, job_id)) == Standing(lacking="prior.no_answer")


def test_one_without_its_report_is_none_and_can_be_made_again(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        ended(tx, job_id)
        tx.execute(sa.update(objects).where(objects.c.output == "sr").values(purged_at=given.NOW + 2))
        wanted = asked_by(tx, job_id)
        assert comparable.standing(tx, PRIOR, wanted) == Standing(lacking="prior.no_report")
        work = given.work(given.content_digest(tx), mode=priors.MODE)
        again = replace(given.decision("", uid=given.STUDY), work=work)
        study = given.study(tx)
        assert decisions.record_also(tx, study, again, since=given.NOW + 50, at=given.NOW + 51)
        assert comparable.standing(tx, PRIOR, wanted) == Standing()
        # Asked for once more while it is open, and once it ended: it is the same work.
        assert decisions.record_also(tx, study, again, since=given.NOW + 50, at=given.NOW + 52)
        newest = jobs.of_study(tx, given.STUDY)[-1]
        assert (newest.run, newest.mode, newest.state) == (2, priors.MODE, JobState.WAITING)
        result = ended(tx, newest.id, at=given.NOW + 53)
        assert not decisions.record_also(tx, study, again, since=given.NOW + 50, at=given.NOW + 54)
        assert comparable.standing(tx, PRIOR, wanted) == Standing(result_id=result)


def test_a_route_that_was_not_there_is_asked_afterwards_and_the_books_balance(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        ended(tx, job_id)
        wanted = replace(asked_by(tx, job_id), route="late")
        assert comparable.standing(tx, PRIOR, wanted) == Standing(lacking="prior.not_judged")
        study, content = given.study(tx), given.content_digest(tx)
        made = given.decision(content, route="late", mode=priors.MODE)
        assert decisions.record_also(tx, study, made, since=given.NOW + 50, at=given.NOW + 51)
        assert [d.route for d in decisions.of_study(tx, given.STUDY)] == ["bands", "late"]
        assert counts.count(tx).balance == 0
        none = given.no_match("later")
        assert not decisions.record_also(tx, study, none, since=given.NOW + 50, at=given.NOW + 52)
        assert counts.count(tx).balance == 0
        stands = comparable.standing(tx, PRIOR, replace(wanted, route="later"))
        assert (decisions.of_study(tx, given.STUDY)[-1].verdict, stands) == (
            Verdict.NO_MATCH,
            Standing(lacking="prior.no_match"),
        )


@pytest.mark.parametrize(
    ("state", "stands"),
    [("GATHERING", Standing()), ("READY", Standing()), ("HELD", Standing(lacking="prior.held"))],
)
def test_a_study_that_is_not_decided_is_waited_for_unless_it_is_held(ledger, state, stands):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        wanted = asked_by(tx, job_id)
        tx.execute(sa.update(studies).values(state=state))
        assert comparable.standing(tx, PRIOR, wanted) == stands
        assert comparable.standing(tx, replace(PRIOR, study_uid="1.2.78"), wanted) == Standing(
            lacking="prior.not_here"
        )


def test_one_that_was_never_fetched_is_lacking(ledger):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        stands = comparable.standing(tx, replace(PRIOR, peer="pacs"), asked_by(tx, job_id))
    assert stands == Standing(lacking="prior.not_fetched")
