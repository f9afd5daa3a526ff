"""What people look at: studies as lines of a list, and what needs a person.

Only reads. A page of the console costs a handful of queries, however many studies there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import DeliveryState, InstanceState, JobState, Outcome, StudyState
from appliance.ledger import returned
from appliance.ledger import studies as study_verbs
from appliance.ledger.engine import Tx
from appliance.ledger.events import Event
from appliance.ledger.jobs import Job
from appliance.ledger.tables import (
    deliveries,
    events,
    instances,
    jobs,
    objects,
    prior_asks,
    results,
    studies,
)

# What any verb raises when the database fails: full, locked for too long, gone.
LedgerFault = sa.exc.SQLAlchemyError

_FAILING = (JobState.FAILED, JobState.HELD)
# A person's word about a study: what ended badly until now needs nobody any more.
SEEN = "console.seen"
_INFERRED = (Outcome.FINDING, Outcome.NO_FINDING, Outcome.MEASURED, Outcome.ABSTAINED)
_UNSENT = (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.LATER)


@dataclass(frozen=True, kw_only=True)
class RouteLine:
    """The newest work of one route on a study; `outcome` is of that very job, nothing before it ended."""

    route: str
    job_id: int
    state: JobState
    outcome: Outcome | None
    statement: str


@dataclass(frozen=True, kw_only=True)
class StudyLine:
    """One study as a line of a list; `heads` holds the facts of one instance of each series."""

    study: study_verbs.Study
    heads: Sequence[Mapping[str, Any]]
    instances: Mapping[str, int]
    routes: Sequence[RouteLine]
    deliveries: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Deliveries of one state that wait at one peer; `oldest_at` in epoch seconds."""

    peer: str
    state: DeliveryState
    count: int
    oldest_at: float


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """One version of a model that jobs were opened for; `last_at` in epoch seconds."""

    name: str
    version: str
    digest: str
    jobs: int
    last_at: float
    engine: str | None
    stepped_down: str | None


def lines(
    tx: Tx, count: int, *, offset: int = 0, state: StudyState | None = None, attention: bool = False
) -> list[StudyLine]:
    """Return studies, newest arrival first; with `attention` only those that a person must look at."""
    query = sa.select(studies).where(*_chosen(state, attention=attention))
    query = query.order_by(studies.c.last_at.desc(), studies.c.study_uid).limit(count).offset(offset)
    return _lines(tx, [_study(row) for row in tx.execute(query)])


def line(tx: Tx, study_uid: str) -> StudyLine | None:
    """Return one study as a line, or nothing if it is unknown."""
    found = study_verbs.find(tx, study_uid)
    return None if found is None else _lines(tx, [found])[0]


def named(tx: Tx, study_uids: Sequence[str]) -> dict[str, StudyLine]:
    """Return several studies as lines, by Study Instance UID."""
    if not study_uids:
        return {}
    query = sa.select(studies).where(studies.c.study_uid.in_(study_uids))
    return {entry.study.study_uid: entry for entry in _lines(tx, [_study(row) for row in tx.execute(query)])}


def count_lines(tx: Tx, *, state: StudyState | None = None, attention: bool = False) -> int:
    """Count the studies that `lines` would page through."""
    query = sa.select(sa.func.count()).select_from(studies).where(*_chosen(state, attention=attention))
    return int(tx.execute(query).scalar_one())


def _chosen(state: StudyState | None, *, attention: bool) -> list[sa.ColumnElement[bool]]:
    chosen: list[sa.ColumnElement[bool]] = [] if state is None else [studies.c.state == state]
    return [*chosen, _needs_a_person()] if attention else chosen


def _study(row: Any) -> study_verbs.Study:
    return study_verbs.Study(**{**row._mapping, "state": StudyState(row.state)})


def _failing() -> list[sa.ColumnElement[bool]]:
    """Jobs that ended badly, with no later job of that route and no word of a person since."""
    later = jobs.alias("later")
    newer = sa.exists().where(
        later.c.study_uid == jobs.c.study_uid, later.c.route == jobs.c.route, later.c.id > jobs.c.id
    )
    seen = sa.exists().where(
        events.c.study_uid == jobs.c.study_uid, events.c.at >= jobs.c.finished_at, events.c.word == SEEN
    )
    return [jobs.c.state.in_(_FAILING), ~newer, ~seen]


