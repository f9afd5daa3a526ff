"""Removes what is old: records that their kind is not kept for any longer, a bounded piece at a time."""

from __future__ import annotations

import structlog

from appliance.core import log
from provisioning.registry.database import telemetry
from provisioning.registry.server.room import Room

_log: structlog.typing.FilteringBoundLogger = log.get("registry")


def age_out(room: Room) -> None:
    """Remove old records, at most as many as one turn may."""
    removed = 0
    for _ in range(room.limits.aged_transactions_max):
        with room.database.write() as tx:
            some = telemetry.age_out(tx, at=room.clock.now(), limit=room.limits.aged_at_once_max)
        removed += some
        if some < room.limits.aged_at_once_max:
            break
    if removed:
        _log.info("registry.aged_out", records=removed)
