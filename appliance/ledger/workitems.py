"""Workitems of a worklist that the box wanted, claimed and ended (PS3.4 CC).

Promises: a workitem has one row for ever, so it is worked on once; its Transaction UID is in the row before
anybody is told it. How it is to end is a row before the origin server hears of it.
Never: asks anybody; holds anything about a patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from appliance.ledger import events, fetches
from appliance.ledger.engine import Tx
from appliance.ledger.fetches import Fetch
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.states import WORKITEM, WorkitemState
from appliance.ledger.tables import workitem_inputs, workitems, worklist_looks
from appliance.ledger.worklist_tables import UNENDED

# As literal text: SQLite uses a partial index only where it can see that the condition is the index's.
_OPEN = sa.text(f"workitems.{UNENDED}")


class Placed(NamedTuple):
    """An object that a peer has accepted, and the study that it is about."""

    study_uid: str
    peer: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """One row; times in epoch seconds. `route` is empty where the answer of any route will do."""

    id: int
    workitem_uid: str
    transaction_uid: str
    route: str
    state: WorkitemState
    reason: str | None
    came: Sequence[Placed]
    told: str | None
    word: str | None
    failures: int
    wanted_at: float
    claimed_at: float | None
    due_at: float
    ended_at: float | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A study that a workitem names: from whom it is fetched, and which series are meant; none: all."""

    study_uid: str
    series: Sequence[str]
    peer: str


@dataclass(frozen=True, kw_only=True)
class Input:
    """A study that a workitem names, with what became of fetching it."""

    study_uid: str
    series: Sequence[str]
    fetch: Fetch


@dataclass(frozen=True, kw_only=True)
class Look:
    """When a worklist was asked last, and when it answered; `word` says why it did not."""

    asked_at: float
    answered_at: float | None
    word: str | None


def want(tx: Tx, workitem_uid: str, *, transaction_uid: str, route: str, at: float) -> bool:
    """Write a workitem down before it is claimed; false where it has its row already, ended or not."""
    values: dict[str, Any] = {"workitem_uid": workitem_uid, "transaction_uid": transaction_uid}
    values |= {"route": route, "state": WorkitemState.WANTED, "came": [], "failures": 0}
    values |= {"wanted_at": at, "due_at": at}
    return insert_unless_there(tx, workitems, values)


def unended(tx: Tx) -> list[Item]:
    """Return every workitem that has not ended, oldest first."""
    return [_item(row) for row in tx.execute(sa.select(workitems).where(_OPEN).order_by(workitems.c.id))]


def known(tx: Tx, workitem_uids: Sequence[str]) -> set[str]:
    """Return those of some workitems that have a row."""
    query = sa.select(workitems.c.workitem_uid).where(workitems.c.workitem_uid.in_(workitem_uids))
    return set(tx.execute(query).scalars())


def find(tx: Tx, workitem_uid: str) -> Item | None:
    """Return one workitem."""
    row = tx.execute(sa.select(workitems).where(workitems.c.workitem_uid == workitem_uid)).one_or_none()
    return None if row is None else _item(row)


def of_study(tx: Tx, study_uid: str) -> list[Item]:
    """Return the workitems that name a study, oldest first."""
    query = sa.select(workitems).join(workitem_inputs, workitem_inputs.c.workitem_id == workitems.c.id)
    rows = tx.execute(query.where(workitem_inputs.c.study_uid == study_uid).order_by(workitems.c.id))
    return [_item(row) for row in rows]


def inputs_of(tx: Tx, item: Item) -> list[Input]:
    """Return the studies that a workitem names, and how far their fetching is."""
    query = sa.select(workitem_inputs).where(workitem_inputs.c.workitem_id == item.id)
    rows = tx.execute(query.order_by(workitem_inputs.c.study_uid)).all()
    found = {one.id: one for row in rows for one in fetches.of_study(tx, row.study_uid)}
    return [Input(study_uid=r.study_uid, series=tuple(r.series), fetch=found[r.fetch_id]) for r in rows]


