"""What peers said belongs to a study: availability and performed steps (PS3.4 R, F.7).

Promises: a notice is a row before it is answered; the same one again changes nothing; a step that ended is
changed no more; what is old is forgotten but for its row.
Never: makes a study ready, or opens one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from appliance.core.words import StudyState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.notice_tables import LIVE, announced, notices
from appliance.ledger.returned import is_derived
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import studies

# PS3.16 CID 9300: incorrect worklist entry selected. The images may be of somebody else.
WRONG_ENTRY: Final = "110514"
_ROWS_AT_ONCE: Final = 5_000


class NoticeKind(StrEnum):
    """What a notice is: of availability, or of a performed step."""

    AVAILABILITY = "IAN"
    STEP = "MPPS"


class NoticeState(StrEnum):
    """What a notice says; the last three are those of a performed step (PS3.3 C.4.14)."""

    AVAILABLE = "AVAILABLE"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class Taken(StrEnum):
    """What a notice or a change of one was to the box; the values are the log's words."""

    NEW = "notice.taken"
    DUPLICATE = "notice.duplicate"
    TOO_MANY = "notice.too_many_open"
    UNKNOWN = "notice.unknown"
    ENDED = "notice.no_longer_updated"


_WORDS = {
    NoticeState.AVAILABLE: "notice.available",
    NoticeState.IN_PROGRESS: "notice.in_progress",
    NoticeState.COMPLETED: "notice.completed",
    NoticeState.DISCONTINUED: "notice.discontinued",
}


class Named(NamedTuple):
    """One instance that a notice names, and whether as an image."""

    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    is_image: bool = True


