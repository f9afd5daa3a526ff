"""The fleet as people look at it: slots with their devices, and counts. Only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.health.codes import Kind
from provisioning.registry.database.tables import ENROLLED, devices, slots, states


@dataclass(frozen=True, kw_only=True)
class Line:
    """One slot and the device that is enrolled in it, if one is; times in epoch seconds."""

    slot: str
    site: str
    gpu: str
    vendor: str
    ring: int | None
    offline_until: float | None
    device: str | None
    serial: str | None
    last_seen_at: float | None


def lines(tx: sa.Connection, *, after: str, limit: int, but_silent: float | None = None) -> list[Line]:
    """Return slots in use, by name, behind one of them; without those silent since a time, if given."""
    query = _in_use().where(slots.c.name > after).order_by(slots.c.name).limit(limit)
    if but_silent is not None:
        query = query.where(sa.not_(_silent(but_silent)))
    return [Line(**row._mapping) for row in tx.execute(query)]


def silent(tx: sa.Connection, *, since: float, limit: int) -> list[Line]:
    """Return slots whose device said nothing since a time, unplanned; the longest silent first."""
    query = _in_use().where(_silent(since)).order_by(_heard(), slots.c.name).limit(limit)
    return [Line(**row._mapping) for row in tx.execute(query)]


def count_silent(tx: sa.Connection, *, since: float) -> int:
    """Return how many there are of these."""
    found = _in_use().where(_silent(since)).subquery()
    return int(tx.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())


def newest_heard(tx: sa.Connection) -> float | None:
    """Return when any enrolled device was heard last; None: none ever."""
    query = sa.select(sa.func.max(devices.c.last_seen_at)).where(sa.text(ENROLLED))
    return tx.execute(query.select_from(devices)).scalar()


def _in_use() -> sa.Select[Any]:
    here = (devices.c.slot == slots.c.name) & sa.text(f"devices.{ENROLLED}")
    return (
        sa.select(
            slots.c.name.label("slot"),
            slots.c.site,
            slots.c.gpu,
            slots.c.vendor,
            slots.c.ring,
            slots.c.offline_until,
            devices.c.id.label("device"),
            devices.c.serial,
            devices.c.last_seen_at,
        )
        .select_from(slots.outerjoin(devices, here))
        .where(slots.c.retired_at.is_(None))
    )


def _heard() -> sa.ColumnElement[float]:
    return sa.func.coalesce(devices.c.last_seen_at, devices.c.enrolled_at, 0.0)


def _silent(since: float) -> sa.ColumnElement[bool]:
    """Say when a slot's device is silent, as the alert has it: a planned silence is none."""
    planned = sa.func.coalesce(slots.c.offline_until, 0.0)
    return devices.c.id.is_not(None) & (_heard() < since) & (planned < since)


def serving(tx: sa.Connection, release: int, *, limit: int) -> tuple[int, list[str]]:
    """Return on how many devices a release serves, and the first of their slots by name."""
    here = (
        (states.c.kind == int(Kind.STATE))
        & (states.c.release == release)
        & states.c.numbers["serving"].as_boolean()
        & sa.text(f"devices.{ENROLLED}")
    )
    both = devices.join(states, states.c.device == devices.c.id)
    count = tx.execute(sa.select(sa.func.count()).select_from(both).where(here)).scalar_one()
    named = sa.select(devices.c.slot).select_from(both).where(here).order_by(devices.c.slot).limit(limit)
    return int(count), list(tx.execute(named).scalars())


def by_state(tx: sa.Connection) -> dict[str, int]:
    """Return how many devices are in each state."""
    query = sa.select(devices.c.state, sa.func.count()).group_by(devices.c.state)
    return {row[0]: row[1] for row in tx.execute(query)}


def heard_since(tx: sa.Connection, at: float) -> int:
    """Return how many enrolled devices were heard since a time."""
    query = sa.select(sa.func.count()).where(sa.text(ENROLLED), devices.c.last_seen_at >= at)
    return int(tx.execute(query.select_from(devices)).scalar_one())


def by_phase(tx: sa.Connection) -> dict[tuple[int, int], int]:
    """Return how many enrolled devices have each release in each phase."""
    phase = states.c.numbers["phase"].as_integer()
    query = (
        sa.select(states.c.release, sa.func.coalesce(phase, 0).label("phase"), sa.func.count().label("count"))
        .join(devices, devices.c.id == states.c.device)
        .where(states.c.kind == int(Kind.STATE), sa.text(f"devices.{ENROLLED}"))
        .group_by(states.c.release, "phase")
    )
    return {(row[0], row[1]): row[2] for row in tx.execute(query)}
