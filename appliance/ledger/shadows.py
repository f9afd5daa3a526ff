"""Shadows: which version runs beside the one that serves a name, since when, and until when.

Promises: at most one version of a name runs beside at a time, held by the database itself; an end is one
transaction, with everything that still waited to be compared.
Never: changes a job, a result, an object or a delivery, or which version serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import jobs, shadows


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """One row of `shadows`; times in epoch seconds.

    Attributes:
        after_job: jobs up to this one were decided before it began.
        deaths: workers that died while they worked for it.
        word: why it ended.
    """

    id: int
    name: str
    version: str
    digest: str
    after_job: int
    deaths: int
    started_by: str
    started_at: float
    ended_at: float | None
    word: str | None


class OtherRuns(Exception):
    """Another version of the name runs beside already."""

    def __init__(self, running: Shadow) -> None:
        """Keep which."""
        super().__init__(f"{running.name} {running.version} is the shadow of this model: stop it first")
        self.running = running


def begin(tx: Tx, name: str, version: str, digest: str, *, by: str, at: float) -> Shadow:
    """Let a version run beside whatever serves its name; one that does so already goes on.

    Raises:
        OtherRuns: another version of the name does.
    """
    highest = tx.execute(sa.select(sa.func.coalesce(sa.func.max(jobs.c.id), 0))).scalar_one()
    values = {"name": name, "version": version, "digest": digest, "after_job": highest, "deaths": 0}
    is_new = insert_unless_there(tx, shadows, values | {"started_by": by, "started_at": at})
    row = running(tx)[name]
    if row.digest != digest:
        raise OtherRuns(row)
    if is_new:
        events.add(tx, "model.shadow_started", at=at, model=name, version=version, digest=digest, by=by)
    return row


def end(tx: Tx, shadow: Shadow, *, word: str, by: str, at: float) -> bool:
    """End a shadow with the word of why; say whether it ran.

    What waited to be compared must end with it: `comparisons.stop` does both.
    """
    query = sa.update(shadows).where(shadows.c.id == shadow.id, shadows.c.ended_at.is_(None))
    if not tx.execute(query.values(ended_at=at, word=word)).rowcount:
        return False
    told = {"model": shadow.name, "version": shadow.version, "digest": shadow.digest}
    events.add(tx, "model.shadow_ended", at=at, **told, by=by, reason=word)
    return True


def running(tx: Tx) -> dict[str, Shadow]:
    """Return the shadow of each name that has one."""
    return {one.name: one for one in _listed(tx, sa.select(shadows).where(shadows.c.ended_at.is_(None)))}


def find(tx: Tx, shadow_id: int) -> Shadow:
    """Return a shadow by its number."""
    return _listed(tx, sa.select(shadows).where(shadows.c.id == shadow_id))[0]


def of_digest(tx: Tx, digest: str) -> Shadow | None:
    """Return the newest shadow that a digest was."""
    query = sa.select(shadows).where(shadows.c.digest == digest).order_by(shadows.c.id.desc()).limit(1)
    return next(iter(_listed(tx, query)), None)


def latest(tx: Tx, *, limit: int) -> list[Shadow]:
    """Return shadows, those that run first, then the newest."""
    query = sa.select(shadows).order_by(shadows.c.ended_at.is_not(None), shadows.c.id.desc()).limit(limit)
    return _listed(tx, query)


def uses(tx: Tx, digest: str) -> bool:
    """Say whether a running shadow needs the files of a digest."""
    query = sa.select(shadows.c.id).where(shadows.c.digest == digest, shadows.c.ended_at.is_(None))
    return tx.execute(query.limit(1)).first() is not None


def died(tx: Tx, shadow: Shadow) -> int:
    """Count one more worker that died while it worked for a shadow; return how many there were."""
    query = sa.update(shadows).where(shadows.c.id == shadow.id).values(deaths=shadows.c.deaths + 1)
    return int(tx.execute(query.returning(shadows.c.deaths)).scalar_one())


def _listed(tx: Tx, query: Any) -> list[Shadow]:
    return [Shadow(**row._mapping) for row in tx.execute(query)]
