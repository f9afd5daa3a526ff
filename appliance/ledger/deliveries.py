"""Deliveries: a row for each object and destination, kept until it was accepted or settled (P6).

Promises: a study's objects go to a peer in the order they were made, so nothing that waits for another try
ever arrives after what superseded it (F51).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.core.words import DeliveryState, StudyState
from appliance.ledger import events, tables
from appliance.ledger.engine import Tx
from appliance.ledger.results import ResultObject, as_object
from appliance.ledger.states import DELIVERY
from appliance.ledger.tables import UNSETTLED, deliveries, objects, results, studies, uncommitted

_WAITING = (DeliveryState.PENDING, DeliveryState.LATER)
# As literal text: SQLite uses a partial index only where it can see that the condition is the index's.
_UNSETTLED = sa.text(f"deliveries.{UNSETTLED}")
# Who ended a delivery for which another object went.
BY_FALLBACK = "fallback"


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
    instead_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A delivery that was taken for sending, with the object that it carries."""

    id: int
    peer: str
    attempts: int
    refusals: int
    study_uid: str
    item: ResultObject
    instead_of: str | None = None


def _joined() -> sa.Select[Any]:
    return (
        sa.select(deliveries, results.c.study_uid, objects.c.output)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
    )


def _due(peer: str, at: float) -> sa.Select[Any]:
    """Select what may be sent to a peer now, in the order it was made.

    Nothing of a study that is held, or was and is not judged anew yet (F35); nothing while what it
    replaces is not settled with that peer (F51).
    """
    return (
        sa.select(deliveries.c.id, objects.c.length)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .where(deliveries.c.peer == peer, _UNSETTLED, deliveries.c.due_at <= at)
        .where(deliveries.c.state != DeliveryState.SENDING, deliveries.c.id.not_in(_doubted()))
        .where(~_behind())
        .order_by(deliveries.c.object_id)
    )


def _doubted() -> sa.Select[Any]:
    """Select the deliveries of studies that a person must judge first."""
    doubted = sa.or_(
        studies.c.state == StudyState.HELD,
        sa.and_(studies.c.state == StudyState.GATHERING, studies.c.reason.is_not(None)),
    )
    sent, item, result = deliveries.alias(), objects.alias(), results.alias()
    return (
        sa.select(sent.c.id)
        .join(item, item.c.id == sent.c.object_id)
        .join(result, result.c.id == item.c.result_id)
        .join(studies, studies.c.study_uid == result.c.study_uid)
        .where(doubted)
    )


def _behind() -> sa.ColumnElement[bool]:
    """Say whether something must be settled with the same peer first: what a result replaces.

    Objects of one result do not wait for one another, nor for those of other routes: what a peer refuses for
    now holds up nothing else. But a rejection note comes after all that stands in the place of what it takes,
    and where the peer has to commit that, after it did.
    """
    older, item, result = (
        deliveries.alias("older"),
        objects.alias("older_item"),
        results.alias("older_result"),
    )
    to_commit = sa.exists().where(uncommitted.c.delivery_id == older.c.id, uncommitted.c.ended_at.is_(None))
    waits = sa.and_(
        sa.or_(
            older.c.state.in_([DeliveryState.SENDING, *_WAITING]),
            sa.and_(objects.c.output == "iocm", to_commit),
        ),
        sa.or_(result.c.id < results.c.id, objects.c.output == "iocm"),
    )
    # A rejection note takes the former result away: never before the new one has arrived.
    lost = sa.and_(
        objects.c.output == "iocm", older.c.state == DeliveryState.DEAD, result.c.id == results.c.id
    )
    return (
        sa.select(sa.literal(1))
        .select_from(result)
        .join(item, item.c.result_id == result.c.id)
        .join(older, older.c.object_id == item.c.id)
        .where(result.c.study_uid == results.c.study_uid, result.c.route == results.c.route)
        .where(older.c.peer == deliveries.c.peer)
        .where(older.c.object_id < deliveries.c.object_id, sa.or_(waits, lost))
        .correlate(deliveries, objects, results)
        .exists()
    )


