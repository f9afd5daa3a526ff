"""Deliveries: a row for each object and destination, kept until it was accepted or settled (P6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.core.words import DeliveryState, StudyState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.results import ResultObject, as_object
from appliance.ledger.states import DELIVERY
from appliance.ledger.tables import deliveries, objects, results, studies

_WAITING = (DeliveryState.PENDING, DeliveryState.LATER)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One row of `deliveries` with the study it belongs to; times in epoch seconds."""

    id: int
    object_id: int
    peer: str
    state: DeliveryState
    attempts: int
    refusals: int
    due_at: float
    status: int | None
    word: str | None
    created_at: float
    settled_at: float | None
    settled_by: str | None
    study_uid: str
    output: str


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A delivery that was taken for sending, with the object that it carries."""

    id: int
    attempts: int
    refusals: int
    study_uid: str
    item: ResultObject


def _joined() -> sa.Select[Any]:
    return (
        sa.select(deliveries, results.c.study_uid, objects.c.output)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
    )


def _due(at: float) -> list[sa.ColumnElement[bool]]:
    """What may be sent now: nothing of a study that is held, or was and is not judged anew yet (F35)."""
    doubted = sa.or_(
        studies.c.state == StudyState.HELD,
        sa.and_(studies.c.state == StudyState.GATHERING, studies.c.reason.is_not(None)),
    )
    held = (
        sa.select(deliveries.c.id)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .join(studies, studies.c.study_uid == results.c.study_uid)
        .where(doubted)
    )
    return [deliveries.c.state.in_(_WAITING), deliveries.c.due_at <= at, deliveries.c.id.not_in(held)]


def peers_due(tx: Tx, *, at: float) -> list[str]:
    """Return the peers that something is due for now."""
    return sorted(tx.execute(sa.select(deliveries.c.peer).where(*_due(at)).distinct()).scalars())


def take(tx: Tx, peer: str, *, at: float, limits: Limits) -> list[Parcel]:
    """Take the oldest deliveries due at a peer for one association; they are SENDING until settled."""
    due = (
        sa.select(deliveries.c.id, objects.c.length)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .where(deliveries.c.peer == peer, *_due(at))
        .order_by(deliveries.c.id)
        .limit(limits.delivery_batch_max)
    )
    chosen = _within(tx.execute(due), limits.delivery_batch_bytes_max)
    # Another courier may have chosen the same rows; only those this statement changed are ours.
    taken = tx.execute(
        sa.update(deliveries)
        .where(deliveries.c.id.in_(chosen), deliveries.c.state.in_(_WAITING))
        .values(
            state=DeliveryState.SENDING,
            attempts=deliveries.c.attempts + 1,
            lease_until=at + limits.delivery_lease_seconds,
        )
        .returning(deliveries.c.id)
    )
    ids = list(taken.scalars())
    query = (
        sa.select(objects, deliveries.c.id.label("delivery_id"), deliveries.c.attempts, deliveries.c.refusals)
        .add_columns(results.c.study_uid)
        .join(deliveries, deliveries.c.object_id == objects.c.id)
        .join(results, results.c.id == objects.c.result_id)
        .where(deliveries.c.id.in_(ids))
        .order_by(deliveries.c.id)
    )
    return [_parcel(row) for row in tx.execute(query)]


def _within(rows: Iterable[Any], bytes_max: int) -> list[int]:
    """Return the first rows that are together no longer than a bound; at least one."""
    chosen: list[int] = []
    total = 0
    for row in rows:
        total += row.length
        if chosen and total > bytes_max:
            break
        chosen.append(row.id)
    return chosen


def prolong(tx: Tx, parcels: Iterable[Parcel], *, at: float, limits: Limits) -> None:
    """Keep what is still to be sent of a batch: a destination may be slow without the courier being dead."""
    waiting = deliveries.c.id.in_([parcel.id for parcel in parcels])
    query = sa.update(deliveries).where(waiting, deliveries.c.state == DeliveryState.SENDING)
    tx.execute(query.values(lease_until=at + limits.delivery_lease_seconds))


def _parcel(row: Any) -> Parcel:
    return Parcel(
        id=row.delivery_id,
        attempts=row.attempts,
        refusals=row.refusals,
        study_uid=row.study_uid,
        item=as_object(row),
    )


def accepted(tx: Tx, parcel: Parcel, *, status: int | None, word: str, at: float) -> None:
    """Record that the destination answered success or a warning (F52)."""
    _settle(tx, parcel, DeliveryState.ACCEPTED, status=status, word=word, at=at, settled_at=at)


def later(
    tx: Tx, parcel: Parcel, *, status: int | None, word: str, at: float, due_at: float, refused: bool
) -> None:
    """Record an attempt that failed, and when the next one is due."""
    refusals = parcel.refusals + int(refused)
    _settle(
        tx, parcel, DeliveryState.LATER, status=status, word=word, at=at, due_at=due_at, refusals=refusals
    )


def dead(tx: Tx, parcel: Parcel, *, status: int | None, word: str, at: float) -> None:
    """Record that the destination will not take the object; a person must look (F53)."""
    _settle(tx, parcel, DeliveryState.DEAD, status=status, word=word, at=at, refusals=parcel.refusals + 1)


def _settle(
    tx: Tx, parcel: Parcel, state: DeliveryState, *, status: int | None, word: str, at: float, **values: Any
) -> None:
    assert state in DELIVERY[DeliveryState.SENDING], state
    done = tx.execute(
        sa.update(deliveries)
        .where(deliveries.c.id == parcel.id, deliveries.c.state == DeliveryState.SENDING)
        .where(deliveries.c.attempts == parcel.attempts)
        .values(state=state, status=status, word=word, lease_until=None, **values)
    ).rowcount
    if done:
        events.add(
            tx,
            word,
            at=at,
            study_uid=parcel.study_uid,
            delivery=parcel.id,
            output=parcel.item.output,
            status=status,
        )


def release_dead(tx: Tx, *, at: float, everything: bool) -> int:
    """Take back deliveries that a dead courier was sending.

    With `everything`, those whose lease still runs too.
    """
    query = sa.update(deliveries).where(deliveries.c.state == DeliveryState.SENDING)
    if not everything:
        query = query.where(deliveries.c.lease_until < at)
    return tx.execute(query.values(state=DeliveryState.LATER, due_at=at, lease_until=None)).rowcount


def of_study(tx: Tx, study_uid: str) -> list[Delivery]:
    """Return every delivery of a study's results, oldest first."""
    return _listed(tx, _joined().where(results.c.study_uid == study_uid).order_by(deliveries.c.id))


