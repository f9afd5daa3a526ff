"""Which services run: each beats now and then, and whoever is silent too long is shown as silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import services


@dataclass(frozen=True, kw_only=True)
class Service:
    """The last word of one service; times in epoch seconds."""

    name: str
    pid: int
    started_at: float
    beat_at: float
    detail: Mapping[str, Any]


def started(tx: Tx, name: str, *, pid: int, at: float, detail: Mapping[str, Any]) -> None:
    """Record that a service came up."""
    row = {"name": name, "pid": pid, "started_at": at, "beat_at": at, "detail": dict(detail)}
    if not insert_unless_there(tx, services, row):
        tx.execute(sa.update(services).where(services.c.name == name).values(**row))


def beat(tx: Tx, name: str, *, at: float) -> None:
    """Record that a service is alive."""
    tx.execute(sa.update(services).where(services.c.name == name).values(beat_at=at))


def everyone(tx: Tx) -> list[Service]:
    """Return every service that ever came up, by name."""
    return [Service(**row._mapping) for row in tx.execute(sa.select(services).order_by(services.c.name))]
