"""Comparisons: for each job that a shadow is to be held against, one row, and what it came to.

A row begins as WAITING when the answer of its job was put away, or as ENDED when there is nothing to compare.
Each row that ends is added to the agreement of its two versions in the same transaction, once.

Promises: nothing is lost in silence: every job of a shadow's model since it began has a row in the end, and
what was not compared is counted under a word.
Never: is leased while a job of the box waits or is worked on; changes a job, a result or a delivery.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.core.words import InstanceState, JobState, Outcome, StudyState
from appliance.ledger import agreements, shadows
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.shadows import Shadow
from appliance.ledger.tables import comparisons, instances, job_inputs, jobs, results, studies
from models.beside import Pair


class Standing(StrEnum):
    """Where a comparison stands."""

    WAITING = "WAITING"
    LEASED = "LEASED"
    DONE = "DONE"
    ENDED = "ENDED"


class Word(StrEnum):
    """Why a job was not compared, or that it was."""

    COMPARED = "shadow.compared"
    # More answers wait than the box keeps.
    TOO_MANY = "shadow.too_many"
    # The old version gave no answer: it failed, was held, or newer images came.
    NO_ANSWER = "shadow.no_answer"
    # The old answer was not put away: the worker died right after it, or had no room.
    NOT_KEPT = "shadow.not_kept"
    # The images were removed after their time of keeping, or set aside.
    NO_IMAGES = "shadow.no_images"
    # The box was never idle for as long as the model needs.
    NO_TIME = "shadow.no_time"
    # The model finds no room beside those that serve.
    NO_ROOM = "shadow.no_room"
    TOO_LARGE = "shadow.too_large"
    # The new version does not read the images that the old one read, or reads those that it refused.
    ONLY_OLD = "shadow.only_old"
    ONLY_NEW = "shadow.only_new"
    NEITHER = "shadow.neither"
    # The new version gave no answer.
    FAILED = "shadow.failed"
    GONE = "shadow.gone"
    DIED = "shadow.died"
    STOPPED = "shadow.stopped"


_OPEN: Final = (Standing.WAITING, Standing.LEASED)
_ENDED_JOBS: Final = (JobState.DONE, JobState.FAILED, JobState.HELD)
ANSWERS: Final = frozenset({Outcome.FINDING, Outcome.NO_FINDING, Outcome.MEASURED, Outcome.ABSTAINED})


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of `comparisons`; times in epoch seconds."""

    id: int
    shadow_id: int
    job_id: int
    state: Standing
    word: str | None
    starts: int
    kills: int
    owner: str | None
    lease_until: float | None
    not_before: float
    created_at: float
    ended_at: float | None
    pair: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Unopened:
    """A job that ended and has no row; `outcome` of its result, none while a held job has none."""

    job_id: int
    outcome: Outcome | None


def open_one(tx: Tx, shadow: Shadow, job_id: int, *, at: float, waiting_max: int) -> Standing | None:
    """Let a job whose answer was put away wait; ENDED where too many do, None where it has its row."""
    query = sa.select(sa.func.count()).select_from(comparisons)
    waiting = tx.execute(query.where(comparisons.c.state.in_(_OPEN))).scalar_one()
    state = Standing.WAITING if waiting < waiting_max else Standing.ENDED
    word = None if state is Standing.WAITING else Word.TOO_MANY
    return state if _insert(tx, shadow, job_id, state, word, at=at) else None


def pass_over(tx: Tx, shadow: Shadow, job_id: int, word: Word, *, at: float) -> bool:
    """Count a job that is not compared; false if it has its row already."""
    return _insert(tx, shadow, job_id, Standing.ENDED, word, at=at)


