"""Decisions: for each content of a study and each active route, one row with its reason (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from appliance.core.words import StudyState, Verdict
from appliance.ledger import events, jobs, priors, studies
from appliance.ledger.engine import Tx
from appliance.ledger.tables import decisions, rounds

# Why a route leaves a study alone that another one had fetched; it is no judgement on its series.
ONLY_TO_COMPARE = (
    "the study was fetched to be compared with a later one, for another route; fetch or send it for its own"
    " sake, and this route judges it"
)


@dataclass(frozen=True, kw_only=True)
class SeriesSentence:
    """Why one series was chosen for a route or was not."""

    series_uid: str
    number: int | None
    description: str
    chosen: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one route decided about one content of a study. `work` is set unless nothing matched."""

    route: str
    verdict: Verdict
    reason: str
    series: Sequence[SeriesSentence] = field(default=())
    work: jobs.Work | None = None
    # How long its job waits for earlier studies; none where its route asks for none.
    wait_seconds: float | None = None
    job_id: int | None = None
    decided_at: float = 0.0
    content_digest: str = ""


def record(tx: Tx, study: studies.Study, taken: Sequence[Decision], *, at: float) -> list[int] | None:
    """Record every route's decision and open the jobs they ask for.

    Returns the jobs, or nothing at all if the study moved on meanwhile; then no row was written.
    """
    assert study.content_digest is not None, "a study is decided after it became ready"
    if not studies.move(tx, study.study_uid, StudyState.READY, StudyState.DECIDED):
        return None
    opened = [_record_one(tx, study, decision, at) for decision in taken]
    tx.execute(
        sa.update(rounds)
        .where(rounds.c.study_uid == study.study_uid, rounds.c.content_digest == study.content_digest)
        .values(routes=len(taken))
    )
    return [job_id for job_id in opened if job_id is not None]


def record_also(tx: Tx, study: studies.Study, decision: Decision, *, since: float, at: float) -> bool:
    """Record what a route says of a content that was decided before; say whether a job of it is open now.

    For a route that was not there then, or left the study to another. Else its decision stands, and work that
    ended before `since` is done once more.
    """
    assert study.content_digest is not None, "a study is decided after it became ready"
    key = (decisions.c.study_uid == study.study_uid, decisions.c.content_digest == study.content_digest)
    known = tx.execute(sa.select(decisions.c.id).where(*key, decisions.c.route == decision.route)).first()
    if known is None:
        job_id = _record_one(tx, study, decision, at)
        here = (rounds.c.study_uid == study.study_uid, rounds.c.content_digest == study.content_digest)
        tx.execute(sa.update(rounds).where(*here).values(routes=rounds.c.routes + 1))
    else:
        job_id = None if decision.work is None else jobs.open_job(tx, decision.work, at=at)
        left = (decisions.c.id == known.id, decisions.c.reason == ONLY_TO_COMPARE)
        if job_id is not None:
            tx.execute(
                sa.update(decisions).where(*left).values(**_said(decision), job_id=job_id, decided_at=at)
            )
    job = None if job_id is None else jobs.find(tx, job_id)
    if job is None:
        return False
    if job.finished_at is None:
        return True
    if decision.work is None or decision.work.refusal is not None or job.finished_at >= since:
        return False
    jobs.again(tx, job, at=at, mode=decision.work.mode)
    return True


def _record_one(tx: Tx, study: studies.Study, decision: Decision, at: float) -> int | None:
    job_id = None if decision.work is None else jobs.open_job(tx, decision.work, at=at)
    if job_id is not None and decision.wait_seconds is not None:
        named = {"study_uid": study.study_uid, "route": decision.route}
        priors.open_ask(tx, job_id, **named, wait_seconds=decision.wait_seconds, at=at)
    tx.execute(
        decisions.insert().values(
            study_uid=study.study_uid,
            content_digest=study.content_digest,
            route=decision.route,
            job_id=job_id,
            decided_at=at,
            **_said(decision),
        )
    )
    events.add(
        tx,
        "route.decided",
        at=at,
        study_uid=study.study_uid,
        route=decision.route,
        verdict=decision.verdict,
        job=job_id,
    )
    return job_id


def _said(decision: Decision) -> dict[str, Any]:
    series = [vars(sentence) for sentence in decision.series]
    return {"verdict": decision.verdict, "reason": decision.reason, "series": series}


def of_study(tx: Tx, study_uid: str) -> list[Decision]:
    """Return every decision about a study, oldest first."""
    query = sa.select(decisions).where(decisions.c.study_uid == study_uid).order_by(decisions.c.id)
    return [_decision(row) for row in tx.execute(query)]


def _decision(row: Any) -> Decision:
    return Decision(
        route=row.route,
        verdict=Verdict(row.verdict),
        reason=row.reason,
        series=tuple(SeriesSentence(**entry) for entry in row.series),
        job_id=row.job_id,
        decided_at=row.decided_at,
        content_digest=row.content_digest,
    )