def _needs_a_person() -> sa.ColumnElement[bool]:
    failing = sa.exists().where(jobs.c.study_uid == studies.c.study_uid, *_failing())
    dead = (
        sa.select(deliveries.c.id)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .where(results.c.study_uid == studies.c.study_uid, deliveries.c.state == DeliveryState.DEAD)
        .exists()
    )
    return sa.or_(studies.c.state == StudyState.HELD, failing, dead)


def _lines(tx: Tx, found: Sequence[study_verbs.Study]) -> list[StudyLine]:
    uids = [study.study_uid for study in found]
    heads, counted = _heads(tx, uids), _instance_counts(tx, uids)
    routes, sent = _routes(tx, uids), _delivery_counts(tx, uids)
    return [
        StudyLine(
            study=study,
            heads=heads[study.study_uid],
            instances=counted[study.study_uid],
            routes=routes[study.study_uid],
            deliveries=sent[study.study_uid],
        )
        for study in found
    ]


def _heads(tx: Tx, uids: Sequence[str]) -> Mapping[str, list[Mapping[str, Any]]]:
    first = (
        sa.select(sa.func.min(instances.c.id))
        .where(instances.c.study_uid.in_(uids), instances.c.current)
        .where(~returned.came_home(instances.c.sop_instance_uid))
        .group_by(instances.c.study_uid, instances.c.series_uid)
    )
    heads: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    query = sa.select(instances.c.study_uid, instances.c.facts).where(instances.c.id.in_(first))
    for row in tx.execute(query.order_by(instances.c.id)):
        heads[row.study_uid].append(row.facts)
    return heads


def _instance_counts(tx: Tx, uids: Sequence[str]) -> Mapping[str, dict[str, int]]:
    """Count current instances by the place they are in."""
    query = (
        sa.select(instances.c.study_uid, instances.c.state, sa.func.count())
        .where(
            instances.c.study_uid.in_(uids),
            sa.or_(instances.c.current, instances.c.state != InstanceState.STUDY),
            # What the box made and got back is no image that came for the study.
            ~returned.came_home(instances.c.sop_instance_uid),
        )
        .group_by(instances.c.study_uid, instances.c.state)
    )
    return _grouped(tx, query)


def _delivery_counts(tx: Tx, uids: Sequence[str]) -> Mapping[str, dict[str, int]]:
    query = (
        sa.select(results.c.study_uid, deliveries.c.state, sa.func.count())
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .where(results.c.study_uid.in_(uids))
        .group_by(results.c.study_uid, deliveries.c.state)
    )
    return _grouped(tx, query)


def _grouped(tx: Tx, query: sa.Select[Any]) -> Mapping[str, dict[str, int]]:
    grouped: dict[str, dict[str, int]] = defaultdict(dict)
    for key, state, count in tx.execute(query):
        grouped[key][state] = count
    return grouped


def _routes(tx: Tx, uids: Sequence[str]) -> Mapping[str, list[RouteLine]]:
    newest = (
        sa.select(sa.func.max(jobs.c.id))
        .where(jobs.c.study_uid.in_(uids))
        .group_by(jobs.c.study_uid, jobs.c.route)
    )
    query = (
        sa.select(
            jobs.c.id, jobs.c.study_uid, jobs.c.route, jobs.c.state, results.c.outcome, results.c.statement
        )
        .outerjoin(results, results.c.job_id == jobs.c.id)
        .where(jobs.c.id.in_(newest))
        .order_by(jobs.c.route)
    )
    routes: dict[str, list[RouteLine]] = defaultdict(list)
    for row in tx.execute(query):
        outcome = None if row.outcome is None else Outcome(row.outcome)
        entry = RouteLine(
            route=row.route,
            job_id=row.id,
            state=JobState(row.state),
            outcome=outcome,
            statement=row.statement or "",
        )
        routes[row.study_uid].append(entry)
    return routes


def series_counts(tx: Tx, study_uid: str) -> dict[str, int]:
    """Count the current instances of each series of a study."""
    query = (
        sa.select(instances.c.series_uid, sa.func.count())
        .where(instances.c.study_uid == study_uid, instances.c.current)
        .group_by(instances.c.series_uid)
    )
    return {row[0]: row[1] for row in tx.execute(query)}


