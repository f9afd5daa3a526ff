"""Alerts: one open row for each kind and subject, opened once, closed once, told outside until it was taken.

Never: deletes a row, or holds anything in `detail` but numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.rows import insert_unless_there
from provisioning.registry.database.tables import OPEN, alerts, certificates, devices, slots
from provisioning.registry.database.words import DeviceState

_ENROLLED = DeviceState.ENROLLED.value
Numbers = Mapping[str, int | float]


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert; `subject` is a device's id or a signed list's name, times are epoch seconds."""

    id: int
    kind: str
    subject: str
    opened_at: float
    closed_at: float | None
    detail: Numbers
    told_open_at: float | None
    told_closed_at: float | None


def settle(tx: sa.Connection, kind: str, wrong: Mapping[str, Numbers], *, at: float) -> tuple[int, int]:
    """Let exactly these subjects have an open alert of a kind; return how many were opened and closed."""
    here = (alerts.c.kind == kind) & sa.text(OPEN)
    standing = set(tx.execute(sa.select(alerts.c.subject).where(here)).scalars())
    opened = 0
    for subject in sorted(wrong.keys() - standing):
        row = {"kind": kind, "subject": subject, "opened_at": at, "detail": dict(wrong[subject])}
        opened += insert_unless_there(tx, alerts, row)
    over = sorted(standing - wrong.keys())
    if over:
        ended = sa.update(alerts).where(here, alerts.c.subject.in_(over))
        tx.execute(ended.values(closed_at=at))
    return opened, len(over)


def listed(tx: sa.Connection, *, only_open: bool, limit: int, before: int | None = None) -> list[Alert]:
    """Return alerts, newest first; those in front of a number if it is given."""
    query = sa.select(alerts).order_by(alerts.c.id.desc()).limit(limit)
    if only_open:
        query = query.where(sa.text(OPEN))
    if before is not None:
        query = query.where(alerts.c.id < before)
    return [Alert(**row._mapping) for row in tx.execute(query)]


def over(tx: sa.Connection, *, limit: int, before: int | None = None) -> list[Alert]:
    """Return alerts that are over, newest first; those in front of a number if it is given."""
    query = sa.select(alerts).where(alerts.c.closed_at.is_not(None))
    if before is not None:
        query = query.where(alerts.c.id < before)
    return [Alert(**row._mapping) for row in tx.execute(query.order_by(alerts.c.id.desc()).limit(limit))]


def about(tx: sa.Connection, subject: str, *, limit: int) -> list[Alert]:
    """Return the alerts of one subject, those that are open first, then the newest first."""
    query = sa.select(alerts).where(alerts.c.subject == subject)
    order = (alerts.c.closed_at.is_not(None), alerts.c.id.desc())
    return [Alert(**row._mapping) for row in tx.execute(query.order_by(*order).limit(limit))]


def open_by_kind(tx: sa.Connection) -> dict[str, int]:
    """Return how many alerts of each kind are open."""
    query = sa.select(alerts.c.kind, sa.func.count()).where(sa.text(OPEN)).group_by(alerts.c.kind)
    return {row[0]: row[1] for row in tx.execute(query)}


def open_kinds(tx: sa.Connection, prefix: str) -> list[str]:
    """Return the kinds with this beginning of which an alert is open."""
    return sorted(kind for kind in open_by_kind(tx) if kind.startswith(prefix))


def untold(tx: sa.Connection, *, since: float, limit: int) -> list[Alert]:
    """Return alerts whose opening or end nobody outside has yet, oldest first; none older than `since`."""
    opening = alerts.c.told_open_at.is_(None) & (alerts.c.opened_at >= since)
    end = alerts.c.told_closed_at.is_(None) & (alerts.c.closed_at >= since)
    query = sa.select(alerts).where(opening | end).order_by(alerts.c.id).limit(limit)
    return [Alert(**row._mapping) for row in tx.execute(query)]


def note_told(tx: sa.Connection, alert: Alert, *, at: float) -> None:
    """Record that somebody outside has the alert as it is in `alert`."""
    values: dict[str, Any] = {}
    if alert.told_open_at is None:
        values["told_open_at"] = at
    if alert.closed_at is not None and alert.told_closed_at is None:
        values["told_closed_at"] = at
    if values:
        tx.execute(sa.update(alerts).where(alerts.c.id == alert.id).values(**values))


def silent(tx: sa.Connection, *, at: float, seconds: float) -> dict[str, Numbers]:
    """Return enrolled devices that said nothing for so long, though nobody planned it: since when."""
    query = (
        sa.select(devices.c.id, devices.c.last_seen_at, devices.c.enrolled_at, slots.c.offline_until)
        .join(slots, slots.c.name == devices.c.slot)
        .where(devices.c.state == _ENROLLED, slots.c.retired_at.is_(None))
        .where(sa.func.coalesce(devices.c.last_seen_at, devices.c.enrolled_at, 0.0) < at - seconds)
    )
    found: dict[str, Numbers] = {}
    for row in tx.execute(query):
        heard = row.last_seen_at or row.enrolled_at or 0.0
        # After a planned silence a device has as long as any other to be heard again.
        if max(heard, row.offline_until or 0.0) < at - seconds:
            found[row.id] = {"since": heard}
    return found


def ending_certificates(tx: sa.Connection, *, before: float) -> dict[str, Numbers]:
    """Return enrolled devices whose last certificate ends before a time: when."""
    last = sa.func.max(certificates.c.ends_at)
    query = (
        sa.select(devices.c.id, last)
        .join(certificates, certificates.c.device == devices.c.id)
        .where(devices.c.state == _ENROLLED, certificates.c.revoked_at.is_(None))
        .group_by(devices.c.id)
        .having(last < before)
    )
    return {row[0]: {"ends_at": row[1]} for row in tx.execute(query)}


def slots_of(tx: sa.Connection, subjects: Sequence[str]) -> dict[str, str]:
    """Return the slots of those subjects that are devices."""
    query = sa.select(devices.c.id, devices.c.slot).where(devices.c.id.in_(list(subjects)))
    return {row.id: row.slot for row in tx.execute(query)}
