"""Rows of the audit trail, its checkpoints, and how far it was handed on.

Rows are added and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import InstanceState
from appliance.ledger.engine import Tx
from appliance.ledger.events import Event
from appliance.ledger.tables import (
    audit,
    audit_checkpoints,
    audit_shipped,
    deliveries,
    events,
    instances,
    objects,
)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A row of the timeline with its number."""

    id: int
    event: Event


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What a message says of a study: its patient, who sent it, how many instances of each SOP class."""

    patient_id: str
    calling_aes: Sequence[str]
    sop_classes: Sequence[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class DeliveryFacts:
    """What a message says of a delivery: the destination's name and the object's SOP class."""

    peer: str
    sop_class_uid: str


def untold(tx: Tx, words: Sequence[str], *, looked_back: int, limit: int) -> list[Told]:
    """Return rows of the timeline with one of `words` that are not in the trail yet, oldest first."""
    newest = tx.execute(sa.select(sa.func.max(audit.c.event_id))).scalar() or 0
    query = (
        sa.select(events)
        .where(events.c.id > newest - looked_back, events.c.word.in_(words))
        .where(~sa.exists().where(audit.c.event_id == events.c.id))
        .order_by(events.c.id)
        .limit(limit)
    )
    return [
        Told(id=row.id, event=Event(at=row.at, word=row.word, study_uid=row.study_uid, detail=row.detail))
        for row in tx.execute(query)
    ]


def head(tx: Tx) -> tuple[int, str] | None:
    """Return the number and hash of the newest row; a second writer waits here for the first."""
    query = sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1).with_for_update()
    row = tx.execute(query).one_or_none()
    return None if row is None else (row.seq, row.hash)


def add(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows: seq, event_id, at, body, hash."""
    if rows:
        tx.execute(audit.insert(), [dict(row) for row in rows])


def rows_after(tx: Tx, seq: int, *, limit: int) -> Sequence[sa.Row[Any]]:
    """Return rows behind a number, in order: seq, event_id, at, body, hash."""
    return tx.execute(sa.select(audit).where(audit.c.seq > seq).order_by(audit.c.seq).limit(limit)).all()


def add_checkpoint(tx: Tx, values: Mapping[str, Any]) -> None:
    """Add a checkpoint: seq, at, hash, key_id, signature."""
    tx.execute(audit_checkpoints.insert().values(**values))


def newest_checkpoint(tx: Tx) -> sa.Row[Any] | None:
    """Return the newest checkpoint, if there is one."""
    return tx.execute(
        sa.select(audit_checkpoints).order_by(audit_checkpoints.c.seq.desc()).limit(1)
    ).one_or_none()


def checkpoints(tx: Tx) -> Sequence[sa.Row[Any]]:
    """Return every checkpoint, oldest first."""
    return tx.execute(sa.select(audit_checkpoints).order_by(audit_checkpoints.c.seq)).all()


def shipped(tx: Tx, repository: str) -> int:
    """Return the number of the last row that a repository was given; 0 for none."""
    query = sa.select(audit_shipped.c.seq).where(audit_shipped.c.repository == repository)
    return int(tx.execute(query).scalar() or 0)


def note_shipped(tx: Tx, repository: str, seq: int, *, at: float) -> None:
    """Record how far a repository was given the trail."""
    here = audit_shipped.c.repository == repository
    if not tx.execute(sa.update(audit_shipped).where(here).values(seq=seq, at=at)).rowcount:
        tx.execute(audit_shipped.insert().values(repository=repository, seq=seq, at=at))


def study_facts(tx: Tx, study_uid: str) -> StudyFacts:
    """Return what is known of a study's instances, those that were purged since included."""
    here = instances.c.study_uid == study_uid
    example = tx.execute(
        sa.select(instances.c.facts).where(here).order_by(instances.c.id.desc()).limit(1)
    ).scalar()
    senders = tx.execute(sa.select(instances.c.calling_ae).where(here).distinct()).scalars()
    kept = here & (instances.c.state == InstanceState.STUDY) & instances.c.current
    counts = tx.execute(
        sa.select(instances.c.sop_class_uid, sa.func.count()).where(kept).group_by(instances.c.sop_class_uid)
    )
    return StudyFacts(
        patient_id=str((example or {}).get("PatientID") or ""),
        calling_aes=sorted(senders),
        sop_classes=sorted((row[0], row[1]) for row in counts),
    )


def delivery_facts(tx: Tx, delivery_id: int) -> DeliveryFacts | None:
    """Return where a delivery goes and what it carries."""
    query = (
        sa.select(deliveries.c.peer, objects.c.sop_class_uid)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .where(deliveries.c.id == delivery_id)
    )
    row = tx.execute(query).one_or_none()
    return None if row is None else DeliveryFacts(peer=row.peer, sop_class_uid=row.sop_class_uid)
