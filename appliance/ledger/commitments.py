"""What peers have to commit of what they accepted (PS3.4 J): asked for, answered, lost, silent.

Promises: an object that its peer does not commit is sent again, and after a bound a person must look (F54);
an answer counts for the deliveries that its Transaction UID asked about, and for no others. What something
newer replaced at the peer is not sent again behind it (F51).
Never: talks to a peer; ends a delivery that is not ACCEPTED, but for one that a peer commits after all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.core.limits import Limits
from appliance.core.words import DeliveryState
from appliance.ledger import events
from appliance.ledger.commitment_tables import UNENDED, commitments, uncommitted
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.states import DELIVERY
from appliance.ledger.tables import UNSETTLED, deliveries, objects, results

# As literal text: SQLite uses a partial index only where it can see that the condition is the index's.
_OPEN = sa.text(f"uncommitted.{UNENDED}")
# PS3.4 J.3.3.1: the peer could not look, or knows this Transaction UID; neither says that an object is lost.
_ASK_AGAIN = frozenset({0x0131, 0x0213})
# Who ended a delivery that a newer result replaced.
BY_NEWER = "newer result"
# For these a delivery died of its commitment alone: the object was accepted, and may be committed yet.
_DEAD_WORDS = ("confirm.silent", "confirm.refused")


class CommitmentState(StrEnum):
    """What became of one request."""

    # It may have reached the peer: a report may come.
    ASKED = "ASKED"
    TAKEN = "TAKEN"
    REPORTED = "REPORTED"
    SILENT = "SILENT"
    NOT_TAKEN = "NOT_TAKEN"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One delivery that its peer has to commit."""

    delivery_id: int
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the box stands with a peer.

    Attributes:
        to_ask: deliveries that it is to be asked about.
        asked: deliveries that it was asked about and did not answer yet.
        oldest_at: when the first of them was accepted, in epoch seconds.
    """

    to_ask: int
    asked: int
    oldest_at: float


def want(tx: Tx, delivery_id: int, peer: str, *, due_at: float) -> None:
    """Open the row of a delivery that was accepted now; one that was lost before keeps that count."""
    fresh = {"commitment_id": None, "asks": 0, "refusals": 0, "due_at": due_at, "ended_at": None}
    if not insert_unless_there(
        tx, uncommitted, fresh | {"delivery_id": delivery_id, "peer": peer, "losses": 0}
    ):
        tx.execute(sa.update(uncommitted).where(uncommitted.c.delivery_id == delivery_id).values(**fresh))


def unwant(tx: Tx, peers: Collection[str], *, at: float) -> int:
    """End what waits for peers that need not commit any more; return how many deliveries."""
    query = sa.update(uncommitted).where(_OPEN, uncommitted.c.peer.not_in(peers))
    return tx.execute(query.values(ended_at=at)).rowcount


def due(tx: Tx, peer: str, *, at: float, limit: int) -> list[Wanted]:
    """Return what a peer may be asked about: objects of results of which nothing is on its way to it.

    But for a rejection note, which waits until the others are committed.
    """
    mine, other = objects.alias("mine"), objects.alias("other")
    on_its_way = (
        sa.select(sa.literal(1))
        .select_from(deliveries)
        .join(other, other.c.id == deliveries.c.object_id)
        .where(other.c.result_id == mine.c.result_id, deliveries.c.peer == peer)
        .where(sa.text(f"deliveries.{UNSETTLED}"), other.c.output != "iocm")
        .correlate(mine)
        .exists()
    )
    sent = deliveries.alias("sent")
    query = (
        sa.select(sent.c.id, mine.c.sop_class_uid, mine.c.sop_instance_uid)
        .select_from(uncommitted)
        .join(sent, sent.c.id == uncommitted.c.delivery_id)
        .join(mine, mine.c.id == sent.c.object_id)
        .where(_OPEN, uncommitted.c.peer == peer, uncommitted.c.due_at <= at)
        .where(uncommitted.c.commitment_id.is_(None), ~on_its_way)
        .order_by(uncommitted.c.due_at, sent.c.id)
        .limit(limit)
    )
    return [
        Wanted(delivery_id=row[0], sop_class_uid=row[1], sop_instance_uid=row[2]) for row in tx.execute(query)
    ]


def ask(tx: Tx, peer: str, transaction_uid: str, wanted: Sequence[Wanted], *, at: float, until: float) -> int:
    """Record a request before it is made; return its id. A report is waited for `until`, epoch seconds."""
    ids = [one.delivery_id for one in wanted]
    made = commitments.insert().values(
        transaction_uid=transaction_uid,
        peer=peer,
        state=CommitmentState.ASKED,
        asked_for=ids,
        asked_at=at,
    )
    commitment_id = int(tx.execute(made.returning(commitments.c.id)).scalar_one())
    here = sa.update(uncommitted).where(_OPEN, uncommitted.c.delivery_id.in_(ids))
    tx.execute(here.values(commitment_id=commitment_id, due_at=until))
    return commitment_id


def taken(tx: Tx, commitment_id: int, *, until: float) -> None:
    """Record that the peer took a request; the report may have come before this."""
    _move(tx, commitment_id, CommitmentState.TAKEN, word="confirm.asked")
    tx.execute(sa.update(uncommitted).where(_OPEN, _of(commitment_id)).values(due_at=until))


def not_taken(
    tx: Tx, commitment_id: int, *, word: str, at: float, due_at: float, refused: bool, limits: Limits
) -> None:
    """Record that a request was not taken; one that is refused too often is for a person."""
    _move(tx, commitment_id, CommitmentState.NOT_TAKEN, word=word, at=at)
    rows = _rows(tx, _of(commitment_id))
    values = {"commitment_id": None, "due_at": due_at, "refusals": uncommitted.c.refusals + int(refused)}
    tx.execute(sa.update(uncommitted).where(_OPEN, _of(commitment_id)).values(**values))
    for row in rows:
        if refused and row.refusals + 1 >= limits.refusals_max:
            _end(tx, row, DeliveryState.DEAD, word="confirm.refused", at=at)


def asks_of(tx: Tx, wanted: Sequence[Wanted]) -> int:
    """Return how often the most patient of some deliveries was asked about without an answer."""
    ids = [one.delivery_id for one in wanted]
    query = sa.select(sa.func.max(uncommitted.c.asks)).where(uncommitted.c.delivery_id.in_(ids))
    return int(tx.execute(query).scalar() or 0)


def is_overdue(tx: Tx, peer: str, *, at: float) -> bool:
    """Say whether a report of a peer is overdue."""
    query = sa.select(sa.literal(1)).select_from(uncommitted).where(_OPEN, *_overdue(peer, at)).limit(1)
    return tx.execute(query).first() is not None


def _overdue(peer: str, at: float) -> list[sa.ColumnElement[bool]]:
    waits = uncommitted.c.commitment_id.is_not(None)
    return [uncommitted.c.peer == peer, uncommitted.c.due_at <= at, waits]


def expire(tx: Tx, peer: str, *, at: float, limits: Limits) -> int:
    """Wait no longer for overdue reports: ask again, or call a person; return for how many deliveries."""
    overdue = _rows(tx, *_overdue(peer, at))
    for row in overdue:
        _move(tx, row.commitment_id, CommitmentState.SILENT, word="confirm.unanswered", at=at)
        _ask_once_more(tx, row, at=at, limits=limits)
    return len(overdue)


def reported(
    tx: Tx,
    peer: str,
    transaction_uid: str,
    *,
    committed: Collection[str],
    failed: Mapping[str, int],
    at: float,
    limits: Limits,
) -> bool:
    """Take a peer's report: SOP Instance UIDs that it committed, and those it did not, with its reasons.

    Returns False when no such request was ever made of this peer. A failure that an older request met says
    nothing, nor does its success once the object was lost; what the report leaves out stays open.
    """
    made = tx.execute(
        sa.select(commitments).filter_by(transaction_uid=transaction_uid, peer=peer)
    ).one_or_none()
    if made is None:
        return False
    _move(tx, made.id, CommitmentState.REPORTED, word="confirm.reported", at=at)
    for row in _rows(tx, uncommitted.c.delivery_id.in_(made.asked_for), is_open=False):
        is_newest = row.commitment_id == made.id
        if row.sop_instance_uid in failed:
            if is_newest and row.ended_at is None:
                _failed(tx, row, failed[row.sop_instance_uid], at=at, limits=limits)
        elif row.sop_instance_uid in committed and (is_newest or not row.losses):
            _committed(tx, row, at=at)
    return True


def standing(tx: Tx) -> dict[str, Standing]:
    """Return how the box stands with each peer that has something to commit."""
    asked = sa.func.count(uncommitted.c.commitment_id)
    query = (
        sa.select(uncommitted.c.peer, sa.func.count(), asked, sa.func.min(deliveries.c.settled_at))
        .join(deliveries, deliveries.c.id == uncommitted.c.delivery_id)
        .where(_OPEN)
        .group_by(uncommitted.c.peer)
        .order_by(uncommitted.c.peer)
    )
    return {
        peer: Standing(to_ask=count - open_, asked=open_, oldest_at=oldest or 0.0)
        for peer, count, open_, oldest in tx.execute(query)
    }


def astray() -> sa.ColumnElement[bool]:
    """Write the condition that a row of `uncommitted` is open and its delivery not accepted."""
    here = deliveries.c.id == uncommitted.c.delivery_id
    return sa.and_(_OPEN, ~sa.exists().where(here, deliveries.c.state == DeliveryState.ACCEPTED))


def _failed(tx: Tx, row: Any, reason: int, *, at: float, limits: Limits) -> None:
    """Send what a peer does not have again, unless it lost it too often or a newer result is there."""
    if reason in _ASK_AGAIN:
        _ask_once_more(tx, row, at=at, limits=limits)
    elif _is_replaced(tx, row):
        _end(tx, row, DeliveryState.SETTLED, word="confirm.replaced", at=at, status=reason)
    elif row.losses + 1 >= limits.commitment_losses_max:
        _end(tx, row, DeliveryState.DEAD, word="confirm.lost", at=at, status=reason)
    else:
        _end(tx, row, DeliveryState.LATER, word="confirm.missing", at=at, status=reason)


def _ask_once_more(tx: Tx, row: Any, *, at: float, limits: Limits) -> None:
    if row.asks + 1 >= limits.commitment_asks_max:
        _end(tx, row, DeliveryState.DEAD, word="confirm.silent", at=at)
        return
    here = sa.update(uncommitted).where(uncommitted.c.delivery_id == row.delivery_id)
    due_at = at + limits.commitment_settle_seconds
    tx.execute(here.values(commitment_id=None, asks=uncommitted.c.asks + 1, due_at=due_at))
    _tell(tx, row, "confirm.unanswered", at=at)


def _committed(tx: Tx, row: Any, *, at: float) -> None:
    """End a delivery well; one that a person has to look at or ended because nobody committed it, too."""
    given_up = row.state in (DeliveryState.DEAD, DeliveryState.SETTLED) and row.word in _DEAD_WORDS
    if row.state == DeliveryState.ACCEPTED or given_up:
        _end(tx, row, DeliveryState.COMMITTED, word="confirm.committed", at=at)


def _end(tx: Tx, row: Any, state: DeliveryState, *, word: str, at: float, status: int | None = None) -> None:
    """Move a delivery, and end the row that waits for its commitment."""
    assert state in DELIVERY[DeliveryState(row.state)], (row.state, state)
    values: dict[str, Any] = {"state": state, "word": word, "settled_at": at}
    if status is not None:
        values["status"] = status
    losses = row.losses
    if state is DeliveryState.LATER:
        values |= {"due_at": at, "settled_at": None}
        losses += 1
    elif state is DeliveryState.DEAD:
        # A person begins anew.
        values["settled_at"], losses = None, 0
    elif state is DeliveryState.SETTLED:
        values["settled_by"] = BY_NEWER
    tx.execute(sa.update(deliveries).where(deliveries.c.id == row.delivery_id).values(**values))
    here = sa.update(uncommitted).where(uncommitted.c.delivery_id == row.delivery_id)
    tx.execute(here.values(ended_at=at, losses=losses))
    _tell(tx, row, word, at=at, status=status)


def _tell(tx: Tx, row: Any, word: str, *, at: float, status: int | None = None) -> None:
    detail = {"delivery": row.delivery_id, "output": row.output, "status": status}
    events.add(tx, word, at=at, study_uid=row.study_uid, **detail)


def _is_replaced(tx: Tx, row: Any) -> bool:
    """Say whether a newer result of the same route is at the peer, or on its way there now."""
    there = (DeliveryState.SENDING, DeliveryState.ACCEPTED, DeliveryState.COMMITTED)
    query = (
        sa.select(sa.literal(1))
        .select_from(results)
        .join(objects, objects.c.result_id == results.c.id)
        .join(deliveries, deliveries.c.object_id == objects.c.id)
        .where(results.c.study_uid == row.study_uid, results.c.route == row.route)
        .where(results.c.id > row.result_id, deliveries.c.peer == row.peer)
        .where(deliveries.c.state.in_(there))
        .limit(1)
    )
    return tx.execute(query).first() is not None


def _move(tx: Tx, commitment_id: int, state: CommitmentState, *, word: str, at: float | None = None) -> None:
    """Change the state of a request; a report that came is not undone by what is noted after it."""
    here = sa.update(commitments).where(commitments.c.id == commitment_id)
    if state is not CommitmentState.REPORTED:
        here = here.where(commitments.c.state != CommitmentState.REPORTED)
    tx.execute(here.values(state=state, word=word, ended_at=at))


def _of(commitment_id: int) -> sa.ColumnElement[bool]:
    return uncommitted.c.commitment_id == commitment_id


def _rows(tx: Tx, *conditions: sa.ColumnElement[bool], is_open: bool = True) -> Sequence[Any]:
    """Return rows of `uncommitted` with their deliveries and objects; nobody else changes them now."""
    query = (
        sa.select(uncommitted, deliveries.c.state, deliveries.c.word, objects.c.sop_instance_uid)
        .add_columns(objects.c.output, objects.c.result_id, results.c.study_uid, results.c.route)
        .join(deliveries, deliveries.c.id == uncommitted.c.delivery_id)
        .join(objects, objects.c.id == deliveries.c.object_id)
        .join(results, results.c.id == objects.c.result_id)
        .where(*conditions)
        .order_by(uncommitted.c.delivery_id)
        .with_for_update(of=[uncommitted, deliveries])
    )
    return tx.execute(query.where(_OPEN) if is_open else query).all()
