"""The audit trail of the registry: every act of a person or of the controller, chained by hashes.

Promises: `note` writes in the caller's transaction, so an act and its row are both there or both not.
Never: changes or removes a row. A bare chain cannot tell that its end was cut off: keep the number and hash
that `readside registry audit verify` says, elsewhere, and give them to the next look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.audit import chain
from provisioning.registry.database.engine import Database
from provisioning.registry.database.tables import audit

CONTROLLER = "controller"
_PAGE_ROWS = 1_000
_TURN_KEY = 0x5EAD51E0


@dataclass(frozen=True, kw_only=True)
class Act:
    """One row: who did what to which subject at `at` (epoch seconds), what was and is, and why."""

    seq: int
    at: float
    who: str
    act: str
    subject: str
    before: str
    after: str
    why: str
    hash: str

    @property
    def body(self) -> str:
        """Return what is hashed beside number and time."""
        return _body(self.who, self.act, self.subject, self.before, self.after, self.why)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a look at the whole chain found.

    Attributes:
        rows: how many follow each other from the first on.
        hash: of the last of them.
        broken_at: the number of the first row that does not follow, if one does not.
    """

    rows: int
    hash: str
    broken_at: int | None = None


def note(
    tx: sa.Connection,
    *,
    at: float,
    who: str,
    act: str,
    subject: str,
    before: str = "",
    after: str = "",
    why: str = "",
) -> int:
    """Add a row, as part of what the transaction does; return its number."""
    if tx.dialect.name == "postgresql":
        # Locking the last row is not enough: who waited for it would still see it as the last.
        tx.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN_KEY})")
    last = tx.execute(sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    seq, former = (1, chain.GENESIS) if last is None else (last.seq + 1, last.hash)
    hashed = chain.link(
        former, seq=seq, event_id=None, at=at, body=_body(who, act, subject, before, after, why)
    )
    tx.execute(
        audit.insert().values(
            seq=seq,
            at=at,
            who=who,
            act=act,
            subject=subject,
            before=before,
            after=after,
            why=why,
            hash=hashed,
        )
    )
    return seq


def acts(tx: sa.Connection, *, before: int | None = None, subject: str = "", limit: int) -> list[Act]:
    """Return acts, newest first; those in front of a number, and of one subject, if these are given."""
    query = sa.select(audit).order_by(audit.c.seq.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.seq < before)
    if subject:
        query = query.where(audit.c.subject == subject)
    return [_act(row) for row in tx.execute(query)]


def verify(database: Database) -> Verdict:
    """Walk the chain from its first row to its last."""
    rows, former = 0, chain.GENESIS
    for act in _walk(database):
        link = chain.link(former, seq=act.seq, event_id=None, at=act.at, body=act.body)
        if act.seq != rows + 1 or link != act.hash:
            return Verdict(rows=rows, hash=former, broken_at=act.seq)
        rows, former = act.seq, act.hash
    return Verdict(rows=rows, hash=former)


def hash_of(database: Database, seq: int) -> str | None:
    """Return the hash of a row, if there is one of this number."""
    with database.read() as tx:
        return tx.execute(sa.select(audit.c.hash).where(audit.c.seq == seq)).scalar()


def _walk(database: Database) -> Iterator[Act]:
    seen = -1
    while True:
        query = sa.select(audit).where(audit.c.seq > seen).order_by(audit.c.seq).limit(_PAGE_ROWS)
        with database.read() as tx:
            page = tx.execute(query).all()
        if not page:
            return
        yield from (_act(row) for row in page)
        seen = page[-1].seq


def _body(*parts: str) -> str:
    return json.dumps(parts, ensure_ascii=True, separators=(",", ":"))


def _act(row: Any) -> Act:
    return Act(**row._mapping)