def peers_due(tx: Tx, *, at: float) -> list[str]:
    """Return the peers that something is due for now."""
    waiting = tx.execute(sa.select(deliveries.c.peer).where(_UNSETTLED).distinct()).scalars()
    return sorted(peer for peer in waiting if tx.execute(_due(peer, at).limit(1)).first() is not None)


def take(tx: Tx, peer: str, *, at: float, limits: Limits) -> list[Parcel]:
    """Take the oldest deliveries due at a peer for one association; they are SENDING until settled."""
    due = _due(peer, at).limit(limits.delivery_batch_max)
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
        .add_columns(results.c.study_uid, deliveries.c.peer, deliveries.c.instead_of)
        .join(deliveries, deliveries.c.object_id == objects.c.id)
        .join(results, results.c.id == objects.c.result_id)
        .where(deliveries.c.id.in_(ids))
        .order_by(deliveries.c.object_id)
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
        peer=row.peer,
        attempts=row.attempts,
        refusals=row.refusals,
        study_uid=row.study_uid,
        item=as_object(row),
        instead_of=row.instead_of,
    )


def accepted(tx: Tx, parcel: Parcel, *, status: int | None, word: str, at: float) -> bool:
    """Record that the destination answered success or a warning (F52); say whether it was ours to record."""
    return _settle(tx, parcel, DeliveryState.ACCEPTED, status=status, word=word, at=at, settled_at=at)


def later(
    tx: Tx, parcel: Parcel, *, status: int | None, word: str, at: float, due_at: float, refused: bool
) -> None:
    """Record an attempt that failed, and when the next one is due."""
    refusals = parcel.refusals + int(refused)
    _settle(
        tx, parcel, DeliveryState.LATER, status=status, word=word, at=at, due_at=due_at, refusals=refusals
    )


def failures(tx: Tx, parcel: Parcel) -> int:
    """Return how often the destination was asked and did not take the object.

    An attempt that ended because the courier itself died is none of them.
    """
    told = tables.events.c
    query = sa.select(sa.func.count()).where(
        told.study_uid == parcel.study_uid, told.detail["delivery"].as_integer() == parcel.id
    )
    return int(tx.execute(query).scalar_one())


def stood_in(tx: Tx, parcel: Parcel, *, output: str, wanted: str, at: float) -> bool:
    """End a delivery because another object goes in its place; say whether it was ours to end."""
    return _settle(
        tx,
        parcel,
        DeliveryState.SETTLED,
        status=None,
        word="courier.stands_in",
        at=at,
        detail={"output": output, "wanted": wanted},
        refusals=parcel.refusals + 1,
        settled_at=at,
        settled_by=BY_FALLBACK,
    )


def dead(tx: Tx, parcel: Parcel, *, status: int | None, word: str, at: float) -> None:
    """Record that the destination will not take the object; a person must look (F53)."""
    _settle(tx, parcel, DeliveryState.DEAD, status=status, word=word, at=at, refusals=parcel.refusals + 1)


def _settle(
    tx: Tx, parcel: Parcel, state: DeliveryState, *, status: int | None, word: str, at: float,
    detail: Mapping[str, Any] | None = None, **values: Any,
) -> bool:  # fmt: skip
    assert state in DELIVERY[DeliveryState.SENDING], state
    done = tx.execute(
        sa.update(deliveries)
        .where(deliveries.c.id == parcel.id, deliveries.c.state == DeliveryState.SENDING)
        .where(deliveries.c.attempts == parcel.attempts)
        .values(state=state, status=status, word=word, lease_until=None, **values)
    ).rowcount
    if done:
        said = {"delivery": parcel.id, "output": parcel.item.output, "status": status} | dict(detail or {})
        events.add(tx, word, at=at, study_uid=parcel.study_uid, **said)
    return bool(done)


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
