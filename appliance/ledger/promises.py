"""What peers asked the box to commit (PS3.4 J), and what they were told.

Promises: a request is a row before it is answered, and stays owed until its report was taken or given up.
What is committed is durable here at that moment, whole and not purged.
Never: keeps anything longer for it; a commitment ends with the time of keeping.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from appliance.core.words import InstanceState
from appliance.ledger import events
from appliance.ledger.commitment_tables import promises
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import instances

# A statement may hold 32,766 values in SQLite.
_UIDS_AT_ONCE: Final = 20_000
# Commitment is asked for soon after sending: these instances are found without looking through all of them.
_RECENT_SECONDS: Final = 6 * 3600.0


class PromiseState(StrEnum):
    """Where a request stands that a peer made."""

    OWED = "OWED"
    REPORTED = "REPORTED"
    GIVEN_UP = "GIVEN_UP"


class Asked(StrEnum):
    """What a request was to the box; the values are the log's words."""

    NEW = "commit.asked"
    # The same once more: its answer was lost.
    AGAIN = "commit.asked_again"
    # The Transaction UID of another request.
    CONFLICT = "commit.duplicate_transaction"
    TOO_MANY = "commit.too_many_waiting"


class Found(StrEnum):
    """What the box has of an instance that it is asked about."""

    KEPT = "kept"
    ABSENT = "absent"
    # There, and its bytes cannot be trusted.
    DOUBTED = "doubted"
    # Under another SOP Class than the one that is named.
    OTHER_CLASS = "other class"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One request; times in epoch seconds, `references` are SOP Class and SOP Instance UIDs."""

    id: int
    peer: str
    transaction_uid: str
    references: Sequence[tuple[str, str]]
    state: PromiseState
    tries: int
    asked_at: float
    due_at: float


def ask(
    tx: Tx,
    peer: str,
    transaction_uid: str,
    references: Sequence[tuple[str, str]],
    *,
    at: float,
    due_at: float,
    waiting_max: int,
) -> Asked:
    """Record a request of a peer, so that its report is owed; say what it was."""
    asked_for = [list(reference) for reference in references]
    here = {"peer": peer, "transaction_uid": transaction_uid}
    known = tx.execute(sa.select(promises).filter_by(**here)).one_or_none()
    if known is not None:
        return _again(tx, known, asked_for, due_at=due_at)
    waiting = sa.select(sa.func.count()).select_from(promises)
    if tx.execute(waiting.filter_by(peer=peer, state=PromiseState.OWED)).scalar_one() >= waiting_max:
        return Asked.TOO_MANY
    values = {
        "asked_for": asked_for,
        "state": PromiseState.OWED,
        "tries": 0,
        "asked_at": at,
        "due_at": due_at,
    }
    return Asked.NEW if insert_unless_there(tx, promises, here | values) else Asked.AGAIN


def _again(tx: Tx, known: Any, asked_for: list[list[str]], *, due_at: float) -> Asked:
    if known.asked_for != asked_for:
        return Asked.CONFLICT
    if known.state != PromiseState.OWED:
        values = {"state": PromiseState.OWED, "tries": 0, "due_at": due_at, "ended_at": None}
        tx.execute(sa.update(promises).where(promises.c.id == known.id).values(**values))
    return Asked.AGAIN


def find(tx: Tx, peer: str, transaction_uid: str) -> Promise | None:
    """Return a request by its peer and Transaction UID."""
    query = sa.select(promises).filter_by(peer=peer, transaction_uid=transaction_uid)
    row = tx.execute(query).one_or_none()
    return None if row is None else _promise(row)


def peers_due(tx: Tx, *, at: float) -> list[str]:
    """Return the peers that a report is due to."""
    query = sa.select(promises.c.peer).distinct()
    rows = tx.execute(query.where(promises.c.state == PromiseState.OWED, promises.c.due_at <= at))
    return sorted(rows.scalars())


def due(tx: Tx, peer: str, *, at: float, limit: int) -> list[Promise]:
    """Return requests of a peer whose report is due, the oldest first."""
    query = (
        sa.select(promises)
        .where(promises.c.peer == peer)
        .where(promises.c.state == PromiseState.OWED, promises.c.due_at <= at)
        .order_by(promises.c.due_at)
        .limit(limit)
    )
    return [_promise(row) for row in tx.execute(query)]


def look(tx: Tx, references: Sequence[tuple[str, str]], *, at: float) -> dict[tuple[str, str], Found]:
    """Say of each instance what the box has of it."""
    uids = sorted({uid for _, uid in references})
    rows = _instances(tx, uids, since=at - _RECENT_SECONDS)
    older = [uid for uid in uids if uid not in rows]
    rows |= _instances(tx, older, since=None)
    return {reference: _found(reference[0], rows.get(reference[1])) for reference in references}


def _instances(tx: Tx, uids: Sequence[str], *, since: float | None) -> dict[str, tuple[str, str, str]]:
    """Return SOP class, state and study of instances; of several of one UID, the one that is kept."""
    found: dict[str, tuple[str, str, str]] = {}
    recent = [instances.c.state == InstanceState.STUDY, instances.c.received_at >= since] if since else []
    for start in range(0, len(uids), _UIDS_AT_ONCE):
        query = sa.select(
            instances.c.sop_instance_uid, instances.c.sop_class_uid, instances.c.state, instances.c.study_uid
        ).where(*recent, instances.c.sop_instance_uid.in_(uids[start : start + _UIDS_AT_ONCE]))
        for uid, sop_class, state, study_uid in tx.execute(query):
            if uid not in found or state == InstanceState.STUDY:
                found[uid] = (sop_class, state, study_uid)
    return found


def _found(sop_class_uid: str, row: tuple[str, str, str] | None) -> Found:
    if row is None or row[1] == InstanceState.PURGED:
        return Found.ABSENT
    if row[1] == InstanceState.QUARANTINED:
        return Found.DOUBTED
    return Found.KEPT if row[0] == sop_class_uid else Found.OTHER_CLASS


def put_off(tx: Tx, promise: Promise, *, word: str, due_at: float, tries_max: int, at: float) -> bool:
    """Note that a report was not taken; say whether it was given up, for the peer to ask anew."""
    over = promise.tries + 1 >= tries_max
    values: dict[str, Any] = {"tries": promise.tries + 1, "word": word, "due_at": due_at}
    if over:
        values |= {"state": PromiseState.GIVEN_UP, "ended_at": at}
        events.add(tx, "commit.given_up", at=at, peer=promise.peer, references=len(promise.references))
    tx.execute(sa.update(promises).where(_owed(promise)).values(**values))
    return over


def reported(tx: Tx, promise: Promise, committed: Collection[str], *, failed: int, at: float) -> None:
    """Note that a peer took its report, on the timeline of each study too.

    `committed` are the SOP Instance UIDs that the report commits, `failed` is the count of the others.
    """
    counts = {"committed": len(committed), "failed": failed}
    values = {"state": PromiseState.REPORTED, "word": "commit.reported", "ended_at": at, **counts}
    if not tx.execute(sa.update(promises).where(_owed(promise)).values(**values)).rowcount:
        return
    rows = _instances(tx, sorted(set(committed)), since=None)
    studies = [study_uid for _, _, study_uid in rows.values()]
    for study_uid in sorted(set(studies)):
        count = studies.count(study_uid)
        events.add(tx, "commit.reported", at=at, study_uid=study_uid, peer=promise.peer, instances=count)
    if counts["failed"]:
        events.add(tx, "commit.absent", at=at, peer=promise.peer, instances=counts["failed"])


def standing(tx: Tx) -> dict[str, int]:
    """Count the requests of peers by state."""
    query = sa.select(promises.c.state, sa.func.count()).group_by(promises.c.state)
    return {row[0]: int(row[1]) for row in tx.execute(query)}


def unknown_peers(tx: Tx, peers: Collection[str], *, at: float) -> int:
    """Give up what is owed to peers that the configuration no longer names; return how many requests."""
    query = sa.update(promises).where(promises.c.state == PromiseState.OWED, promises.c.peer.not_in(peers))
    values = {"state": PromiseState.GIVEN_UP, "word": "commit.unknown_peer", "ended_at": at}
    return tx.execute(query.values(**values)).rowcount


def _owed(promise: Promise) -> sa.ColumnElement[bool]:
    return sa.and_(promises.c.id == promise.id, promises.c.state == PromiseState.OWED)


def _promise(row: Any) -> Promise:
    return Promise(
        id=row.id,
        peer=row.peer,
        transaction_uid=row.transaction_uid,
        references=[(sop_class, uid) for sop_class, uid in row.asked_for],
        state=PromiseState(row.state),
        tries=row.tries,
        asked_at=row.asked_at,
        due_at=row.due_at,
    )
