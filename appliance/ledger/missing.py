"""Studies that a PACS has and the box has not, and what was done about each.

Promises: an instance that was ever kept is not absent, wherever it is now, nor is an object of the box's own.
What may still be on its way waits and is not counted as missed.
Never: asks anybody; a row that ended is opened again only by a new look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there, not_found
from appliance.ledger.tables import instances, looks, missed, objects


class MissedState(StrEnum):
    """Where a study stands that a PACS has and the box has not."""

    # It may be on its way.
    WAITING = "WAITING"
    MISSED = "MISSED"
    ARRIVED = "ARRIVED"
    FETCHED = "FETCHED"
    # The PACS has it no longer.
    GONE = "GONE"


_OPEN = (MissedState.WAITING, MissedState.MISSED)
_TELLING = {MissedState.FETCHED: "reconcile.fetched", MissedState.GONE: "reconcile.gone"}


@dataclass(frozen=True, kw_only=True)
class Missed:
    """One row; times in epoch seconds."""

    study_uid: str
    peer: str
    state: MissedState
    absent: int
    tries: int
    word: str | None
    first_at: float
    due_at: float
    tried_at: float | None
    ended_at: float | None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the box stands beside the PACS that it asks.

    Attributes:
        studies: that are missed, after the time of grace.
        waiting: that may still be on their way.
        looked_at: peer -> when it last said what it has, in epoch seconds; None when it never did.
    """

    studies: int
    waiting: int
    looked_at: Mapping[str, float | None]


def absent(tx: Tx, sop_instance_uids: Collection[str]) -> set[str]:
    """Return those of the instances that were never kept here, nor made here."""
    queries = (sa.select(table.c.sop_instance_uid) for table in (instances, objects))
    return not_found(tx, sop_instance_uids, *queries)


def images_had(tx: Tx, study_uid: str) -> int:
    """Count the instances of a study that were ever kept, without the box's own that came back."""
    own = sa.exists().where(objects.c.sop_instance_uid == instances.c.sop_instance_uid)
    query = sa.select(sa.func.count(sa.distinct(instances.c.sop_instance_uid)))
    return int(tx.execute(query.where(instances.c.study_uid == study_uid, ~own)).scalar_one())


def looked(tx: Tx, peer: str, *, studies: int, at: float) -> None:
    """Record that a peer said what it has."""
    if not insert_unless_there(tx, looks, {"peer": peer, "at": at, "studies": studies}):
        tx.execute(sa.update(looks).where(looks.c.peer == peer).values(at=at, studies=studies))


def note(tx: Tx, peer: str, study_uid: str, *, absent: int, at: float, due_at: float) -> None:
    """Record that a peer has images that the box has not; what is noted and open already stays."""
    key = {"study_uid": study_uid, "peer": peer}
    fresh: dict[str, Any] = {"state": MissedState.WAITING, "absent": absent, "tries": 0, "word": None}
    fresh |= {"first_at": at, "due_at": due_at, "tried_at": None, "ended_at": None}
    if not insert_unless_there(tx, missed, key | fresh):
        ended = missed.c.state.not_in(_OPEN)
        tx.execute(sa.update(missed).filter_by(**key).where(ended).values(**fresh))


def due(tx: Tx, peer: str, *, at: float) -> list[Missed]:
    """Return what is to be looked into again at one peer, the longest due first."""
    query = sa.select(missed).where(missed.c.state.in_(_OPEN), missed.c.peer == peer, missed.c.due_at <= at)
    return [_missed(row) for row in tx.execute(query.order_by(missed.c.due_at, missed.c.study_uid))]


def of_peer(tx: Tx, peer: str) -> list[Missed]:
    """Return every row of a peer, ended or not, by study."""
    query = sa.select(missed).where(missed.c.peer == peer).order_by(missed.c.study_uid)
    return [_missed(row) for row in tx.execute(query)]


def of_study(tx: Tx, study_uid: str) -> list[Missed]:
    """Return every row of a study, ended or not, by peer."""
    query = sa.select(missed).where(missed.c.study_uid == study_uid).order_by(missed.c.peer)
    return [_missed(row) for row in tx.execute(query)]


def put_off(tx: Tx, row: Missed, *, due_at: float) -> None:
    """Look into it later."""
    _change(tx, row, due_at=due_at)


def is_missed(tx: Tx, row: Missed, *, absent: int, at: float) -> None:
    """Record that it did not arrive in time; said once in the study's timeline."""
    _change(tx, row, state=MissedState.MISSED, absent=absent)
    if row.state is not MissedState.MISSED:
        events.add(tx, "reconcile.missed", at=at, study_uid=row.study_uid, peer=row.peer, absent=absent)


def tried(tx: Tx, row: Missed, *, word: str, failed: int, at: float, due_at: float) -> None:
    """Record what a fetch came to, in the peer's words; whether everything came is seen later."""
    _change(tx, row, word=word, tries=row.tries + 1, tried_at=at, due_at=due_at)
    if word != "move.done":
        detail = {"peer": row.peer, "reason": word, "failed": failed}
        events.add(tx, "reconcile.incomplete", at=at, study_uid=row.study_uid, **detail)


def end(tx: Tx, row: Missed, state: MissedState, *, at: float) -> None:
    """Record that nothing is absent any more, and why."""
    _change(tx, row, state=state, absent=0, ended_at=at)
    if word := _TELLING.get(state):
        events.add(tx, word, at=at, study_uid=row.study_uid, peer=row.peer)


def standing(tx: Tx, peers: Sequence[str]) -> Standing:
    """Return how the box stands beside the peers that it asks; others that it once asked do not count."""
    count = sa.func.count(sa.distinct(missed.c.study_uid))
    query = sa.select(missed.c.state, count).where(missed.c.peer.in_(peers), missed.c.state.in_(_OPEN))
    counted = {row[0]: int(row[1]) for row in tx.execute(query.group_by(missed.c.state))}
    said = {row.peer: row.at for row in tx.execute(sa.select(looks).where(looks.c.peer.in_(peers)))}
    return Standing(
        studies=counted.get(MissedState.MISSED, 0),
        waiting=counted.get(MissedState.WAITING, 0),
        looked_at={peer: said.get(peer) for peer in peers},
    )


def _change(tx: Tx, row: Missed, **values: Any) -> None:
    key = {"study_uid": row.study_uid, "peer": row.peer}
    tx.execute(sa.update(missed).filter_by(**key).values(**values))


def _missed(row: Any) -> Missed:
    return Missed(**{**row._mapping, "state": MissedState(row.state)})
