"""Results and their objects: frozen bytes, and the instances, model and engine that made them (P7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from appliance.core.instance import Location
from appliance.core.words import DeliveryState, JobState, Outcome
from appliance.ledger import events, jobs
from appliance.ledger.engine import Tx
from appliance.ledger.tables import deliveries, objects, results
from appliance.ledger.tables import jobs as job_rows


@dataclass(frozen=True, kw_only=True)
class ResultObject:
    """One DICOM object of a result; its bytes lie frozen at `location`."""

    output: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    transfer_syntax_uid: str
    series_description: str
    modality: str
    digest: str
    location: Location
    preview_file: str | None = None
    # When the box gave the bytes up, in epoch seconds.
    purged_at: float | None = None
    id: int = 0
    result_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a job came to."""

    outcome: Outcome
    statement: str
    engine: str
    stepped_down: str | None
    evidence_digest: str
    evidence: Sequence[Sequence[str]]
    measurements: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    id: int = 0
    job_id: int = 0
    study_uid: str = ""
    route: str = ""
    supersedes_id: int | None = None
    created_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """One kind of object that a peer gets in the place of another, which it does not take."""

    peer: str
    output: str
    wanted: str


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt at a job ended: its state, its result, and what goes where."""

    state: JobState
    word: str
    reason: str | None
    result: Result
    objects: Sequence[ResultObject]
    # Peer name -> the outputs it gets.
    send_to: Mapping[str, Sequence[str]]
    stand_ins: Sequence[StandIn] = ()
    # Peer name -> the outputs it should get, does not take, and nothing stands in for: a person must look.
    untaken: Mapping[str, Sequence[str]] = field(default_factory=dict)


def end(tx: Tx, job: jobs.Job, ending: Ending, *, at: float) -> bool:
    """Record a job's end, its result, its objects and their deliveries in one go.

    Returns false, having changed nothing, if the attempt is stale or the job has its result already.
    """
    if job.state is JobState.LEASED:
        if not jobs.finish(tx, job, ending.state, word=ending.word, reason=ending.reason, at=at):
            return False
    elif _explained(tx, job):
        return False
    result_id = _add_result(tx, job, ending.result, at)
    for item in ending.objects:
        object_id = _add_object(tx, result_id, item)
        _add_deliveries(tx, object_id, item.output, ending=ending, at=at)
    _tell(tx, job.study_uid, ending, at=at)
    return True


def _explained(tx: Tx, job: jobs.Job) -> bool:
    """Say whether a held job has its result, after whoever is writing one at this moment."""
    tx.execute(sa.select(job_rows.c.id).where(job_rows.c.id == job.id).with_for_update())
    return find_of_job(tx, job.id) is not None


def _add_result(tx: Tx, job: jobs.Job, result: Result, at: float) -> int:
    former = predecessor(tx, job)
    values = {
        "job_id": job.id,
        "study_uid": job.study_uid,
        "route": job.route,
        "outcome": result.outcome,
        "statement": result.statement,
        "engine": result.engine,
        "stepped_down": result.stepped_down,
        "evidence_digest": result.evidence_digest,
        "evidence": [list(pair) for pair in result.evidence],
        "measurements": [dict(m) for m in result.measurements],
        "seconds": dict(result.seconds),
        "supersedes_id": None if former is None else former.id,
        "created_at": at,
    }
    return int(tx.execute(results.insert().values(**values).returning(results.c.id)).scalar_one())


def _add_object(tx: Tx, result_id: int, item: ResultObject) -> int:
    place = {"file": item.location.file, "offset": item.location.offset, "length": item.location.length}
    plain = {k: v for k, v in vars(item).items() if k not in ("location", "id", "result_id")}
    query = objects.insert().values(**plain | place | {"result_id": result_id}).returning(objects.c.id)
    return int(tx.execute(query).scalar_one())


def _add_deliveries(tx: Tx, object_id: int, output: str, *, ending: Ending, at: float) -> None:
    """Open the delivery of an object to each peer that gets it; one that nobody takes begins as DEAD."""
    wanted = {each.peer: each.wanted for each in reversed(ending.stand_ins) if each.output == output}
    rows = [
        new_delivery(object_id, peer, at=at, instead_of=wanted.get(peer))
        for peer, outputs in ending.send_to.items()
        if output in outputs
    ]
    dead = {"state": DeliveryState.DEAD, "word": "courier.no_stand_in"}
    rows += [
        new_delivery(object_id, peer, at=at, instead_of=None) | dead
        for peer, outputs in ending.untaken.items()
        if output in outputs
    ]
    for row in rows:
        tx.execute(deliveries.insert().values(**row))


def new_delivery(object_id: int, peer: str, *, at: float, instead_of: str | None) -> dict[str, Any]:
    """Return the row of a delivery that is due now."""
    return {
        "object_id": object_id,
        "peer": peer,
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "refusals": 0,
        "due_at": at,
        "created_at": at,
        "instead_of": instead_of,
    }


def _tell(tx: Tx, study_uid: str, ending: Ending, *, at: float) -> None:
    """Put what stands in for what, and what nothing stands in for, on the study's timeline."""
    made = {item.output for item in ending.objects}
    for each in ending.stand_ins:
        word = "courier.stands_in" if each.output in made else "courier.no_stand_in"
        detail = {"peer": each.peer, "output": each.output, "wanted": each.wanted}
        events.add(tx, word, at=at, study_uid=study_uid, **detail)
    for peer, outputs in ending.untaken.items():
        for output in sorted(made.intersection(outputs)):
            events.add(tx, "courier.no_stand_in", at=at, study_uid=study_uid, peer=peer, wanted=output)


