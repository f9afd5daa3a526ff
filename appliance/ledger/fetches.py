"""Studies that somebody asked the box to fetch from a peer, and what came of it.

Promises: a row ends once, and says how; what is on disk here is not fetched again, what was purged is.
Never: asks anybody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from appliance.core.words import InstanceState
from appliance.ledger import events
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there, not_found
from appliance.ledger.tables import fetches, instances, objects

# Who asks for studies that a result is to be compared with: the box itself.
TO_COMPARE = "the box itself, to compare"


class FetchState(StrEnum):
    """Where a request stands."""

    ASKED = "ASKED"
    FETCHED = "FETCHED"
    FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """One row; times in epoch seconds."""

    id: int
    study_uid: str
    peer: str
    state: FetchState
    asked_by: str
    asked_at: float
    tries: int
    absent: int | None
    word: str | None
    due_at: float
    ended_at: float | None


def ask(tx: Tx, study_uid: str, peer: str, *, by: str, at: float) -> bool:
    """Ask for a study; say whether it was not asked for already.

    One that the box wanted only to compare with is from then on asked for by whoever else wants it.
    """
    values: dict[str, Any] = {"study_uid": study_uid, "peer": peer, "state": FetchState.ASKED, "asked_by": by}
    values |= {"asked_at": at, "tries": 0, "absent": None, "word": None, "due_at": at, "ended_at": None}
    is_new = insert_unless_there(tx, fetches, values)
    if is_new:
        events.add(tx, "fetch.asked", at=at, study_uid=study_uid, peer=peer, by=by)
    elif by != TO_COMPARE:
        here = (fetches.c.study_uid == study_uid, fetches.c.peer == peer, fetches.c.ended_at.is_(None))
        tx.execute(sa.update(fetches).where(*here, fetches.c.asked_by == TO_COMPARE).values(asked_by=by))
    return is_new


def ask_or_join(tx: Tx, study_uid: str, peer: str, *, by: str, at: float) -> int:
    """Ask for a study, or join who asked for it already; return the request's id."""
    ask(tx, study_uid, peer, by=by, at=at)
    is_open = (fetches.c.study_uid == study_uid, fetches.c.peer == peer, fetches.c.ended_at.is_(None))
    return int(tx.execute(sa.select(fetches.c.id).where(*is_open)).scalar_one())


def due(tx: Tx, peer: str, *, at: float) -> list[Fetch]:
    """Return what is to be done now at one peer, the longest due first."""
    is_open = fetches.c.ended_at.is_(None)
    query = sa.select(fetches).where(is_open, fetches.c.peer == peer, fetches.c.due_at <= at)
    return [_fetch(row) for row in tx.execute(query.order_by(fetches.c.due_at, fetches.c.id))]


def latest(tx: Tx, limit: int) -> list[Fetch]:
    """Return the newest requests, those that are open first."""
    query = sa.select(fetches).order_by(fetches.c.ended_at.is_not(None), fetches.c.id.desc()).limit(limit)
    return [_fetch(row) for row in tx.execute(query)]


def of_study(tx: Tx, study_uid: str) -> list[Fetch]:
    """Return every request for a study, oldest first."""
    query = sa.select(fetches).where(fetches.c.study_uid == study_uid).order_by(fetches.c.id)
    return [_fetch(row) for row in tx.execute(query)]


def not_held(tx: Tx, sop_instance_uids: Collection[str]) -> set[str]:
    """Return those of the instances whose bytes are not here, and that were not made here."""
    held = sa.select(instances.c.sop_instance_uid).where(instances.c.state == InstanceState.STUDY)
    return not_found(tx, sop_instance_uids, held, sa.select(objects.c.sop_instance_uid))


def tried(tx: Tx, row: Fetch, *, word: str, absent: int | None, due_at: float) -> None:
    """Record a try, in the words of what it came to; whether everything came is seen when it is due again."""
    here = sa.update(fetches).where(fetches.c.id == row.id, fetches.c.ended_at.is_(None))
    tx.execute(here.values(word=word, absent=absent, tries=row.tries + 1, due_at=due_at))


def end(tx: Tx, row: Fetch, state: FetchState, *, word: str, absent: int | None, at: float) -> None:
    """Record how it ended."""
    here = sa.update(fetches).where(fetches.c.id == row.id, fetches.c.ended_at.is_(None))
    if tx.execute(here.values(state=state, word=word, absent=absent, ended_at=at)).rowcount:
        told = "fetch.done" if state is FetchState.FETCHED else "fetch.failed"
        events.add(tx, told, at=at, study_uid=row.study_uid, peer=row.peer, reason=word, absent=absent or 0)


def _fetch(row: Any) -> Fetch:
    values = dict(row._mapping)
    return Fetch(**values | {"state": FetchState(row.state)})
