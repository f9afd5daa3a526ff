"""Invitations: who holds the code of one may put a device into a slot, once.

Promises: of the newest invitation of a slot alone; a wrong code counts against it, and the fifth locks it.
Never: knows a code; it is given keyed digests. Deletes a row.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from provisioning.registry.database.tables import claims

TRIES_MAX = 5


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One invitation; times in epoch seconds."""

    id: int
    slot: str
    digest: str
    replaces: bool
    created_at: float
    expires_at: float
    tries: int
    used_at: float | None
    device: str | None
    withdrawn_at: float | None

    def is_open(self, now: float) -> bool:
        """Say whether a device may still come with it."""
        return (
            self.withdrawn_at is None
            and self.used_at is None
            and self.tries < TRIES_MAX
            and now < self.expires_at
        )

    def serves(self, device: str, now: float) -> bool:
        """Say whether this device may come with it, perhaps a second time because the answer was lost."""
        again = self.used_at is not None and self.device == device
        return self.is_open(now) or (again and self.withdrawn_at is None and now < self.expires_at)


def add(tx: sa.Connection, *, slot: str, digest: str, replaces: bool, at: float, expires_at: float) -> None:
    """Make an invitation to a slot; those before it are withdrawn."""
    withdraw(tx, slot, at=at)
    tx.execute(
        claims.insert().values(
            slot=slot, digest=digest, replaces=replaces, created_at=at, expires_at=expires_at, tries=0
        )
    )


def withdraw(tx: sa.Connection, slot: str, *, at: float) -> int:
    """Withdraw the invitations of a slot that stand; return how many."""
    here = (claims.c.slot == slot) & claims.c.withdrawn_at.is_(None)
    return tx.execute(sa.update(claims).where(here).values(withdrawn_at=at)).rowcount


def newest(tx: sa.Connection, slot: str) -> Claim | None:
    """Return the newest invitation of a slot, whatever became of it."""
    query = sa.select(claims).where(claims.c.slot == slot).order_by(claims.c.id.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else _claim(row)


def tried(tx: sa.Connection, slot: str, digest: str, *, at: float) -> Claim | None:
    """Hold a digest against the newest invitation of a slot, and count it if it is another.

    Returns:
        The invitation, if the digest is its; whether it still serves is another question.
    """
    # PostgreSQL: two that try at once are counted both.
    query = sa.select(claims).where(claims.c.slot == slot).order_by(claims.c.id.desc()).limit(1)
    row = tx.execute(query.with_for_update()).one_or_none()
    if row is None:
        return None
    if hmac.compare_digest(row.digest, digest):
        return _claim(row)
    if row.used_at is None and row.tries < TRIES_MAX and at < row.expires_at:
        tx.execute(sa.update(claims).where(claims.c.id == row.id).values(tries=row.tries + 1))
    return None


def use(tx: sa.Connection, claim: Claim, device: str, *, at: float) -> None:
    """Note that a device came with it."""
    tx.execute(sa.update(claims).where(claims.c.id == claim.id).values(used_at=at, device=device))


def _claim(row: Any) -> Claim:
    return Claim(**row._mapping)
