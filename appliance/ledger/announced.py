"""How a study stands beside what peers said belongs to it.

Promises: what is no image, and what the box made itself, is not waited for; nor is what a discontinued step
names. A study is complete by what was said only if all of it was named.
Never: makes a study ready, or opens one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import sqlalchemy as sa

from appliance.core.words import StudyState
from appliance.ledger.engine import Tx
from appliance.ledger.notice_tables import LIVE, announced, notices
from appliance.ledger.notices import WRONG_ENTRY, Notice, NoticeState, of_study
from appliance.ledger.returned import came_home, is_derived
from appliance.ledger.tables import events, instances, studies

_RELEASED: Final = "assemble.released"
# Each notice that counts, when it said something new, and its state.
Mark: TypeAlias = tuple[tuple[int, float, str], ...]


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


def mark(tx: Tx, study_uid: str) -> Mark:
    """Return what tells whether anything was said of a study since; nothing where nothing that counts was."""
    query = sa.select(notices.c.id, notices.c.changed_at, notices.c.state)
    here = query.where(notices.c.study_uid == study_uid, notices.c.ended_at.is_(None))
    return tuple((row.id, row.changed_at, row.state) for row in tx.execute(here.order_by(notices.c.id)))


def about(tx: Tx, study_uid: str) -> Announced:
    """Say how a study stands beside the notices of it that count."""
    rows = [one for one in of_study(tx, study_uid) if one.ended_at is None]
    if not rows:
        return Announced()
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
    lacking = [one.absent for one in found if one.absent]
    nothing = ~sa.exists().where(studies.c.study_uid == notices.c.study_uid)
    unmatched = sa.select(sa.func.count()).select_from(notices).where(alive, nothing)
    return Standing(
        incomplete=len(lacking),
        absent=sum(lacking),
        in_progress=sum(one.in_progress > 0 for one in found),
        unmatched=int(tx.execute(unmatched).scalar_one()),
    )


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
    query = sa.select(sa.func.max(events.c.at)).filter_by(study_uid=study_uid, word=_RELEASED)
    looked_at = tx.execute(query).scalar_one_or_none()
    return looked_at is None or looked_at < max(said)
