"""Alarms: what is wrong with the box and since when, one open row for each thing that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.engine import Tx
from appliance.ledger.tables import alarms


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One thing that is wrong.

    Attributes:
        kind: the number of an `appliance.health.codes.AlarmKind`.
        subject: what it is about, in the box's own names; empty: the box.
        numbers: what its sentence is made from.
        raised_at: epoch seconds.
        ended_at: epoch seconds; none while it goes on.
    """

    kind: int
    subject: str
    numbers: Mapping[str, float]
    raised_at: float = 0.0
    ended_at: float | None = None


def settle(tx: Tx, wanted: Sequence[Alarm], *, at: float) -> tuple[list[Alarm], list[Alarm]]:
    """Open a row for each new alarm and end those that are not wanted any more.

    Returns those that were raised and those that ended by this call. What goes on keeps when it was raised;
    its numbers are brought up to date.
    """
    open_now = {(one.kind, one.subject): one for one in current(tx)}
    wanted_now = {(one.kind, one.subject): one for one in wanted}
    raised = [one for key, one in wanted_now.items() if key not in open_now]
    ended = [one for key, one in open_now.items() if key not in wanted_now]
    for one in raised:
        row = {"kind": one.kind, "subject": one.subject, "numbers": dict(one.numbers), "raised_at": at}
        tx.execute(alarms.insert().values(**row))
    for one in ended:
        tx.execute(sa.update(alarms).where(*_open(one)).values(ended_at=at))
    for key in wanted_now.keys() & open_now.keys():
        if dict(wanted_now[key].numbers) != dict(open_now[key].numbers):
            changed = sa.update(alarms).where(*_open(wanted_now[key]))
            tx.execute(changed.values(numbers=dict(wanted_now[key].numbers)))
    return [_at(one, at) for one in raised], ended


def current(tx: Tx) -> list[Alarm]:
    """Return what is wrong now, the oldest first."""
    query = sa.select(alarms).where(alarms.c.ended_at.is_(None)).order_by(alarms.c.raised_at, alarms.c.id)
    return [_alarm(row) for row in tx.execute(query)]


def latest(tx: Tx, count: int) -> list[Alarm]:
    """Return the newest alarms, over or not, the newest first."""
    query = sa.select(alarms).order_by(alarms.c.id.desc()).limit(count)
    return [_alarm(row) for row in tx.execute(query)]


def _open(one: Alarm) -> list[sa.ColumnElement[bool]]:
    return [alarms.c.kind == one.kind, alarms.c.subject == one.subject, alarms.c.ended_at.is_(None)]


def _at(one: Alarm, at: float) -> Alarm:
    return Alarm(kind=one.kind, subject=one.subject, numbers=one.numbers, raised_at=at)


def _alarm(row: Any) -> Alarm:
    return Alarm(
        kind=row.kind,
        subject=row.subject,
        numbers=row.numbers,
        raised_at=row.raised_at,
        ended_at=row.ended_at,
    )
