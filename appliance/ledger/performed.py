"""What came of a study for somebody who asked for it: how far it is, what it came to, where the results are.

Promises: a study counts as ended when nothing of it is on its way; only a real inference that arrived
somewhere is an answer (P8).
Never: writes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.core.words import DeliveryState, JobState, Outcome, StudyState, Verdict
from appliance.ledger import decisions, deliveries, jobs, priors, results, studies
from appliance.ledger.engine import Tx
from appliance.ledger.tables import jobs as job_rows
from appliance.ledger.tables import objects as object_rows
from appliance.ledger.tables import results as result_rows
from appliance.ledger.tables import uncommitted
from appliance.ledger.workitems import Placed

_UNENDED = (JobState.WAITING, JobState.LEASED)
_ON_ITS_WAY = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.LATER)
_THERE = (DeliveryState.ACCEPTED, DeliveryState.COMMITTED)
_INFERRED = (Outcome.FINDING, Outcome.NO_FINDING, Outcome.MEASURED, Outcome.ABSTAINED)


class Stage(StrEnum):
    """How far a study is."""

    GATHERING = "gathering"
    # A person has to look at the study first.
    HELD = "held"
    ANALYSING = "analysing"
    DELIVERING = "delivering"
    ENDED = "ended"


class Why(StrEnum):
    """Why there is no answer."""

    # About the request.
    UNREADABLE = "unreadable"
    NO_PEER = "no_peer"
    NOT_THERE = "not_there"
    INCOMPLETE = "incomplete"
    ASKED = "asked"
    # About the study.
    NOTHING = "nothing"
    NO_ROUTE = "no_route"
    NOT_WANTED = "not_wanted"
    OTHER_SERIES = "other_series"
    # About the result.
    NOT_ELIGIBLE = "not_eligible"
    FAILED = "failed"
    NOT_RUN = "not_run"
    UNDELIVERED = "undelivered"


_NO_ANSWER = {
    Outcome.FAILED: Why.FAILED,
    Outcome.NOT_ELIGIBLE: Why.NOT_ELIGIBLE,
    Outcome.NOT_RUN: Why.NOT_RUN,
}


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What came of one study.

    Attributes:
        why: once it has ended: why it gave no answer; None where it gave one.
        unjudged: whether the route was never asked about what the study holds, or left it to another.
        withheld: jobs whose results were sent to nobody, because nobody had asked for the study itself.
        delivered: what peers have of it, an explanation of why there is no answer among it.
    """

    stage: Stage
    why: Why | None = None
    unjudged: bool = False
    withheld: Sequence[int] = ()
    delivered: Sequence[Placed] = ()


def performed(tx: Tx, study_uid: str, *, route: str, series: Collection[str], limits: Limits) -> Performed:
    """Say what came of a study so far.

    Args:
        tx: a transaction.
        study_uid: of the study.
        route: whose answer counts; empty: that of any.
        series: Series Instance UIDs of which one has to be what was analysed; empty: any.
        limits: how often a worker tries to explain a held job.
    """
    study = studies.find(tx, study_uid)
    if study is None:
        return Performed(stage=Stage.ENDED, why=Why.NOTHING)
    if study.state is StudyState.HELD:
        return Performed(stage=Stage.HELD)
    if study.state in (StudyState.GATHERING, StudyState.READY):
        return Performed(stage=Stage.GATHERING)
    asked = [
        decision
        for decision in decisions.of_study(tx, study_uid)
        if decision.content_digest == study.content_digest and route in ("", decision.route)
    ]
    if not asked:
        return Performed(stage=Stage.ENDED, why=Why.NO_ROUTE, unjudged=True)
    if all(decision.verdict is Verdict.NO_MATCH for decision in asked):
        left = any(decision.reason == decisions.ONLY_TO_COMPARE for decision in asked)
        return Performed(stage=Stage.ENDED, why=Why.NOT_WANTED, unjudged=left)
    runs = _runs(jobs.of_study(tx, study_uid), {one.job_id for one in asked})
    wanted = [job for job in runs if not series or job.series_uid in series]
    if not wanted:
        return Performed(stage=Stage.ENDED, why=Why.OTHER_SERIES if runs else Why.NO_ROUTE)
    return _of_jobs(tx, study_uid, wanted, limits)


