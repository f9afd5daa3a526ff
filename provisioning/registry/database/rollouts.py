"""Roll-outs and what happened to each.

Promises: an event and the state that follows from it are written in one transaction; events are numbered
from 1 without a gap; a row of an event never changes.
Never: judges or assigns anything; a state comes from the reducer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from provisioning.registry.database.tables import rollout_events, rollouts
from provisioning.registry.rollout.events import EVENT, Event
from provisioning.registry.rollout.gate import Judgement
from provisioning.registry.rollout.plan import Plan
from provisioning.registry.rollout.state import JUDGEMENT, PLAN, STATE, State, first


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One roll-out; times in epoch seconds.

    Attributes:
        judgement: what the gate said last, however old; None before it was asked.
    """

    id: int
    made_at: float
    plan: Plan
    state: State
    judgement: Judgement | None
    judged_at: float | None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event that was written."""

    seq: int
    who: str
    event: Event


def add(tx: sa.Connection, plan: Plan, *, at: float) -> int:
    """Write a roll-out that nobody approved yet; return its number."""
    state = first(plan)
    number: int = tx.execute(
        rollouts.insert()
        .values(
            model=plan.model,
            version=plan.version,
            stage=state.stage.value,
            open=state.is_open,
            made_by=plan.made_by,
            made_at=at,
            plan=PLAN.dump_python(plan, mode="json"),
            state=STATE.dump_python(state, mode="json"),
        )
        .returning(rollouts.c.id)
    ).scalar_one()
    return number


def find(tx: sa.Connection, number: int, *, to_change: bool = False) -> Rollout | None:
    """Return a roll-out; `to_change` keeps others from changing it until the transaction ends."""
    query = sa.select(rollouts).where(rollouts.c.id == number)
    row = tx.execute(query.with_for_update() if to_change else query).one_or_none()
    return None if row is None else _rollout(row)


def every(
    tx: sa.Connection,
    *,
    model: str = "",
    only_open: bool = False,
    limit: int | None = None,
    before: int | None = None,
) -> list[Rollout]:
    """Return roll-outs, newest first; `only_open`: those that the controller still looks at."""
    query = sa.select(rollouts)
    if before is not None:
        query = query.where(rollouts.c.id < before)
    if model:
        query = query.where(rollouts.c.model == model)
    if only_open:
        query = query.where(rollouts.c.open)
    return [_rollout(row) for row in tx.execute(query.order_by(rollouts.c.id.desc()).limit(limit))]


def record(tx: sa.Connection, number: int, event: Event, state: State, *, who: str) -> int:
    """Write an event and the state that follows from it; return the event's number.

    `tx` must hold the roll-out (`find` with `to_change`).
    """
    own = sa.select(sa.func.max(rollout_events.c.seq)).where(rollout_events.c.rollout == number)
    seq = (tx.execute(own).scalar() or 0) + 1
    said = EVENT.dump_python(event, mode="json")
    tx.execute(
        rollout_events.insert().values(
            rollout=number, seq=seq, at=event.at, who=who, kind=event.kind, event=said
        )
    )
    values: dict[str, Any] = {"stage": state.stage.value, "open": state.is_open}
    values["state"] = STATE.dump_python(state, mode="json")
    tx.execute(sa.update(rollouts).where(rollouts.c.id == number).values(**values))
    return seq


def judged(tx: sa.Connection, number: int, judgement: Judgement, *, at: float) -> None:
    """Keep what the gate said, in place of what it said before."""
    said = JUDGEMENT.dump_python(judgement, mode="json")
    here = rollouts.c.id == number
    tx.execute(sa.update(rollouts).where(here).values(judgement=said, judged_at=at))


def history(tx: sa.Connection, number: int, *, after: int = 0, limit: int | None = None) -> list[Entry]:
    """Return what happened to a roll-out, oldest first."""
    here = (rollout_events.c.rollout == number) & (rollout_events.c.seq > after)
    query = sa.select(rollout_events).where(here).order_by(rollout_events.c.seq).limit(limit)
    return [_entry(row) for row in tx.execute(query)]


def newest(tx: sa.Connection, number: int, *, limit: int) -> list[Entry]:
    """Return what happened last to a roll-out, newest first."""
    query = sa.select(rollout_events).where(rollout_events.c.rollout == number)
    return [_entry(row) for row in tx.execute(query.order_by(rollout_events.c.seq.desc()).limit(limit))]


def _entry(row: Any) -> Entry:
    return Entry(seq=row.seq, who=row.who, event=EVENT.validate_python(row.event))


def _rollout(row: Any) -> Rollout:
    return Rollout(
        id=row.id,
        made_at=row.made_at,
        plan=PLAN.validate_python(row.plan),
        state=STATE.validate_python(row.state),
        judgement=None if row.judgement is None else JUDGEMENT.validate_python(row.judgement),
        judged_at=row.judged_at,
    )
