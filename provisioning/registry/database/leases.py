"""Leases: of several server processes, one at a time does what only one may do.

Promises: of two owners one holds a lease; who stops renewing loses it after the seconds that it asked for.
The processes' clocks must agree to much less than that.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.rows import insert_unless_there
from provisioning.registry.database.tables import leases


def take(tx: sa.Connection, name: str, owner: str, *, at: float, seconds: float) -> bool:
    """Take a lease, or hold it for longer; false while another has it. `tx` must be one that writes."""
    if insert_unless_there(tx, leases, {"name": name, "owner": owner, "until": at + seconds}):
        return True
    free = (leases.c.name == name) & ((leases.c.owner == owner) | (leases.c.until < at))
    return bool(tx.execute(sa.update(leases).where(free).values(owner=owner, until=at + seconds)).rowcount)


def give_back(tx: sa.Connection, name: str, owner: str) -> None:
    """Let another have it at once."""
    tx.execute(sa.delete(leases).where(leases.c.name == name, leases.c.owner == owner))
