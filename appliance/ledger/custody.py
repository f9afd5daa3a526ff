"""Who holds an instance's bytes: its study, the quarantine, or nobody any more, as a row says (P2)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from appliance.core.instance import Instance, Location
from appliance.core.words import DeliveryState, InstanceState, JobState, StudyState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.rows import as_instance
from appliance.ledger.tables import deliveries, instances, jobs, objects, results, studies, uncommitted

_CHUNK = 500
_UNENDED_JOBS = (JobState.WAITING, JobState.LEASED)
ENDED_DELIVERIES = (DeliveryState.ACCEPTED, DeliveryState.COMMITTED, DeliveryState.SETTLED)


def known_files(tx: Tx) -> set[str]:
    """Return every spool file that should be on disk for an instance."""
    query = sa.select(instances.c.file).where(instances.c.state == InstanceState.STUDY).distinct()
    return set(tx.execute(query).scalars())


def purged_among(tx: Tx, files: Sequence[str]) -> set[str]:
    """Return those of some spool files whose bytes were given up; they were forgotten in a crash."""
    found: set[str] = set()
    for start in range(0, len(files), _CHUNK):
        named = instances.c.file.in_(files[start : start + _CHUNK])
        query = sa.select(instances.c.file).where(named, instances.c.state == InstanceState.PURGED)
        found.update(tx.execute(query).scalars())
    return found


def claims(tx: Tx, file: str) -> dict[int, InstanceState]:
    """Return where a spool file holds instances that rows name, by byte offset, and what became of each."""
    query = sa.select(instances.c.offset, instances.c.state).where(instances.c.file == file)
    return {offset: InstanceState(state) for offset, state in tx.execute(query)}


def quarantine_at(tx: Tx, places: Sequence[Location], *, reason: str, at: float) -> int:
    """Take instances out of their studies because their bytes cannot be trusted; return how many."""
    done = 0
    for start in range(0, len(places), _CHUNK):
        chunk = (_lies_at(places[start : start + _CHUNK]), instances.c.state == InstanceState.STUDY)
        rows = tx.execute(sa.select(instances).where(*chunk)).all()
        tx.execute(sa.update(instances).where(*chunk).values(state=InstanceState.QUARANTINED))
        for row in rows:
            events.add(
                tx, "custody.quarantined", at=at, study_uid=row.study_uid, instance=row.id, reason=reason
            )
        done += len(rows)
    return done


def quarantine(tx: Tx, files: Sequence[str], *, reason: str, at: float) -> int:
    """Take every instance of some spool files out of its study; return how many."""
    places = [
        Location(file=file, offset=offset, length=0)
        for file in files
        for offset, state in claims(tx, file).items()
        if state is InstanceState.STUDY
    ]
    return quarantine_at(tx, places, reason=reason, at=at)


def _lies_at(places: Sequence[Location]) -> sa.ColumnElement[bool]:
    return sa.tuple_(instances.c.file, instances.c.offset).in_([(p.file, p.offset) for p in places])


def close_finished(tx: Tx) -> int:
    """Move every decided study whose jobs and deliveries have ended to CLOSED; return how many.

    What a peer accepted and has to commit has not ended.
    """
    unanswered = sa.exists().where(
        uncommitted.c.delivery_id == deliveries.c.id, uncommitted.c.ended_at.is_(None)
    )
    open_delivery = (
        sa.select(deliveries.c.id)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .where(results.c.study_uid == studies.c.study_uid)
        .where(sa.or_(deliveries.c.state.not_in(ENDED_DELIVERIES), unanswered))
        .exists()
    )
    query = sa.update(studies).where(studies.c.state == StudyState.DECIDED, ~open_job(), ~open_delivery)
    return tx.execute(query.values(state=StudyState.CLOSED)).rowcount


def open_job() -> sa.ColumnElement[bool]:
    """Say of a study that work on it goes on, or was asked for again."""
    return sa.exists().where(jobs.c.study_uid == studies.c.study_uid, jobs.c.state.in_(_UNENDED_JOBS))


def purgeable(tx: Tx, *, before: float, limit: int) -> list[Instance]:
    """Return instances of closed studies to which nothing was added since `before`, epoch seconds.

    The oldest first.
    """
    # Found from the instances that are kept: what was purged before only ever grows.
    finished = sa.exists().where(
        studies.c.study_uid == instances.c.study_uid,
        studies.c.state == StudyState.CLOSED,
        studies.c.last_at < before,
        # A person may have asked for old work again.
        ~open_job(),
    )
    query = (
        sa.select(instances)
        .where(instances.c.state == InstanceState.STUDY, instances.c.received_at < before, finished)
        .order_by(instances.c.received_at, instances.c.id)
        .limit(limit)
    )
    return [as_instance(row) for row in tx.execute(query)]


def purge(tx: Tx, gone: Sequence[Instance], *, at: float) -> None:
    """Record that the box gives up the bytes of instances; the bytes are removed after this is durable."""
    for start in range(0, len(gone), _CHUNK):
        places = [instance.location for instance in gone[start : start + _CHUNK]]
        tx.execute(sa.update(instances).where(_lies_at(places)).values(state=InstanceState.PURGED))
    for study_uid in sorted({instance.study_uid for instance in gone}):
        count = sum(instance.study_uid == study_uid for instance in gone)
        events.add(tx, "custody.purged", at=at, study_uid=study_uid, instances=count)
