"""What peers said belongs to a study, and how that stands beside what came (PS3.4 R, F.7).

Promises: a notice is a row before it is answered; the same one again changes nothing; a step that ended is
changed no more. What is no image, and what the box made itself, is not waited for.
Never: makes a study ready, or opens one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from appliance.core.words import StudyState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.notice_tables import LIVE, announced, notices
from appliance.ledger.returned import came_home, is_derived
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import events as timeline
from appliance.ledger.tables import instances, studies

# PS3.16 CID 9300: incorrect worklist entry selected. The images may be of somebody else.
WRONG_ENTRY: Final = "110514"
RELEASED: Final = "assemble.released"
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

# Series, SOP Class and SOP Instance UID.
Named = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Room:
    """How much of one peer's notices may count at once."""

    notices_max: int
    instances_max: int


@dataclass(frozen=True, kw_only=True)
class Announced:
    """How one study stands beside what was said of it.

    Attributes:
        instances: images that are named.
        absent: of them, those that neither came nor were made here; a discontinued step awaits none.
        beyond: images that came and that nobody named.
        in_progress: steps that are being performed.
        discontinued: steps that were discontinued.
        wrong_entry: a step says it was of another worklist entry, and nobody has looked since.
    """

    instances: int = 0
    absent: int = 0
    beyond: int = 0
    in_progress: int = 0
    discontinued: int = 0
    wrong_entry: bool = False

    @property
    def says_more(self) -> bool:
        """Say whether there is more to come."""
        return bool(self.absent or self.in_progress)

    @property
    def says_complete(self) -> bool:
        """Say whether what came is all of it, and all of it was named."""
        rest = self.absent or self.beyond or self.in_progress or self.discontinued
        return bool(self.instances) and not rest


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
    if rows[0].state is not NoticeState.IN_PROGRESS or rows[0].ended_at is not None:
        return Taken.ENDED
    if named is not None and not _has_room(tx, peer, 0, len(rows) * len(named), room):
        return Taken.TOO_MANY
    values: dict[str, Any] = {"changed_at": at, "compared_at": None}
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


def about(tx: Tx, study_uid: str) -> Announced | None:
    """Say how a study stands beside the notices of it that count; None when there are none."""
    rows = [one for one in of_study(tx, study_uid) if one.ended_at is None]
    if not rows:
        return None
    of_it = sa.and_(notices.c.study_uid == study_uid, sa.text(f"notices.{LIVE}"))
    states = [one.state for one in rows]
    return Announced(
        instances=_count(tx, of_it),
        absent=_count(tx, of_it, notices.c.state != NoticeState.DISCONTINUED, ~_is_here()),
        beyond=_beyond(tx, study_uid),
        in_progress=states.count(NoticeState.IN_PROGRESS),
        discontinued=states.count(NoticeState.DISCONTINUED),
        wrong_entry=_wrong_entry(tx, study_uid, rows),
    )


def of_study(tx: Tx, study_uid: str) -> list[Notice]:
    """Return every notice of a study, oldest first."""
    query = sa.select(notices).where(notices.c.study_uid == study_uid).order_by(notices.c.at, notices.c.id)
    return [_notice(row) for row in tx.execute(query)]


def discontinued(tx: Tx, study_uid: str) -> bool:
    """Say whether a step of a study was discontinued."""
    rows = sa.select(notices.c.id).filter_by(study_uid=study_uid, state=NoticeState.DISCONTINUED).limit(1)
    return tx.execute(rows).first() is not None


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """A notice of which something never came: how many images."""

    notice_id: int
    study_uid: str
    absent: int


def to_compare(tx: Tx, peer: str, *, before: float, limit: int) -> list[Lacking]:
    """Return a peer's notices that say what there is since `before`, and what of each never came."""
    query = (
        sa.select(notices.c.id, notices.c.study_uid)
        .where(sa.text(LIVE), notices.c.peer == peer, notices.c.changed_at <= before)
        .where(notices.c.compared_at.is_(None))
        .where(notices.c.state.in_((NoticeState.AVAILABLE, NoticeState.COMPLETED)))
        .order_by(notices.c.changed_at)
        .limit(limit)
    )
    return [
        Lacking(
            notice_id=row.id,
            study_uid=row.study_uid,
            absent=_count(tx, notices.c.id == row.id, ~_is_here()),
        )
        for row in tx.execute(query).all()
    ]


