"""Jobs: one piece of work of one model on exactly named instances, leased to one worker at a time.

A lease that runs out means that the worker died; three deaths hold the job.
A worker that comes back late finds that its attempt number no longer fits, and its work is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.instance import Instance
from appliance.core.limits import Limits
from appliance.core.words import JobState
from appliance.ledger import events, priors
from appliance.ledger.engine import Tx
from appliance.ledger.rows import as_instance, insert_unless_there
from appliance.ledger.tables import instances, job_inputs, jobs, results


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of `jobs`; times in epoch seconds."""

    id: int
    study_uid: str
    series_uid: str
    route: str
    mode: str
    model_name: str
    model_version: str
    model_digest: str
    input_digest: str
    run: int
    priority: int
    state: JobState
    refusal: str | None
    word: str | None
    reason: str | None
    attempts: int
    kills: int
    notice_attempts: int
    owner: str | None
    lease_until: float | None
    not_before: float
    created_at: float
    finished_at: float | None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a decision asks for: the identity of a job before it has a row."""

    study_uid: str
    series_uid: str
    route: str
    mode: str
    model_name: str
    model_version: str
    model_digest: str
    input_digest: str
    priority: int
    refusal: str | None


def open_job(tx: Tx, work: Work, *, at: float) -> int:
    """Return the job of a piece of work, making it if it was never asked for.

    The newest run if there are several.
    """
    newest = sa.select(jobs.c.id).where(*_same_work(work)).order_by(jobs.c.run.desc()).limit(1)
    found = tx.execute(newest).scalar_one_or_none()
    if found is None:
        insert_unless_there(tx, jobs, vars(work) | _fresh(at))
        found = tx.execute(newest).scalar_one()
        _remember_inputs(tx, found, work)
    return int(found)


def known(tx: Tx, work: Work) -> bool:
    """Say whether a piece of work was asked for before."""
    return tx.execute(sa.select(jobs.c.id).where(*_same_work(work)).limit(1)).first() is not None


def _same_work(work: Work | Job) -> list[sa.ColumnElement[bool]]:
    return [
        jobs.c.study_uid == work.study_uid,
        jobs.c.input_digest == work.input_digest,
        jobs.c.model_digest == work.model_digest,
        jobs.c.route == work.route,
    ]


def _fresh(at: float) -> dict[str, Any]:
    counters = {"run": 1, "attempts": 0, "kills": 0, "notice_attempts": 0}
    return counters | {"state": JobState.WAITING, "not_before": at, "created_at": at}


def _remember_inputs(tx: Tx, job_id: int, work: Work) -> None:
    inputs = sa.select(sa.literal(job_id), instances.c.id).where(
        instances.c.study_uid == work.study_uid,
        instances.c.series_uid == work.series_uid,
        instances.c.current,
    )
    tx.execute(job_inputs.insert().from_select(["job_id", "instance_id"], inputs))


def find(tx: Tx, job_id: int) -> Job | None:
    """Return one job."""
    row = tx.execute(sa.select(jobs).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else _job(row)


def of_study(tx: Tx, study_uid: str) -> list[Job]:
    """Return a study's jobs, oldest first."""
    return [
        _job(row)
        for row in tx.execute(sa.select(jobs).where(jobs.c.study_uid == study_uid).order_by(jobs.c.id))
    ]


def in_state(tx: Tx, state: JobState, *, limit: int) -> list[Job]:
    """Return jobs in a state, newest first."""
    query = sa.select(jobs).where(jobs.c.state == state).order_by(jobs.c.id.desc()).limit(limit)
    return [_job(row) for row in tx.execute(query)]


def inputs_of(tx: Tx, job_id: int) -> list[Instance]:
    """Return exactly the instances that a job works on."""
    query = sa.select(instances).join(job_inputs, job_inputs.c.instance_id == instances.c.id)
    rows = tx.execute(query.where(job_inputs.c.job_id == job_id).order_by(instances.c.sop_instance_uid))
    return [as_instance(row) for row in rows]


def due(tx: Tx, *, at: float, limit: int) -> list[int]:
    """Return the jobs that may be leased now, the most urgent and oldest first."""
    query = (
        sa.select(jobs.c.id)
        .where(jobs.c.state == JobState.WAITING, jobs.c.not_before <= at)
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(limit)
    )
    return list(tx.execute(query).scalars())


def lease(tx: Tx, job_id: int, *, owner: str, at: float, seconds: float) -> Job | None:
    """Take a waiting job for one attempt; nothing if it is not waiting any more."""
    taken = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == JobState.WAITING, jobs.c.not_before <= at)
        .values(state=JobState.LEASED, owner=owner, lease_until=at + seconds, attempts=jobs.c.attempts + 1)
    ).rowcount
    return find(tx, job_id) if taken else None


def prolong(tx: Tx, job: Job, *, at: float, seconds: float) -> bool:
    """Keep a lease alive; false if it is no longer this attempt's."""
    return bool(tx.execute(sa.update(jobs).where(*_held_by(job)).values(lease_until=at + seconds)).rowcount)


def finish(tx: Tx, job: Job, state: JobState, *, word: str, reason: str | None, at: float) -> bool:
    """End this attempt for good; false if the attempt is stale, and then nothing was changed (F49)."""
    assert state in (JobState.DONE, JobState.FAILED), state
    done = tx.execute(
        sa.update(jobs)
        .where(*_held_by(job))
        .values(state=state, word=word, reason=reason, finished_at=at, lease_until=None)
    ).rowcount
    if done:
        events.add(tx, word, at=at, study_uid=job.study_uid, job=job.id, route=job.route, reason=reason)
    return bool(done)