def unopened(tx: Tx, shadow: Shadow, *, ended_before: float, limit: int) -> list[Unopened]:
    """Return jobs of a shadow's model that ended before a time and have no row, the oldest first.

    The second run of a job is a person's affair, and what the shadow itself answers is no other version's.
    """
    mine = sa.exists().where(comparisons.c.shadow_id == shadow.id, comparisons.c.job_id == jobs.c.id)
    query = (
        sa.select(jobs.c.id, results.c.outcome)
        .outerjoin(results, results.c.job_id == jobs.c.id)
        .where(jobs.c.id > shadow.after_job, jobs.c.model_name == shadow.name, jobs.c.run == 1)
        .where(jobs.c.model_digest != shadow.digest)
        .where(jobs.c.state.in_(_ENDED_JOBS), jobs.c.finished_at < ended_before, ~mine)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return [
        Unopened(job_id=row.id, outcome=None if row.outcome is None else Outcome(row.outcome))
        for row in tx.execute(query)
    ]


def next_due(tx: Tx, *, at: float) -> int | None:
    """Return the comparison to work on now: none while the box has any work of its own."""
    if busy(tx, at=at):
        return None
    query = sa.select(comparisons.c.id).where(
        comparisons.c.state == Standing.WAITING, comparisons.c.not_before <= at
    )
    return tx.execute(query.order_by(comparisons.c.id).limit(1)).scalar_one_or_none()


def busy(tx: Tx, *, at: float) -> bool:
    """Say whether the box has work of its own: a job that is due or worked on, a study that is complete."""
    job = sa.or_(
        jobs.c.state == JobState.LEASED, sa.and_(jobs.c.state == JobState.WAITING, jobs.c.not_before <= at)
    )
    if tx.execute(sa.select(jobs.c.id).where(job).limit(1)).first() is not None:
        return True
    ready = sa.select(studies.c.study_uid).where(studies.c.state == StudyState.READY)
    return tx.execute(ready.limit(1)).first() is not None


def lease(tx: Tx, comparison_id: int, *, owner: str, at: float, seconds: float) -> Comparison | None:
    """Take a waiting comparison; nothing if it waits no more, or a job came meanwhile."""
    if busy(tx, at=at):
        return None
    here = (comparisons.c.id == comparison_id, comparisons.c.state == Standing.WAITING)
    values = {"state": Standing.LEASED, "owner": owner, "lease_until": at + seconds}
    query = sa.update(comparisons).where(*here).values(**values, starts=comparisons.c.starts + 1)
    return find(tx, comparison_id) if tx.execute(query).rowcount else None


def prolong(tx: Tx, comparison: Comparison, *, at: float, seconds: float) -> bool:
    """Keep a lease alive; false if it is no longer this attempt's."""
    query = sa.update(comparisons).where(*_held_by(comparison)).values(lease_until=at + seconds)
    return bool(tx.execute(query).rowcount)


def give_back(tx: Tx, comparison: Comparison, *, not_before: float, counts: bool = True) -> bool:
    """Let a leased comparison wait again; with `counts` false the start was nobody's fault."""
    starts = comparison.starts if counts else comparison.starts - 1
    values = {"state": Standing.WAITING, "starts": starts, "owner": None, "lease_until": None}
    query = sa.update(comparisons).where(*_held_by(comparison)).values(**values, not_before=not_before)
    return bool(tx.execute(query).rowcount)


def done(tx: Tx, comparison: Comparison, pair: Pair, *, at: float) -> bool:
    """Record what both versions said; false, having changed nothing, if the attempt is stale."""
    if not _close(tx, comparison, Standing.DONE, Word.COMPARED, at=at, pair=pair.as_json()):
        return False
    agreements.add(tx, _between(tx, comparison), pair, at=at)
    return True


def failed(tx: Tx, comparison: Comparison, word: Word, *, at: float) -> bool:
    """Record why there is nothing to compare; false, having changed nothing, if the attempt is stale."""
    if not _close(tx, comparison, Standing.ENDED, word, at=at, pair=None):
        return False
    agreements.pass_over(tx, _between(tx, comparison), word, at=at)
    return True


def stop(tx: Tx, shadow: Shadow, *, reason: str, by: str, at: float) -> bool:
    """End a shadow, and every comparison of it that has not ended; say whether it ran."""
    if not shadows.end(tx, shadow, word=reason, by=by, at=at):
        return False
    here = (comparisons.c.shadow_id == shadow.id, comparisons.c.state.in_(_OPEN))
    for row in tx.execute(sa.select(comparisons).where(*here)).all():
        _end(tx, _comparison(row), Word.STOPPED, at=at)
    return True


def release_dead(tx: Tx, *, at: float, limits: Limits, owner_name: str | None = None) -> list[Comparison]:
    """Take back comparisons whose worker died, and end those over which too many did.

    Without `owner_name` these are the leases that ran out; with it, every lease of that worker's former
    processes. Return what was taken back.
    """
    dead = (
        comparisons.c.lease_until < at
        if owner_name is None
        else comparisons.c.owner.startswith(f"{owner_name}:", autoescape=True)
    )
    rows = tx.execute(sa.select(comparisons).where(comparisons.c.state == Standing.LEASED, dead)).all()
    for row in (taken := [_comparison(row) for row in rows]):
        if row.kills + 1 >= limits.shadow_kills_max:
            _end(tx, row, Word.DIED, at=at)
        else:
            values = {"state": Standing.WAITING, "kills": row.kills + 1, "owner": None, "lease_until": None}
            tx.execute(sa.update(comparisons).where(comparisons.c.id == row.id).values(**values))
    return taken


def find(tx: Tx, comparison_id: int) -> Comparison:
    """Return one comparison."""
    return _comparison(tx.execute(sa.select(comparisons).where(comparisons.c.id == comparison_id)).one())


def of_shadow(tx: Tx, shadow_id: int, *, limit: int) -> list[Comparison]:
    """Return the newest comparisons of a shadow."""
    query = sa.select(comparisons).where(comparisons.c.shadow_id == shadow_id)
    rows = tx.execute(query.order_by(comparisons.c.id.desc()).limit(limit))
    return [_comparison(row) for row in rows]


def count_of(tx: Tx, shadow_id: int) -> dict[str, int]:
    """Count a shadow's comparisons by state."""
    query = sa.select(comparisons.c.state, sa.func.count()).where(comparisons.c.shadow_id == shadow_id)
    return {row[0]: int(row[1]) for row in tx.execute(query.group_by(comparisons.c.state))}


def open_jobs(tx: Tx) -> set[int]:
    """Return the jobs whose answer is still needed."""
    query = sa.select(comparisons.c.job_id).where(comparisons.c.state.in_(_OPEN))
    return set(tx.execute(query).scalars())


def images_here(tx: Tx, job_id: int) -> bool:
    """Say whether all images of a job are kept as they were."""
    query = (
        sa.select(instances.c.id)
        .join(job_inputs, job_inputs.c.instance_id == instances.c.id)
        .where(job_inputs.c.job_id == job_id, instances.c.state != InstanceState.STUDY)
    )
    return tx.execute(query.limit(1)).first() is None


def _insert(tx: Tx, shadow: Shadow, job_id: int, state: Standing, word: Word | None, *, at: float) -> bool:
    over = state is Standing.ENDED
    values: dict[str, Any] = {"shadow_id": shadow.id, "job_id": job_id, "state": state, "word": word}
    values |= {"starts": 0, "kills": 0, "not_before": at, "created_at": at, "ended_at": at if over else None}
    if not insert_unless_there(tx, comparisons, values):
        return False
    if word is not None:
        agreements.pass_over(tx, _versions(tx, shadow, job_id), word, at=at)
    return True


def _end(tx: Tx, comparison: Comparison, word: Word, *, at: float) -> None:
    values = {"state": Standing.ENDED, "word": word, "ended_at": at, "lease_until": None}
    here = (comparisons.c.id == comparison.id, comparisons.c.state.in_(_OPEN))
    if tx.execute(sa.update(comparisons).where(*here).values(**values)).rowcount:
        agreements.pass_over(tx, _between(tx, comparison), word, at=at)


def _close(
    tx: Tx, comparison: Comparison, state: Standing, word: Word, *, at: float, pair: dict[str, Any] | None
) -> bool:
    values = {"state": state, "word": word, "ended_at": at, "lease_until": None, "pair": pair}
    return bool(tx.execute(sa.update(comparisons).where(*_held_by(comparison)).values(**values)).rowcount)


def _between(tx: Tx, comparison: Comparison) -> agreements.Between:
    return _versions(tx, shadows.find(tx, comparison.shadow_id), comparison.job_id)


def _versions(tx: Tx, shadow: Shadow, job_id: int) -> agreements.Between:
    old = tx.execute(sa.select(jobs.c.model_digest, jobs.c.model_version).where(jobs.c.id == job_id)).one()
    return agreements.Between(
        name=shadow.name,
        old_digest=old.model_digest,
        old_version=old.model_version,
        new_digest=shadow.digest,
        new_version=shadow.version,
    )


def _held_by(comparison: Comparison) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        comparisons.c.id == comparison.id,
        comparisons.c.state == Standing.LEASED,
        comparisons.c.owner == comparison.owner,
        comparisons.c.starts == comparison.starts,
    )


def _comparison(row: Any) -> Comparison:
    return Comparison(**{**row._mapping, "state": Standing(row.state)})
