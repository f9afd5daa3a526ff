"""How the jobs of one version of a model ended: what it is watched by while it is new.

Only reads. The numbers are the box's own; nothing here is asked of anybody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import JobState
from appliance.ledger.engine import Tx
from appliance.ledger.tables import events, jobs, results

_ENDED = (JobState.DONE, JobState.FAILED, JobState.HELD)
_DEATHS = ("job.released", "job.held")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One job that ended; `seconds` of work, without waiting, are none where the model did not run."""

    study_uid: str
    state: JobState
    word: str
    seconds: float | None
    finished_at: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """Jobs of a version in the order in which they ended, and when (epoch seconds) workers died of them."""

    ended: Sequence[Ended]
    deaths: Sequence[float] = ()


def of_model(tx: Tx, digest: str, *, since: float, until: float, jobs_max: int) -> Record:
    """Return the newest ended jobs of a package in a span of epoch seconds, and the deaths of its workers."""
    query = (
        sa.select(jobs.c.study_uid, jobs.c.state, jobs.c.word, jobs.c.finished_at, results.c.seconds)
        .outerjoin(results, results.c.job_id == jobs.c.id)
        .where(
            jobs.c.model_digest == digest,
            jobs.c.state.in_(_ENDED),
            jobs.c.finished_at >= since,
            jobs.c.finished_at <= until,
        )
        .order_by(jobs.c.finished_at.desc(), jobs.c.id.desc())
        .limit(jobs_max)
    )
    ended = [_ended(row) for row in tx.execute(query)]
    return Record(ended=ended[::-1], deaths=_deaths(tx, digest, since=since, until=until, most=jobs_max))


def _deaths(tx: Tx, digest: str, *, since: float, until: float, most: int) -> list[float]:
    """Return when jobs of a package that lost more than one worker lost them; one moment stands there once.

    A job that lost one and then ran met a power cut, or another's fault.
    """
    told = (
        sa.select(events.c.at, events.c.detail)
        .where(events.c.word.in_(_DEATHS), events.c.at >= since, events.c.at <= until)
        .order_by(events.c.id.desc())
        .limit(most)
    )
    deaths = [(row.detail["job"], row.at) for row in tx.execute(told) if row.detail.get("kills")]
    if not deaths:
        return []
    of_this = sa.select(jobs.c.id).where(jobs.c.model_digest == digest, jobs.c.id.in_([d[0] for d in deaths]))
    mine = set(tx.execute(of_this).scalars())
    often = Counter(job for job, _ in deaths)
    return sorted({at for job, at in deaths if job in mine and often[job] > 1})


def _ended(row: Any) -> Ended:
    return Ended(
        study_uid=row.study_uid,
        state=JobState(row.state),
        word=row.word or "",
        seconds=sum(row.seconds.values()) if row.seconds else None,
        finished_at=row.finished_at,
    )
