"""What people said of results: accepted, modified or rejected (IHE AIRA), and the documents to read it from.

Promises: reading a document again gives the same rows; what cannot be told is one line of the timeline.
Never: the name of whoever judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.core.instance import Instance
from appliance.core.words import InstanceState
from appliance.ledger import events, returned
from appliance.ledger.engine import Tx
from appliance.ledger.results import ResultObject, as_object
from appliance.ledger.rows import as_instance, insert_unless_there
from appliance.ledger.tables import assessments, instances, jobs, objects, results

_DOCUMENTS = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.90.")
READ, UNCLEAR, UNREADABLE = "assessment.read", "assessment.unclear", "assessment.unreadable"


class Judgement(StrEnum):
    """What a person made of a result, or of one finding of it."""

    ACCEPTED = "accepted"
    MODIFIED = "modified"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """One row: what one document says of one result, or of one finding of it by tracking UID.

    `assessed_at` is when the document came, in epoch seconds.
    """

    result_id: int
    study_uid: str
    sop_instance_uid: str
    judgement: Judgement
    tracking_uid: str
    calling_ae: str
    assessed_at: float


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A kept document that may be an assessment, and who sent it when, in epoch seconds."""

    id: int
    instance: Instance
    calling_ae: str
    received_at: float


@dataclass(frozen=True, kw_only=True)
class VersionCount:
    """How a model version fared: results, and findings, by what was said of each last."""

    model_name: str
    model_version: str
    results: Mapping[Judgement, int]
    findings: Mapping[Judgement, int]

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            **{judgement.value: self.results[judgement] for judgement in Judgement},
            "findings": {judgement.value: self.findings[judgement] for judgement in Judgement},
        }


def oldest_readable(tx: Tx) -> int:
    """Return the id before the first instance whose bytes are kept; nothing below it can be read."""
    query = sa.select(sa.func.min(instances.c.id)).where(instances.c.state == InstanceState.STUDY)
    first = tx.execute(query).scalar_one()
    return 0 if first is None else int(first) - 1


def newest(tx: Tx) -> int:
    """Return the id of the newest instance."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(instances.c.id), 0))).scalar_one())


def unread(tx: Tx, *, after: int, until: int, limit: int) -> list[Paper]:
    """Return documents among a range of instances, by id, of which no row of this table was made yet.

    Only of studies that have results, and never the box's own.
    """
    query = (
        sa.select(instances)
        .where(instances.c.id > after, instances.c.id <= until)
        .where(sa.or_(*(instances.c.sop_class_uid.startswith(prefix) for prefix in _DOCUMENTS)))
        .where(instances.c.current, instances.c.state == InstanceState.STUDY)
        .where(sa.exists().where(results.c.study_uid == instances.c.study_uid))
        .where(~sa.exists().where(assessments.c.sop_instance_uid == instances.c.sop_instance_uid))
        .where(~returned.came_home(instances.c.sop_instance_uid))
        .order_by(instances.c.id)
        .limit(limit)
    )
    return [
        Paper(
            id=row.id,
            instance=as_instance(row),
            calling_ae=row.calling_ae,
            received_at=row.received_at,
        )
        for row in tx.execute(query)
    ]


def objects_of_study(tx: Tx, study_uid: str, *, limit: int) -> list[ResultObject]:
    """Return the objects of a study's results, the newest first."""
    query = (
        sa.select(objects)
        .join(results, results.c.id == objects.c.result_id)
        .where(results.c.study_uid == study_uid)
        .order_by(objects.c.id.desc())
        .limit(limit)
    )
    return [as_object(row) for row in tx.execute(query)]


def record(tx: Tx, made: Sequence[Assessment], *, at: float) -> int:
    """Record what a document says, and one line of the timeline for each result; return the new rows."""
    new = [each for each in made if insert_unless_there(tx, assessments, _values(each))]
    for result_id in dict.fromkeys(each.result_id for each in new):
        _tell(tx, [each for each in new if each.result_id == result_id], at)
    return len(new)