def claimed(tx: Tx, item: Item, *, at: float) -> None:
    """Record that the origin server knows the workitem as this box's."""
    _move(tx, item, WorkitemState.CLAIMED, claimed_at=at, due_at=at, word=None, failures=0)


def working(tx: Tx, item: Item, inputs: Sequence[Wanted], *, at: float, due_at: float) -> None:
    """Record what it names, and ask for it: a study that is being fetched from there already is that one."""
    if not _move(tx, item, WorkitemState.WORKING, due_at=due_at, word=None, failures=0):
        return
    for one in inputs:
        values = {"workitem_id": item.id, "study_uid": one.study_uid, "series": list(one.series)}
        fetch_id = fetches.ask_or_join(tx, one.study_uid, one.peer, by="the worklist", at=at)
        tx.execute(workitem_inputs.insert().values(**values, fetch_id=fetch_id))
        events.add(tx, "worklist.claimed", at=at, study_uid=one.study_uid, route=item.route, peer=one.peer)


def told(tx: Tx, item: Item, phase: str, *, due_at: float) -> None:
    """Record how far the origin server was told that it is."""
    _change(tx, item, told=phase, word=None, failures=0, due_at=due_at)


def put_off(tx: Tx, item: Item, *, due_at: float, word: str | None = None) -> None:
    """Look after it later; with a word, because a request came to nothing."""
    failures = 0 if word is None else item.failures + 1
    _change(tx, item, due_at=due_at, word=word, failures=failures)


def settle(
    tx: Tx, item: Item, state: WorkitemState, *, reason: str | None, came: Sequence[Placed], at: float
) -> None:
    """Record how it is to end and with what, before anybody is told: what comes later changes nothing."""
    assert state in (WorkitemState.COMPLETING, WorkitemState.CANCELING), state
    placed = [list(one) for one in came]
    _move(tx, item, state, reason=reason, came=placed, due_at=at, word=None, failures=0)


def end(tx: Tx, item: Item, state: WorkitemState, *, word: str | None, at: float) -> None:
    """Record how it ended, as the origin server has it."""
    if not _move(tx, item, state, word=word, failures=0, ended_at=at):
        return
    query = sa.select(workitem_inputs.c.study_uid).where(workitem_inputs.c.workitem_id == item.id)
    for study_uid in sorted(tx.execute(query).scalars()):
        said = f"worklist.{state.lower()}"
        events.add(tx, said, at=at, study_uid=study_uid, route=item.route, reason=item.reason)


def looked(tx: Tx, url: str, *, word: str | None, at: float) -> None:
    """Record that a worklist was asked; without a word it answered."""
    values = {"asked_at": at, "word": word} | ({} if word else {"answered_at": at})
    if not insert_unless_there(tx, worklist_looks, {"url": url, "answered_at": None} | values):
        tx.execute(sa.update(worklist_looks).where(worklist_looks.c.url == url).values(**values))


def look_of(tx: Tx, url: str) -> Look | None:
    """Return when a worklist was asked last; nothing where it never was."""
    row = tx.execute(sa.select(worklist_looks).where(worklist_looks.c.url == url)).one_or_none()
    return None if row is None else Look(asked_at=row.asked_at, answered_at=row.answered_at, word=row.word)


def counted(tx: Tx) -> Mapping[str, int]:
    """Count the workitems by state."""
    query = sa.select(workitems.c.state, sa.func.count()).group_by(workitems.c.state)
    return {row[0]: int(row[1]) for row in tx.execute(query.order_by(workitems.c.state))}


def _move(tx: Tx, item: Item, target: WorkitemState, **values: Any) -> bool:
    assert target in WORKITEM[item.state], f"{item.state} -> {target} is not in the table"
    return _change(tx, item, state=target, **values)


def _change(tx: Tx, item: Item, **values: Any) -> bool:
    """Change a row that is still in the state in which it was read."""
    here = (workitems.c.id == item.id, workitems.c.state == item.state)
    return bool(tx.execute(sa.update(workitems).where(*here).values(**values)).rowcount)


def _item(row: Any) -> Item:
    came = [Placed(*one) for one in row.came]
    return Item(**{**row._mapping, "state": WorkitemState(row.state), "came": came})