def postpone(tx: Tx, job: Job, *, word: str, reason: str, at: float, not_before: float) -> bool:
    """Give a leased job back after a failure that may pass; false if the attempt is stale."""
    done = tx.execute(
        sa.update(jobs)
        .where(*_held_by(job))
        .values(
            state=JobState.WAITING,
            word=word,
            reason=reason,
            not_before=not_before,
            owner=None,
            lease_until=None,
        )
    ).rowcount
    if done:
        events.add(tx, word, at=at, study_uid=job.study_uid, job=job.id, route=job.route, reason=reason)
    return bool(done)


def release_dead(tx: Tx, *, at: float, limits: Limits, owner_name: str | None = None) -> list[Job]:
    """Take back the jobs whose worker died, and hold those that killed too many.

    Without `owner_name` these are the leases that ran out; with it, every lease of that worker's former
    processes.
    """
    dead = (
        jobs.c.lease_until < at
        if owner_name is None
        else jobs.c.owner.startswith(f"{owner_name}:", autoescape=True)
    )
    rows = tx.execute(sa.select(jobs).where(jobs.c.state == JobState.LEASED, dead)).all()
    return [_release(tx, _job(row), at, limits) for row in rows]


def _release(tx: Tx, job: Job, at: float, limits: Limits) -> Job:
    held = job.kills + 1 >= limits.kills_max
    reason = f"its worker died {job.kills + 1} times while working on it" if held else "its worker died"
    word = "job.held" if held else "job.released"
    state = JobState.HELD if held else JobState.WAITING
    tx.execute(
        sa.update(jobs)
        .where(*_held_by(job))
        .values(
            state=state,
            kills=job.kills + 1,
            word=word,
            reason=reason,
            owner=None,
            lease_until=None,
            finished_at=at if held else None,
        )
    )
    events.add(tx, word, at=at, study_uid=job.study_uid, job=job.id, route=job.route, kills=job.kills + 1)
    return job


def unexplained(tx: Tx, *, at: float, limits: Limits) -> list[int]:
    """Return the held jobs for which no result says yet that the model did not run (P8)."""
    query = (
        sa.select(jobs.c.id)
        .outerjoin(results, results.c.job_id == jobs.c.id)
        .where(
            jobs.c.state == JobState.HELD,
            results.c.id.is_(None),
            jobs.c.notice_attempts < limits.notice_attempts_max,
            sa.or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < at),
        )
        .order_by(jobs.c.id)
    )
    return list(tx.execute(query).scalars())


def claim_notice(tx: Tx, job_id: int, *, owner: str, at: float, limits: Limits) -> Job | None:
    """Take a held job in order to write its "not run" result; nothing if another worker was faster."""
    taken = tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == JobState.HELD)
        .where(sa.or_(jobs.c.lease_until.is_(None), jobs.c.lease_until < at))
        .values(
            owner=owner, lease_until=at + limits.lease_seconds, notice_attempts=jobs.c.notice_attempts + 1
        )
    ).rowcount
    return find(tx, job_id) if taken else None


def unclaim_notice(tx: Tx, job: Job, *, until: float) -> None:
    """Give a held job's notice back, through no fault of its own; it may be taken again after `until`."""
    tx.execute(
        sa.update(jobs)
        .where(jobs.c.id == job.id, jobs.c.owner == job.owner, jobs.c.state == JobState.HELD)
        .values(lease_until=until, notice_attempts=jobs.c.notice_attempts - 1)
    )


def newer_exists(tx: Tx, job: Job) -> bool:
    """Say whether a later job of the same route works on other content of the same study."""
    query = sa.select(jobs.c.id).where(
        jobs.c.study_uid == job.study_uid,
        jobs.c.route == job.route,
        jobs.c.id > job.id,
        jobs.c.input_digest != job.input_digest,
    )
    return tx.execute(query.limit(1)).first() is not None


def again(tx: Tx, job: Job, *, at: float, mode: str | None = None) -> int:
    """Ask for the same work once more because a person said so; or in a given mode, to compare with.

    The new run supersedes the old one's result. A study that was analysed only to be compared with, and whose
    work a person wants once more, is wanted for itself.
    """
    assert job.state in (JobState.FAILED, JobState.HELD, JobState.DONE), job.state
    highest = tx.execute(sa.select(sa.func.max(jobs.c.run)).where(*_same_work(job))).scalar_one()
    copied = {name: value for name, value in vars(job).items() if name in Work.__dataclass_fields__}
    if mode is not None:
        copied["mode"] = mode
    elif job.mode == priors.MODE and job.state is JobState.DONE:
        copied["mode"] = "release"
    new_id = tx.execute(
        jobs.insert().values(**copied | _fresh(at) | {"run": highest + 1}).returning(jobs.c.id)
    ).scalar_one()
    inputs = sa.select(sa.literal(new_id), job_inputs.c.instance_id).where(job_inputs.c.job_id == job.id)
    tx.execute(job_inputs.insert().from_select(["job_id", "instance_id"], inputs))
    if copied["mode"] != priors.MODE:
        priors.again(tx, job.id, int(new_id), at=at)
    events.add(tx, "job.again", at=at, study_uid=job.study_uid, job=new_id, route=job.route, former=job.id)
    return int(new_id)


def _held_by(job: Job) -> Sequence[sa.ColumnElement[bool]]:
    return (
        jobs.c.id == job.id,
        jobs.c.state == JobState.LEASED,
        jobs.c.owner == job.owner,
        jobs.c.attempts == job.attempts,
    )


def _job(row: Any) -> Job:
    values: Mapping[str, Any] = row._mapping
    return Job(**{**values, "state": JobState(row.state)})
