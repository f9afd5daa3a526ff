"""Releases that a registry assigned: how far each came on this box, since when, and why no further.

The numbers of phases and the words belong to `appliance.sync`; here they are kept.

Promises: at most one release of a model is on its way, held by the database itself; a row says how it ended.
Never: deletes a row, or changes which version serves.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.core.words import JobState
from appliance.ledger import events, versions
from appliance.ledger.engine import Tx
from appliance.ledger.passage_tables import passages
from appliance.ledger.tables import jobs


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One row; times in epoch seconds. A number of a phase is one of `appliance.sync.phase`."""

    digest: str
    name: str
    version: str
    phase: int
    word: str
    sentence: str
    assigned_at: float
    phase_at: float
    drain_upto: int | None
    drain_at: float | None
    activated_at: float | None
    ended_at: float | None


def assigned(tx: Tx, *, name: str, version: str, digest: str, phase: int, at: float) -> Passage:
    """Return the passage of a release that is assigned now; another one of the model ends with it.

    One that was withdrawn begins anew, unless it serves still: then it goes on from where it was.
    """
    known = of_digest(tx, digest)
    if known is not None and known.ended_at is None:
        return known
    others = sa.update(passages).where(passages.c.name == name, passages.c.ended_at.is_(None))
    tx.execute(others.values(ended_at=at))
    values: dict[str, Any] = {"name": name, "version": version, "phase": phase, "word": "", "sentence": ""}
    values |= {"assigned_at": at, "phase_at": at, "drain_upto": None, "drain_at": None}
    values |= {"activated_at": None, "ended_at": None}
    active = versions.active(tx).get(name)
    if known is None:
        tx.execute(passages.insert().values(digest=digest, **values))
    elif known.activated_at is not None and active is not None and active.digest == digest:
        tx.execute(sa.update(passages).where(passages.c.digest == digest).values(ended_at=None))
    else:
        tx.execute(sa.update(passages).where(passages.c.digest == digest).values(**values))
    found = of_digest(tx, digest)
    assert found is not None, "it was written above"
    return found


def withdrawn(tx: Tx, *, but: Set[tuple[str, str]], at: float) -> None:
    """End what is on its way and not assigned any more; `but` are the names and versions that are."""
    for passage in under_way(tx):
        if (passage.name, passage.version) not in but:
            tx.execute(sa.update(passages).where(passages.c.digest == passage.digest).values(ended_at=at))


def of_digest(tx: Tx, digest: str) -> Passage | None:
    """Return the passage of a package."""
    return next(iter(_listed(tx, sa.select(passages).where(passages.c.digest == digest))), None)


def under_way(tx: Tx) -> list[Passage]:
    """Return the passage of each model that has one, by name."""
    query = sa.select(passages).where(passages.c.ended_at.is_(None)).order_by(passages.c.name)
    return _listed(tx, query)


def everything(tx: Tx) -> list[Passage]:
    """Return every release that was ever assigned here, the newest first."""
    return _listed(tx, sa.select(passages).order_by(passages.c.assigned_at.desc(), passages.c.digest))


def enter(tx: Tx, digest: str, phase: int, *, at: float, word: str = "", sentence: str = "") -> bool:
    """Say where a release stands now; return whether phase or word are others than before."""
    row = of_digest(tx, digest)
    if row is None:
        return False
    values: dict[str, Any] = {"phase": phase, "word": word, "sentence": sentence}
    if phase != row.phase:
        values["phase_at"] = at
    if any(getattr(row, name) != value for name, value in values.items()):
        tx.execute(sa.update(passages).where(passages.c.digest == digest).values(**values))
    return (phase, word) != (row.phase, row.word)


def soaks(tx: Tx, passage: Passage, phase: int, *, at: float) -> Passage:
    """Say that a release serves and is watched since a time."""
    enter(tx, passage.digest, phase, at=at)
    here = sa.update(passages).where(passages.c.digest == passage.digest)
    tx.execute(here.values(activated_at=at, drain_upto=None, drain_at=None))
    return _again(tx, passage)


def committed(tx: Tx, passage: Passage, phase: int, *, at: float, jobs: int) -> None:
    """Say that a release stays for good, after so many jobs."""
    if enter(tx, passage.digest, phase, at=at):
        told = {"model": passage.name, "version": passage.version, "digest": passage.digest}
        events.add(tx, "registry.committed", at=at, **told, jobs=jobs)


def drain(tx: Tx, passage: Passage, *, at: float) -> Passage:
    """Remember which jobs were decided until now: those are finished before the release serves."""
    newest = int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(jobs.c.id), 0))).scalar_one())
    here = sa.update(passages).where(passages.c.digest == passage.digest)
    tx.execute(here.values(drain_upto=newest, drain_at=at))
    return _again(tx, passage)


def stop_draining(tx: Tx, passage: Passage) -> Passage:
    """Forget which jobs were waited for: it does not serve now after all."""
    here = sa.update(passages).where(passages.c.digest == passage.digest)
    tx.execute(here.values(drain_upto=None, drain_at=None))
    return _again(tx, passage)


def undrained(tx: Tx, passage: Passage) -> int:
    """Count the jobs that were decided for other versions before the draining began, and have not ended."""
    query = sa.select(sa.func.count()).where(
        jobs.c.model_name == passage.name,
        jobs.c.model_digest != passage.digest,
        jobs.c.id <= (passage.drain_upto or 0),
        jobs.c.state.in_((JobState.WAITING, JobState.LEASED)),
    )
    return int(tx.execute(query).scalar_one())


def _again(tx: Tx, passage: Passage) -> Passage:
    found = of_digest(tx, passage.digest)
    assert found is not None, "rows are not deleted"
    return found


def _listed(tx: Tx, query: Any) -> list[Passage]:
    return [Passage(**row._mapping) for row in tx.execute(query)]