def predecessor(tx: Tx, job: jobs.Job) -> Result | None:
    """Return the newest result of the same study and route that has objects; a new one supersedes it."""
    query = (
        sa.select(results)
        .where(results.c.study_uid == job.study_uid, results.c.route == job.route, results.c.job_id != job.id)
        .where(sa.exists().where(objects.c.result_id == results.c.id))
        .order_by(results.c.id.desc())
        .limit(1)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else _result(row)


def find(tx: Tx, result_id: int) -> Result | None:
    """Return one result."""
    row = tx.execute(sa.select(results).where(results.c.id == result_id)).one_or_none()
    return None if row is None else _result(row)


def find_of_job(tx: Tx, job_id: int) -> Result | None:
    """Return a job's result."""
    row = tx.execute(sa.select(results).where(results.c.job_id == job_id)).one_or_none()
    return None if row is None else _result(row)


def of_study(tx: Tx, study_uid: str) -> list[Result]:
    """Return a study's results, oldest first."""
    query = sa.select(results).where(results.c.study_uid == study_uid).order_by(results.c.id)
    return [_result(row) for row in tx.execute(query)]


def superseded(tx: Tx, result_id: int) -> bool:
    """Say whether a newer result took a result's place."""
    return tx.execute(sa.select(results.c.id).where(results.c.supersedes_id == result_id)).first() is not None


def objects_of(tx: Tx, result_id: int) -> list[ResultObject]:
    """Return a result's objects in the order they are sent."""
    query = sa.select(objects).where(objects.c.result_id == result_id).order_by(objects.c.id)
    return [as_object(row) for row in tx.execute(query)]


def addressed_objects_of(tx: Tx, result_id: int) -> list[ResultObject]:
    """Return a result's objects without those held in reserve; all of them if it was sent to nobody."""
    query = sa.select(deliveries.c.object_id).join(objects, objects.c.id == deliveries.c.object_id)
    sent = set(tx.execute(query.where(objects.c.result_id == result_id)).scalars())
    made = objects_of(tx, result_id)
    return [item for item in made if item.id in sent] if sent else made


def find_object(tx: Tx, object_id: int) -> ResultObject | None:
    """Return one object."""
    row = tx.execute(sa.select(objects).where(objects.c.id == object_id)).one_or_none()
    return None if row is None else as_object(row)


def known_files(tx: Tx) -> set[str]:
    """Return every spool file that should be on disk for an object or its preview."""
    rows = tx.execute(sa.select(objects.c.file, objects.c.preview_file).where(objects.c.purged_at.is_(None)))
    return {name for row in rows for name in row if name is not None}


def as_object(row: Any) -> ResultObject:
    """Turn a row of `objects` into a value."""
    place = Location(file=row.file, offset=row.offset, length=row.length)
    plain = {k: v for k, v in row._mapping.items() if k in ResultObject.__dataclass_fields__}
    return ResultObject(**plain, location=place)


def _result(row: Any) -> Result:
    return Result(**{**row._mapping, "outcome": Outcome(row.outcome)})
