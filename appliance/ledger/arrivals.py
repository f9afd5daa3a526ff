"""What arrived: instances, and the studies and series that they open, extend or reopen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.core.instance import Instance
from appliance.core.words import InstanceState, StudyState
from appliance.ledger import events, returned
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there, instance_values
from appliance.ledger.tables import instances, objects, series, studies

_CHUNK = 500


class Arrived(StrEnum):
    """What an arrival was."""

    KEPT = "receive.kept"
    DUPLICATE = "receive.duplicate"
    CHANGED = "receive.changed"
    RESTORED = "receive.restored"
    RECORDED = "receive.recorded"
    CAME_BACK = "receive.came_back"


def add(tx: Tx, instance: Instance, *, calling_ae: str, at: float) -> Arrived:
    """Record one kept instance.

    The same bytes again are a duplicate: counted, nothing else.
    Other bytes under a known UID are a new revision; the older one stays, no longer current.
    Bytes of an older revision that come back make it current again, where they lie already.
    Bytes whose former copy was purged or quarantined take that row's place.
    The very file that a row names already is nothing new: a sweep was faster than the process that kept it.
    The box's own results and what says something of images decided before leave the study as it stands.
    """
    same = tx.execute(sa.select(instances).where(*_same_content(instance))).one_or_none()
    arrived = _insert(tx, instance, calling_ae, at) if same is None else _again(tx, same, instance, at)
    if arrived in (Arrived.DUPLICATE, Arrived.RECORDED):
        return arrived
    if not returned.stands_aside(tx, instance, at=at):
        _touch(tx, instance, at)
    return arrived


@dataclass(frozen=True, kw_only=True)
class Arriving:
    """One kept instance on its way into the ledger; `at` in epoch seconds."""

    instance: Instance
    calling_ae: str
    at: float


def add_all(tx: Tx, arriving: Sequence[Arriving]) -> list[Arrived]:
    """Record many kept instances; return what each was, in their order.

    What `add` says of one holds for each. Images that the ledger knows nothing of go in together.
    """
    new = _plainly_new(tx, arriving)
    together = [one for one, is_new in zip(arriving, new, strict=True) if is_new]
    if together:
        tx.execute(instances.insert(), [_first_values(one) for one in together])
    # Of each series, the first opens what is new and the last says since when it is silent.
    telling = {id(members[end]) for members in _by_series(together).values() for end in (0, -1)}
    came = []
    for one, is_new in zip(arriving, new, strict=True):
        if not is_new:
            came.append(add(tx, one.instance, calling_ae=one.calling_ae, at=one.at))
            continue
        if id(one) in telling:
            _touch(tx, one.instance, one.at)
        came.append(Arrived.KEPT)
    return came


def _plainly_new(tx: Tx, arriving: Sequence[Arriving]) -> list[bool]:
    """Say of each whether it is an image whose UID neither the ledger nor another of them has."""
    uids = [one.instance.sop_instance_uid for one in arriving]
    often = Counter(uids)
    known: set[str] = set()
    for (study_uid, series_uid), members in _by_series(arriving).items():
        for start in range(0, len(members), _CHUNK):
            wanted = [one.instance.sop_instance_uid for one in members[start : start + _CHUNK]]
            query = sa.select(instances.c.sop_instance_uid).where(
                instances.c.study_uid == study_uid,
                instances.c.series_uid == series_uid,
                instances.c.sop_instance_uid.in_(wanted),
            )
            known.update(tx.execute(query).scalars())
    for start in range(0, len(uids), _CHUNK):
        made = sa.select(objects.c.sop_instance_uid)
        known.update(
            tx.execute(made.where(objects.c.sop_instance_uid.in_(uids[start : start + _CHUNK]))).scalars()
        )
    return [
        often[uid] == 1 and uid not in known and not returned.is_derived(one.instance.sop_class_uid)
        for uid, one in zip(uids, arriving, strict=True)
    ]


def _by_series(arriving: Sequence[Arriving]) -> dict[tuple[str, str], list[Arriving]]:
    found: dict[tuple[str, str], list[Arriving]] = {}
    for one in arriving:
        found.setdefault((one.instance.study_uid, one.instance.series_uid), []).append(one)
    return found


def _first_values(one: Arriving) -> dict[str, Any]:
    """Return the row of an instance of which nothing was known."""
    return instance_values(one.instance) | {
        "calling_ae": one.calling_ae,
        "received_at": one.at,
        "state": InstanceState.STUDY,
        "revision": 1,
        "current": True,
        "copies": 1,
    }


def _same_content(instance: Instance) -> list[sa.ColumnElement[bool]]:
    return [*_same_uid(instance), instances.c.digest == instance.digest]


def _same_uid(instance: Instance) -> list[sa.ColumnElement[bool]]:
    return [
        instances.c.study_uid == instance.study_uid,
        instances.c.series_uid == instance.series_uid,
        instances.c.sop_instance_uid == instance.sop_instance_uid,
    ]


def _insert(tx: Tx, instance: Instance, calling_ae: str, at: float) -> Arrived:
    others = tx.execute(sa.update(instances).where(*_same_uid(instance)).values(current=False)).rowcount
    values = _first_values(Arriving(instance=instance, calling_ae=calling_ae, at=at))
    values["revision"] = others + 1
    tx.execute(instances.insert().values(**values))
    if not others:
        return Arrived.KEPT
    events.add(tx, Arrived.CHANGED, at=at, study_uid=instance.study_uid, revision=others + 1)
    return Arrived.CHANGED


def _again(tx: Tx, row: Any, instance: Instance, at: float) -> Arrived:
    here = sa.update(instances).where(instances.c.id == row.id)
    if row.state == InstanceState.STUDY and row.current:
        if (row.file, row.offset) == (instance.location.file, instance.location.offset):
            return Arrived.RECORDED
        tx.execute(here.values(copies=instances.c.copies + 1))
        return Arrived.DUPLICATE
    if row.state == InstanceState.STUDY:
        return _come_back(tx, row, instance, at)
    tx.execute(sa.update(instances).where(*_same_uid(instance)).values(current=False))
    tx.execute(
        here.values(
            **instance_values(instance),
            state=InstanceState.STUDY,
            current=True,
            copies=instances.c.copies + 1,
            received_at=at,
        )
    )
    events.add(tx, Arrived.RESTORED, at=at, study_uid=instance.study_uid, revision=row.revision)
    return Arrived.RESTORED


def _come_back(tx: Tx, row: Any, instance: Instance, at: float) -> Arrived:
    """Make an older revision current, unless this copy of it is itself older than what came since.

    Such a copy is one whose file a crash left behind; it says nothing about what the sender means now.
    """
    newest = tx.execute(
        sa.select(sa.func.max(instances.c.received_at)).where(*_same_uid(instance))
    ).scalar_one()
    here = sa.update(instances).where(instances.c.id == row.id)
    if at <= newest:
        tx.execute(here.values(copies=instances.c.copies + 1))
        return Arrived.DUPLICATE
    tx.execute(sa.update(instances).where(*_same_uid(instance)).values(current=False))
    tx.execute(here.values(current=True, copies=instances.c.copies + 1, received_at=at))
    events.add(tx, Arrived.CAME_BACK, at=at, study_uid=instance.study_uid, revision=row.revision)
    return Arrived.CAME_BACK


def _touch(tx: Tx, instance: Instance, at: float) -> None:
    key = {"study_uid": instance.study_uid, "series_uid": instance.series_uid}
    if not insert_unless_there(tx, series, key | {"first_at": at, "last_at": at}):
        tx.execute(
            sa.update(series)
            .where(series.c.study_uid == instance.study_uid, series.c.series_uid == instance.series_uid)
            .values(last_at=at, complete_at=None, facts=None)
        )
    opened = {"state": StudyState.GATHERING, "first_at": at, "last_at": at, "gathering_since": at}
    if insert_unless_there(tx, studies, {"study_uid": instance.study_uid} | opened):
        events.add(tx, "assemble.opened", at=at, study_uid=instance.study_uid)
    else:
        _extend(tx, instance.study_uid, at)


def _extend(tx: Tx, study_uid: str, at: float) -> None:
    here = sa.update(studies).where(studies.c.study_uid == study_uid)
    # Why it is held stays until it is judged anew: nothing of it may leave in between.
    reason = sa.case((studies.c.state == StudyState.HELD, studies.c.reason))
    reopened = tx.execute(
        here.where(studies.c.state != StudyState.GATHERING).values(
            state=StudyState.GATHERING, reason=reason, gathering_since=at, last_at=at
        )
    ).rowcount
    if reopened:
        events.add(tx, "assemble.reopened", at=at, study_uid=study_uid)
    else:
        tx.execute(here.values(last_at=at))