def summary(said: Sequence[Assessment]) -> str:
    """Write what one document says of one result: "modified, 1 finding rejected"."""
    whole = [each.judgement.value for each in said if not each.tracking_uid]
    findings = Counter(each.judgement.value for each in said if each.tracking_uid)
    each_kind = (f"{count} finding{'s' * (count != 1)} {judgement}" for judgement, count in findings.items())
    return ", ".join([*whole, *each_kind])


def _tell(tx: Tx, said: Sequence[Assessment], at: float) -> None:
    result_id = said[0].result_id
    events.add(tx, READ, at=at, study_uid=said[0].study_uid, result=result_id, verdict=summary(said))


def set_aside(tx: Tx, word: str, paper: Paper, *, reason: str, at: float) -> bool:
    """Say once in the timeline why a document gave no verdict; say whether it was said now."""
    study_uid = paper.instance.study_uid
    said = (event for event in events.of_study(tx, study_uid) if event.word == word)
    if any(event.detail.get("instance") == paper.id for event in said):
        return False
    events.add(tx, word, at=at, study_uid=study_uid, instance=paper.id, reason=reason)
    return True


def of_study(tx: Tx, study_uid: str) -> list[Assessment]:
    """Return what was said of a study's results, oldest first."""
    query = (
        sa.select(assessments)
        .where(assessments.c.study_uid == study_uid)
        .order_by(assessments.c.assessed_at, assessments.c.id)
    )
    return [_assessment(row) for row in tx.execute(query)]


def of_result(tx: Tx, result_id: int) -> list[Assessment]:
    """Return what was said of one result, oldest first."""
    query = (
        sa.select(assessments)
        .where(assessments.c.result_id == result_id)
        .order_by(assessments.c.assessed_at, assessments.c.id)
    )
    return [_assessment(row) for row in tx.execute(query)]


def by_version(tx: Tx) -> list[VersionCount]:
    """Count for each model version what was said last of its results and of their findings."""
    place = sa.func.row_number().over(
        partition_by=(assessments.c.result_id, assessments.c.tracking_uid),
        order_by=(assessments.c.assessed_at.desc(), assessments.c.id.desc()),
    )
    whole = sa.case((assessments.c.tracking_uid == "", 1), else_=0)
    said = sa.select(
        assessments.c.result_id, assessments.c.verdict, whole.label("whole"), place.label("place")
    ).subquery()
    query = (
        sa.select(jobs.c.model_name, jobs.c.model_version, said.c.verdict, said.c.whole, sa.func.count())
        .select_from(said)
        .join(results, results.c.id == said.c.result_id)
        .join(jobs, jobs.c.id == results.c.job_id)
        .where(said.c.place == 1)
        .group_by(jobs.c.model_name, jobs.c.model_version, said.c.verdict, said.c.whole)
        .order_by(jobs.c.model_name, jobs.c.model_version)
    )
    counted: dict[tuple[str, str], dict[tuple[Judgement, bool], int]] = {}
    for name, version, verdict, of_whole, count in tx.execute(query):
        counted.setdefault((name, version), {})[Judgement(verdict), bool(of_whole)] = count
    return [
        VersionCount(
            model_name=name,
            model_version=version,
            results={judgement: found.get((judgement, True), 0) for judgement in Judgement},
            findings={judgement: found.get((judgement, False), 0) for judgement in Judgement},
        )
        for (name, version), found in counted.items()
    ]


def _values(made: Assessment) -> dict[str, Any]:
    plain = {name: value for name, value in vars(made).items() if name != "judgement"}
    return plain | {"verdict": made.judgement.value}


def _assessment(row: Any) -> Assessment:
    return Assessment(
        result_id=row.result_id,
        study_uid=row.study_uid,
        sop_instance_uid=row.sop_instance_uid,
        judgement=Judgement(row.verdict),
        tracking_uid=row.tracking_uid,
        calling_ae=row.calling_ae,
        assessed_at=row.assessed_at,
    )