@dataclass(frozen=True, kw_only=True)
class Room:
    """How much of one peer's notices may count at once."""

    notices_max: int
    instances_max: int


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One row; times in epoch seconds."""

    id: int
    peer: str
    kind: NoticeKind
    notice_uid: str
    study_uid: str
    state: NoticeState
    reason: str | None
    series: int
    instances: int
    at: float
    changed_at: float
    compared_at: float | None
    ended_at: float | None


def take(
    tx: Tx,
    peer: str,
    kind: NoticeKind,
    notice_uid: str,
    study_uids: Sequence[str],
    named: Sequence[Named],
    *,
    at: float,
    room: Room,
) -> Taken:
    """Record a notice of some studies, each once; say what it was."""
    if tx.execute(sa.select(notices.c.id).filter_by(peer=peer, notice_uid=notice_uid).limit(1)).first():
        return Taken.DUPLICATE
    if not _has_room(tx, peer, len(study_uids), len(study_uids) * len(named), room):
        return Taken.TOO_MANY
    state = NoticeState.AVAILABLE if kind is NoticeKind.AVAILABILITY else NoticeState.IN_PROGRESS
    for study_uid in study_uids:
        key = {"peer": peer, "notice_uid": notice_uid, "study_uid": study_uid}
        values = {"kind": kind, "state": state, "at": at, "changed_at": at} | _sizes(named)
        if not insert_unless_there(tx, notices, key | values):
            # Another process was faster with the same.
            return Taken.DUPLICATE
        notice_id = tx.execute(sa.select(notices.c.id).filter_by(**key)).scalar_one()
        _name(tx, notice_id, named)
        _tell(tx, peer, study_uid, state, instances=len(named), at=at)
    return Taken.NEW


def change(
    tx: Tx,
    peer: str,
    notice_uid: str,
    *,
    state: NoticeState | None,
    named: Sequence[Named] | None,
    reason: str,
    at: float,
    room: Room,
) -> Taken:
    """Record what changed about a step that is in progress; None leaves what was said before."""
    rows = [
        _notice(row) for row in tx.execute(sa.select(notices).filter_by(peer=peer, notice_uid=notice_uid))
    ]
    if not rows or rows[0].kind is not NoticeKind.STEP:
        return Taken.UNKNOWN
    if rows[0].state is not NoticeState.IN_PROGRESS:
        return Taken.ENDED
    if named is not None and not _has_room(tx, peer, 0, len(rows) * len(named), room):
        return Taken.TOO_MANY
    # What was forgotten in the meantime counts again.
    values: dict[str, Any] = {"changed_at": at, "compared_at": None, "ended_at": None}
    if state is not None:
        values |= {"state": state, "reason": reason or None}
    if named is not None:
        values |= _sizes(named)
    for row in rows:
        tx.execute(sa.update(notices).where(notices.c.id == row.id).values(**values))
        if named is not None:
            tx.execute(sa.delete(announced).where(announced.c.notice_id == row.id))
            _name(tx, row.id, named)
        if state not in (None, NoticeState.IN_PROGRESS):
            count = row.instances if named is None else len(named)
            _tell(tx, peer, row.study_uid, state, instances=count, at=at, reason=reason)
    return Taken.NEW


def of_study(tx: Tx, study_uid: str) -> list[Notice]:
    """Return every notice of a study, oldest first."""
    query = sa.select(notices).where(notices.c.study_uid == study_uid).order_by(notices.c.at, notices.c.id)
    return [_notice(row) for row in tx.execute(query)]


def expire(tx: Tx, *, before: float, at: float, limit: int) -> int:
    """End notices that said nothing new since `before`, and forget their instances; return how many.

    One of a study that still gathers stays. One whose study never came is told of.
    """
    gathers = sa.exists().where(
        studies.c.study_uid == notices.c.study_uid, studies.c.state == StudyState.GATHERING
    )
    query = sa.select(notices).where(sa.text(f"notices.{LIVE}"), notices.c.changed_at <= before, ~gathers)
    rows = [_notice(row) for row in tx.execute(query.order_by(notices.c.changed_at).limit(limit))]
    ids = [row.id for row in rows]
    tx.execute(sa.delete(announced).where(announced.c.notice_id.in_(ids)))
    tx.execute(sa.update(notices).where(notices.c.id.in_(ids)).values(ended_at=at))
    for row in rows:
        if not tx.execute(sa.select(studies.c.study_uid).filter_by(study_uid=row.study_uid)).first():
            detail = {"peer": row.peer, "instances": row.instances}
            events.add(tx, "notice.expired", at=at, study_uid=row.study_uid, **detail)
    return len(rows)


def _has_room(tx: Tx, peer: str, more_notices: int, more_instances: int, room: Room) -> bool:
    sizes = sa.func.coalesce(sa.func.sum(notices.c.instances), 0)
    query = (
        sa.select(sa.func.count(), sizes).select_from(notices).where(sa.text(LIVE), notices.c.peer == peer)
    )
    count, size = tx.execute(query).one()
    return bool(count + more_notices <= room.notices_max and size + more_instances <= room.instances_max)


def _sizes(named: Sequence[Named]) -> dict[str, int]:
    return {"series": len({one.series_uid for one in named}), "instances": len(named)}


def _name(tx: Tx, notice_id: int, named: Sequence[Named]) -> None:
    rows = [
        {
            "notice_id": notice_id,
            "series_uid": one.series_uid,
            "sop_instance_uid": one.sop_instance_uid,
            "awaited": one.is_image and not is_derived(one.sop_class_uid),
        }
        for one in named
    ]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        tx.execute(announced.insert(), rows[start : start + _ROWS_AT_ONCE])


def _tell(
    tx: Tx, peer: str, study_uid: str, state: NoticeState, *, instances: int, at: float, reason: str = ""
) -> None:
    wrong = state is NoticeState.DISCONTINUED and reason == WRONG_ENTRY
    word = "notice.wrong_entry" if wrong else _WORDS[state]
    events.add(tx, word, at=at, study_uid=study_uid, peer=peer, instances=instances)


def _notice(row: Any) -> Notice:
    values = dict(row._mapping)
    return Notice(**values | {"kind": NoticeKind(row.kind), "state": NoticeState(row.state)})