def in_state(tx: Tx, state: DeliveryState, *, limit: int) -> list[Delivery]:
    """Return deliveries in a state, newest first."""
    return _listed(
        tx, _joined().where(deliveries.c.state == state).order_by(deliveries.c.id.desc()).limit(limit)
    )


def find(tx: Tx, delivery_id: int) -> Delivery | None:
    """Return one delivery."""
    found = _listed(tx, _joined().where(deliveries.c.id == delivery_id))
    return found[0] if found else None


def settle(tx: Tx, delivery_ids: Sequence[int], *, by: str, send_again: bool, at: float) -> int:
    """Let a person end dead deliveries, or send them once more; return how many were dead."""
    target = DeliveryState.PENDING if send_again else DeliveryState.SETTLED
    assert target in DELIVERY[DeliveryState.DEAD]
    rows = [d for d in (find(tx, i) for i in delivery_ids) if d is not None and d.state is DeliveryState.DEAD]
    values: dict[str, Any] = {"state": target, "settled_by": by, "due_at": at, "refusals": 0}
    values["settled_at"] = None if send_again else at
    tx.execute(
        sa.update(deliveries)
        .where(deliveries.c.id.in_([d.id for d in rows]), deliveries.c.state == DeliveryState.DEAD)
        .values(**values)
    )
    word = "courier.again" if send_again else "courier.settled"
    for row in rows:
        events.add(tx, word, at=at, study_uid=row.study_uid, delivery=row.id, output=row.output, by=by)
    return len(rows)


def _listed(tx: Tx, query: sa.Select[Any]) -> list[Delivery]:
    fields = Delivery.__dataclass_fields__
    rows = (row._mapping for row in tx.execute(query))
    return [
        Delivery(**{k: v for k, v in row.items() if k in fields} | {"state": DeliveryState(row["state"])})
        for row in rows
    ]
