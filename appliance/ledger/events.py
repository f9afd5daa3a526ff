"""The timeline: one row for each thing that happened, in words and numbers, without patient data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from appliance.ledger.engine import Tx
from appliance.ledger.tables import events


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened; `at` in epoch seconds, `word` from the log's vocabulary."""

    at: float
    word: str
    study_uid: str | None
    detail: dict[str, Any]


def add(tx: Tx, word: str, *, at: float, study_uid: str | None = None, **detail: Any) -> None:
    """Record that something happened."""
    tx.execute(events.insert().values(at=at, word=word, study_uid=study_uid, detail=detail))


def of_study(tx: Tx, study_uid: str) -> list[Event]:
    """Return a study's timeline, oldest first."""
    return _listed(
        tx, sa.select(events).where(events.c.study_uid == study_uid).order_by(events.c.at, events.c.id)
    )


def latest(tx: Tx, count: int, *, word: str | None = None) -> list[Event]:
    """Return the newest events of the box, newest first."""
    query = sa.select(events).order_by(events.c.id.desc()).limit(count)
    return _listed(tx, query if word is None else query.where(events.c.word == word))


def _listed(tx: Tx, query: sa.Select[Any]) -> list[Event]:
    rows = tx.execute(query)
    return [Event(at=row.at, word=row.word, study_uid=row.study_uid, detail=row.detail) for row in rows]
