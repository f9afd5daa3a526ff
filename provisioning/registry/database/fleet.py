"""The fleet as people look at it: slots with their devices, and counts. Only reads."""

from __future__ import annotations

from dataclasses import dataclass

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


def lines(tx: sa.Connection, *, after: str, limit: int) -> list[Line]:
    """Return slots that are in use, by name, behind one of them."""
    here = (devices.c.slot == slots.c.name) & sa.text(f"devices.{ENROLLED}")
    query = (
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
        .where(slots.c.retired_at.is_(None), slots.c.name > after)
        .order_by(slots.c.name)
        .limit(limit)
    )
    return [Line(**row._mapping) for row in tx.execute(query)]


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
