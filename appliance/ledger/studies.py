"""Studies and series: what is gathering, what became ready, what is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.instance import Instance
from appliance.core.words import InstanceState, StudyState
from appliance.ledger import events, returned
from appliance.ledger.engine import Tx
from appliance.ledger.rows import as_instance, insert_unless_there
from appliance.ledger.states import STUDY
from appliance.ledger.tables import instances, rounds, series, studies


@dataclass(frozen=True, kw_only=True)
class Study:
    """One row of `studies`; times in epoch seconds."""

    study_uid: str
    state: StudyState
    reason: str | None
    first_at: float
    last_at: float
    gathering_since: float
    ready_at: float | None
    content_digest: str | None
    asked_at: float | None
    asked_count: int | None
    asked_kept: int | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One row of `series`; `facts` are a route's variables once the series fell quiet."""

    study_uid: str
    series_uid: str
    first_at: float
    last_at: float
    complete_at: float | None
    facts: Mapping[str, Any] | None


def find(tx: Tx, study_uid: str) -> Study | None:
    """Return one study, or nothing if no instance of it was ever kept."""
    row = tx.execute(sa.select(studies).where(studies.c.study_uid == study_uid)).one_or_none()
    return None if row is None else _study(row)


def in_state(tx: Tx, state: StudyState) -> list[Study]:
    """Return the studies in a state, the one that waits longest first."""
    query = sa.select(studies).where(studies.c.state == state).order_by(studies.c.last_at)
    return [_study(row) for row in tx.execute(query)]


def latest(tx: Tx, count: int, *, offset: int = 0) -> list[Study]:
    """Return the studies that something arrived for last, newest first."""
    query = (
        sa.select(studies).order_by(studies.c.last_at.desc(), studies.c.study_uid).limit(count).offset(offset)
    )
    return [_study(row) for row in tx.execute(query)]


def series_of(tx: Tx, study_uid: str) -> list[Series]:
    """Return the series of a study in the order they began to arrive."""
    query = (
        sa.select(series)
        .where(series.c.study_uid == study_uid)
        .order_by(series.c.first_at, series.c.series_uid)
    )
    return [Series(**row._mapping) for row in tx.execute(query)]


def instances_of(tx: Tx, study_uid: str, series_uid: str | None = None) -> list[Instance]:
    """Return the current instances of a study or of one series of it, in a stable order.

    The box's own results that came back are none of its content.
    """
    query = (
        sa.select(instances)
        .where(
            instances.c.study_uid == study_uid, instances.c.current, instances.c.state == InstanceState.STUDY
        )
        .where(~returned.came_home(instances.c.sop_instance_uid))
        .order_by(instances.c.series_uid, instances.c.sop_instance_uid)
    )
    if series_uid is not None:
        query = query.where(instances.c.series_uid == series_uid)
    return [as_instance(row) for row in tx.execute(query)]


def lost_of(tx: Tx, study_uid: str, series_uid: str) -> list[Instance]:
    """Return the current instances of a series whose bytes are purged or not to be trusted."""
    query = sa.select(instances).where(
        instances.c.study_uid == study_uid,
        instances.c.series_uid == series_uid,
        instances.c.current,
        instances.c.state != InstanceState.STUDY,
    )
    return [as_instance(row) for row in tx.execute(query)]


def count_of(tx: Tx, study_uid: str) -> int:
    """Return how many current instances of a study are kept."""
    query = sa.select(sa.func.count()).select_from(instances)
    return tx.execute(query.where(instances.c.study_uid == study_uid, instances.c.current)).scalar_one()


def complete_series(tx: Tx, measured: Series, *, facts: Mapping[str, Any], at: float) -> bool:
    """Record that a series fell quiet and what was measured of it; false if something arrived meanwhile."""
    done = tx.execute(
        sa.update(series)
        .where(series.c.study_uid == measured.study_uid, series.c.series_uid == measured.series_uid)
        .where(series.c.last_at == measured.last_at)
        .values(complete_at=at, facts=dict(facts))
    ).rowcount
    return bool(done)


def asked(tx: Tx, study_uid: str, *, count: int | None, kept: int, at: float) -> None:
    """Record how many instances a peer says the study has, and how many were kept at that moment."""
    tx.execute(
        sa.update(studies)
        .where(studies.c.study_uid == study_uid)
        .values(asked_at=at, asked_count=count, asked_kept=kept)
    )


def ready(tx: Tx, study: Study, *, content_digest: str, instance_count: int, reason: str, at: float) -> bool:
    """Move a gathering study to READY, unless something arrived since it was read; say whether it moved.

    A content that was decided before goes straight back to DECIDED: its decisions stand.
    """
    if not _moved(tx, study, StudyState.READY, content_digest=content_digest, ready_at=at, reason=reason):
        return False
    key = {"study_uid": study.study_uid, "content_digest": content_digest}
    new = insert_unless_there(
        tx, rounds, key | {"ready_at": at, "reason": reason, "instances": instance_count}
    )
    query = sa.select(rounds.c.routes).where(
        rounds.c.study_uid == study.study_uid, rounds.c.content_digest == content_digest
    )
    decided = not new and tx.execute(query).scalar_one() is not None
    events.add(
        tx, "assemble.ready", at=at, study_uid=study.study_uid, reason=reason, instances=instance_count
    )
    if decided:
        move(tx, study.study_uid, StudyState.READY, StudyState.DECIDED)
    return True


def hold(tx: Tx, study: Study, *, reason: str, at: float) -> bool:
    """Hold a study: nothing is decided and nothing is sent until a person looked (F35)."""
    held = _moved(tx, study, StudyState.HELD, reason=reason)
    if held:
        events.add(tx, "assemble.held", at=at, study_uid=study.study_uid, reason=reason)
    return held


def release(tx: Tx, study_uid: str, *, at: float) -> bool:
    """Let a held study gather again, so that it is judged anew; say whether it was held.

    It keeps its reason until then, which keeps its deliveries back.
    """
    done = tx.execute(
        sa.update(studies)
        .where(studies.c.study_uid == study_uid, studies.c.state == StudyState.HELD)
        .values(state=StudyState.GATHERING, gathering_since=at)
    ).rowcount
    if done:
        events.add(tx, "assemble.released", at=at, study_uid=study_uid)
    return bool(done)


def move(tx: Tx, study_uid: str, source: StudyState, target: StudyState) -> bool:
    """Move a study from one state to another; say whether it was still in the first."""
    assert target in STUDY[source], f"{source} -> {target} is not in the table"
    query = sa.update(studies).where(studies.c.study_uid == study_uid, studies.c.state == source)
    return bool(tx.execute(query.values(state=target)).rowcount)


def _moved(tx: Tx, study: Study, target: StudyState, **values: Any) -> bool:
    assert target in STUDY[study.state], f"{study.state} -> {target} is not in the table"
    query = sa.update(studies).where(
        studies.c.study_uid == study.study_uid,
        studies.c.state == study.state,
        studies.c.last_at == study.last_at,
    )
    return bool(tx.execute(query.values(state=target, **values)).rowcount)


def _study(row: Any) -> Study:
    return Study(**{**row._mapping, "state": StudyState(row.state)})


def distinct_identities(found: Sequence[Instance]) -> set[tuple[str, str]]:
    """Return the patient identities (Patient ID, Issuer of Patient ID) among instances; never log them."""
    return {
        (str(i.facts.get("PatientID") or "").strip(), str(i.facts.get("IssuerOfPatientID") or "").strip())
        for i in found
    }