def compared(tx: Tx, notice_ids: Sequence[int], *, at: float) -> None:
    """Record that what these name was compared with what came."""
    tx.execute(sa.update(notices).where(notices.c.id.in_(notice_ids)).values(compared_at=at))


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


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the box stands beside the notices that count.

    Attributes:
        incomplete: studies that gather, of which named images are absent.
        absent: these images.
        in_progress: studies that gather while a step of them is performed.
        unmatched: notices of studies of which nothing came.
    """

    incomplete: int
    absent: int
    in_progress: int
    unmatched: int


def standing(tx: Tx) -> Standing:
    """Return how the box stands beside the notices that count."""
    alive = sa.text(f"notices.{LIVE}")
    gathering = (
        sa.select(notices.c.study_uid)
        .join(studies, studies.c.study_uid == notices.c.study_uid)
        .where(alive, studies.c.state == StudyState.GATHERING)
        .distinct()
    )
    found = [about(tx, study_uid) for study_uid in tx.execute(gathering).scalars().all()]
    lacking = [one.absent for one in found if one is not None and one.absent]
    nothing = ~sa.exists().where(studies.c.study_uid == notices.c.study_uid)
    unmatched = sa.select(sa.func.count()).select_from(notices).where(alive, nothing)
    return Standing(
        incomplete=len(lacking),
        absent=sum(lacking),
        in_progress=sum(one is not None and one.in_progress > 0 for one in found),
        unmatched=int(tx.execute(unmatched).scalar_one()),
    )


def _has_room(tx: Tx, peer: str, more_notices: int, more_instances: int, room: Room) -> bool:
    sizes = sa.func.coalesce(sa.func.sum(notices.c.instances), 0)
    query = (
        sa.select(sa.func.count(), sizes).select_from(notices).where(sa.text(LIVE), notices.c.peer == peer)
    )
    count, size = tx.execute(query).one()
    return bool(count + more_notices <= room.notices_max and size + more_instances <= room.instances_max)


def _sizes(named: Sequence[Named]) -> dict[str, int]:
    return {"series": len({series for series, _, _ in named}), "instances": len(named)}


def _name(tx: Tx, notice_id: int, named: Sequence[Named]) -> None:
    rows = [
        {
            "notice_id": notice_id,
            "series_uid": series_uid,
            "sop_instance_uid": uid,
            "awaited": not is_derived(sop_class_uid),
        }
        for series_uid, sop_class_uid, uid in named
    ]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        tx.execute(announced.insert(), rows[start : start + _ROWS_AT_ONCE])


def _tell(
    tx: Tx, peer: str, study_uid: str, state: NoticeState, *, instances: int, at: float, reason: str = ""
) -> None:
    wrong = state is NoticeState.DISCONTINUED and reason == WRONG_ENTRY
    word = "notice.wrong_entry" if wrong else _WORDS[state]
    events.add(tx, word, at=at, study_uid=study_uid, peer=peer, instances=instances)


def _is_here() -> sa.ColumnElement[bool]:
    """Write the condition that an announced instance came, or was made here.

    It came under the study of its notice, or under another one of the same step.
    """
    same = notices.alias("same")
    came = sa.exists().where(
        same.c.peer == notices.c.peer,
        same.c.notice_uid == notices.c.notice_uid,
        instances.c.study_uid == same.c.study_uid,
        instances.c.series_uid == announced.c.series_uid,
        instances.c.sop_instance_uid == announced.c.sop_instance_uid,
    )
    return sa.or_(came, came_home(announced.c.sop_instance_uid))


def _count(tx: Tx, *conditions: sa.ColumnElement[bool]) -> int:
    """Count distinct awaited instances of the notices that meet conditions."""
    query = (
        sa.select(sa.func.count(sa.distinct(announced.c.sop_instance_uid)))
        .join(notices, notices.c.id == announced.c.notice_id)
        .where(announced.c.awaited, *conditions)
    )
    return int(tx.execute(query).scalar_one())


def _beyond(tx: Tx, study_uid: str) -> int:
    """Count the current images of a study that no notice of it names."""
    named = (
        sa.select(announced.c.sop_instance_uid)
        .join(notices, notices.c.id == announced.c.notice_id)
        .where(notices.c.study_uid == study_uid, sa.text(f"notices.{LIVE}"))
    )
    query = (
        sa.select(instances.c.sop_class_uid, sa.func.count())
        .where(instances.c.study_uid == study_uid, instances.c.current)
        .where(instances.c.sop_instance_uid.not_in(named), ~came_home(instances.c.sop_instance_uid))
        .group_by(instances.c.sop_class_uid)
    )
    return sum(count for sop_class_uid, count in tx.execute(query) if not is_derived(sop_class_uid))


def _wrong_entry(tx: Tx, study_uid: str, rows: Sequence[Notice]) -> bool:
    said = [
        row.changed_at for row in rows if row.state is NoticeState.DISCONTINUED and row.reason == WRONG_ENTRY
    ]
    if not said:
        return False
    query = sa.select(sa.func.max(timeline.c.at)).filter_by(study_uid=study_uid, word=RELEASED)
    looked_at = tx.execute(query).scalar_one_or_none()
    return looked_at is None or looked_at < max(said)


def _notice(row: Any) -> Notice:
    values = dict(row._mapping)
    return Notice(**values | {"kind": NoticeKind(row.kind), "state": NoticeState(row.state)})