def performed_by(tx: Tx, sop_instance_uids: Collection[str]) -> list[tuple[str, str]]:
    """Return name and version of the models that made some objects."""
    made = sa.select(job_rows.c.model_name, job_rows.c.model_version)
    made = made.join(result_rows, result_rows.c.job_id == job_rows.c.id)
    made = made.join(object_rows, object_rows.c.result_id == result_rows.c.id)
    query = made.where(object_rows.c.sop_instance_uid.in_(sop_instance_uids)).distinct()
    return [(row[0], row[1]) for row in tx.execute(query.order_by(*query.selected_columns))]


def _runs(every: Sequence[jobs.Job], opened: Collection[int | None]) -> list[jobs.Job]:
    """Return the newest run of each piece of work that was decided; what only runs beside answers nobody."""
    newest = {_work(job): job for job in every}
    return [newest[_work(job)] for job in every if job.id in opened and job.mode != "shadow"]


def _work(job: jobs.Job) -> tuple[str, str, str]:
    return job.route, job.input_digest, job.model_digest


def _of_jobs(tx: Tx, study_uid: str, wanted: Sequence[jobs.Job], limits: Limits) -> Performed:
    made = {job.id: results.find_of_job(tx, job.id) for job in wanted}
    if any(job.state in _UNENDED or _to_explain(job, made[job.id], limits) for job in wanted):
        return Performed(stage=Stage.ANALYSING)
    if withheld := [job.id for job in wanted if job.mode == priors.MODE and job.state is JobState.DONE]:
        return Performed(stage=Stage.ANALYSING, withheld=withheld)
    found = [result for result in made.values() if result is not None]
    objects = {item.id: item for result in found for item in results.objects_of(tx, result.id)}
    sent = [one for one in deliveries.of_study(tx, study_uid) if one.object_id in objects]
    if any(one.state in _ON_ITS_WAY for one in sent) or _to_commit(tx, sent):
        return Performed(stage=Stage.DELIVERING)
    there = [(one.peer, objects[one.object_id]) for one in sent if one.state in _THERE]
    delivered = [
        Placed(study_uid, peer, item.series_uid, item.sop_class_uid, item.sop_instance_uid)
        for peer, item in there
    ]
    why = _why(found, {item.result_id for _, item in there})
    return Performed(stage=Stage.ENDED, why=why, delivered=delivered)


def _to_explain(job: jobs.Job, result: results.Result | None, limits: Limits) -> bool:
    """Say whether a worker may yet write the result that says why a held job did not run (P8)."""
    return job.state is JobState.HELD and result is None and job.notice_attempts < limits.notice_attempts_max


def _to_commit(tx: Tx, sent: Sequence[deliveries.Delivery]) -> bool:
    """Say whether a peer that has to commit what it accepted has yet to do so (F54)."""
    ids = [one.id for one in sent if one.state is DeliveryState.ACCEPTED]
    query = sa.select(uncommitted.c.delivery_id).where(
        uncommitted.c.delivery_id.in_(ids), uncommitted.c.ended_at.is_(None)
    )
    return tx.execute(query.limit(1)).first() is not None


def _why(found: Sequence[results.Result], arrived: Collection[int]) -> Why | None:
    inferred = [result for result in found if result.outcome in _INFERRED]
    if inferred:
        return None if any(result.id in arrived for result in inferred) else Why.UNDELIVERED
    outcomes = {result.outcome for result in found}
    return next((why for outcome, why in _NO_ANSWER.items() if outcome in outcomes), Why.NOT_RUN)