def series_heads(tx: Tx, study_uid: str) -> dict[str, Mapping[str, Any]]:
    """Return the facts of one current instance of each series of a study."""
    first = (
        sa.select(sa.func.min(instances.c.id))
        .where(instances.c.study_uid == study_uid, instances.c.current)
        .group_by(instances.c.series_uid)
    )
    query = sa.select(instances.c.series_uid, instances.c.facts).where(instances.c.id.in_(first))
    return {row.series_uid: row.facts for row in tx.execute(query)}


def failing_jobs(tx: Tx, *, limit: int) -> list[Job]:
    """Return failed and held jobs, newest first, for which neither a later job nor a person's word exists."""
    query = sa.select(jobs).where(*_failing()).order_by(jobs.c.id.desc()).limit(limit)
    return [Job(**{**row._mapping, "state": JobState(row.state)}) for row in tx.execute(query)]


def waiting_deliveries(tx: Tx, *, before: float) -> list[Waiting]:
    """Return, by peer and state, the deliveries that wait since before a moment, in epoch seconds."""
    query = (
        sa.select(
            deliveries.c.peer, deliveries.c.state, sa.func.count(), sa.func.min(deliveries.c.created_at)
        )
        .where(deliveries.c.state.in_(_UNSENT), deliveries.c.created_at <= before)
        .group_by(deliveries.c.peer, deliveries.c.state)
        .order_by(deliveries.c.peer, deliveries.c.state)
    )
    return [
        Waiting(peer=peer, state=DeliveryState(state), count=count, oldest_at=oldest)
        for peer, state, count, oldest in tx.execute(query)
    ]


def oldest_waiting_job_at(tx: Tx) -> float | None:
    """Return when the oldest job that still waits for a worker was opened, in epoch seconds."""
    # One that waits for earlier studies does not wait for a worker.
    elsewhere = sa.exists().where(prior_asks.c.job_id == jobs.c.id, prior_asks.c.ended_at.is_(None))
    query = sa.select(sa.func.min(jobs.c.created_at)).where(jobs.c.state == JobState.WAITING, ~elsewhere)
    oldest: float | None = tx.execute(query).scalar_one()
    return oldest


def results_by_outcome(tx: Tx) -> dict[str, int]:
    """Count results by what they say."""
    rows = tx.execute(sa.select(results.c.outcome, sa.func.count()).group_by(results.c.outcome))
    return {row[0]: row[1] for row in rows}


def models_used(tx: Tx, *, limit: int) -> list[ModelUse]:
    """Return the model versions that jobs were opened for, with the engine of their newest inference."""
    query = (
        sa.select(
            jobs.c.model_name, jobs.c.model_version, jobs.c.model_digest,
            sa.func.count(sa.distinct(jobs.c.id)), sa.func.max(jobs.c.created_at), sa.func.max(results.c.id),
        )
        .outerjoin(results, sa.and_(results.c.job_id == jobs.c.id, results.c.outcome.in_(_INFERRED)))
        .group_by(jobs.c.model_name, jobs.c.model_version, jobs.c.model_digest)
        .order_by(sa.func.max(jobs.c.created_at).desc())
        .limit(limit)
    )  # fmt: skip
    rows = tx.execute(query).all()
    made = sa.select(results.c.id, results.c.engine, results.c.stepped_down)
    engines = {row.id: row for row in tx.execute(made.where(results.c.id.in_([r[5] for r in rows])))}
    return [
        ModelUse(
            name=name, version=version, digest=digest, jobs=count, last_at=last_at,
            engine=engines[newest].engine if newest in engines else None,
            stepped_down=engines[newest].stepped_down if newest in engines else None,
        )
        for name, version, digest, count, last_at, newest in rows
    ]  # fmt: skip


def recent_events(tx: Tx, count: int, *, without: Sequence[str] = ()) -> list[Event]:
    """Return the newest events of the box but for some words, newest first."""
    query = sa.select(events).where(events.c.word.not_in(without)).order_by(events.c.id.desc()).limit(count)
    rows = tx.execute(query)
    return [Event(at=r.at, word=r.word, study_uid=r.study_uid, detail=r.detail) for r in rows]
