"""How an earlier study stands as something to compare with: its newest answer of a model on a route.

Never: looks at more than rows; whose study it is is for who reads the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import JobState, Outcome, StudyState, Verdict
from appliance.ledger import decisions, fetches, results, studies
from appliance.ledger.engine import Tx
from appliance.ledger.fetches import FetchState
from appliance.ledger.jobs import Job
from appliance.ledger.priors import Prior
from appliance.ledger.tables import jobs as job_rows
from appliance.ledger.tables import objects
from appliance.ledger.tables import results as result_rows

# What a model said itself; a notice is nothing to compare with.
INFERRED = (Outcome.FINDING, Outcome.NO_FINDING, Outcome.MEASURED, Outcome.ABSTAINED)
# What is quoted from, and says whose it is.
REPORT = "sr"
_MOVING = (StudyState.GATHERING, StudyState.READY)
_OPEN = (JobState.WAITING, JobState.LEASED)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Whether an earlier study has its answer, never will, or is still on its way: then neither is set."""

    result_id: int | None = None
    lacking: str | None = None


_ON_ITS_WAY = Standing()


def result_of(tx: Tx, study_uid: str, job: Job) -> int | None:
    """Return the newest result of an earlier study, of the route and the model of a job, that is an answer.

    Its version may be another than the job's: the same if there is one. Its report is still here.
    """
    kept = sa.exists().where(
        objects.c.result_id == result_rows.c.id, objects.c.output == REPORT, objects.c.purged_at.is_(None)
    )
    query = _answers(study_uid, job).where(kept)
    newest = query.order_by((job_rows.c.model_digest == job.model_digest).desc(), result_rows.c.id.desc())
    found = [row.id for row in tx.execute(newest) if not results.superseded(tx, row.id)]
    return found[0] if found else None


def _answers(study_uid: str, job: Job) -> sa.Select[Any]:
    return (
        sa.select(result_rows.c.id)
        .join(job_rows, job_rows.c.id == result_rows.c.job_id)
        .where(result_rows.c.study_uid == study_uid, result_rows.c.route == job.route)
        .where(job_rows.c.model_name == job.model_name, result_rows.c.outcome.in_(INFERRED))
    )


def standing(tx: Tx, prior: Prior, job: Job) -> Standing:
    """Tell how an earlier study stands that a job waits for."""
    if prior.peer is not None:
        asked = [row for row in fetches.of_study(tx, prior.study_uid) if row.peer == prior.peer]
        if asked and asked[-1].ended_at is None:
            return _ON_ITS_WAY
        if not asked or asked[-1].state is not FetchState.FETCHED:
            return Standing(lacking="prior.not_fetched")
    study = studies.find(tx, prior.study_uid)
    if study is None:
        return Standing(lacking="prior.not_here")
    if study.state in _MOVING:
        return _ON_ITS_WAY
    if study.state is StudyState.HELD:
        return Standing(lacking="prior.held")
    answer = result_of(tx, prior.study_uid, job)
    return Standing(result_id=answer) if answer is not None else _unanswered(tx, study, job)


def _unanswered(tx: Tx, study: studies.Study, job: Job) -> Standing:
    """Tell why a study that was decided has no answer of a route, or that it may have one yet."""
    about = [d for d in decisions.of_study(tx, study.study_uid) if d.content_digest == study.content_digest]
    mine = next((d for d in about if d.route == job.route), None)
    if mine is None or mine.reason == decisions.ONLY_TO_COMPARE:
        return Standing(lacking="prior.not_judged")
    if mine.verdict is Verdict.NO_MATCH:
        return Standing(lacking="prior.no_match")
    open_jobs = sa.select(job_rows.c.id).where(
        job_rows.c.study_uid == study.study_uid,
        job_rows.c.route == job.route,
        job_rows.c.state.in_(_OPEN),
    )
    if tx.execute(open_jobs.limit(1)).first() is not None:
        return _ON_ITS_WAY
    if mine.verdict is Verdict.NOT_ELIGIBLE:
        return Standing(lacking="prior.not_eligible")
    answered = tx.execute(_answers(study.study_uid, job).limit(1)).first() is not None
    return Standing(lacking="prior.no_report" if answered else "prior.no_answer")
