"""Rows of roll-outs, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from provisioning.registry.database import rollouts
from provisioning.registry.database.engine import Database
from provisioning.registry.rollout.events import Approved, Event, Judged, Superseded
from provisioning.registry.rollout.gate import Verdict
from provisioning.registry.rollout.reducer import reduce
from provisioning.registry.rollout.state import Stage, first
from tests.provisioning.registry.rollout.making import APPROVER, MONDAY, judgement, plan

MADE = plan([["a"], ["b"]])


def happened(database: Database, number: int, event: Event) -> int:
    with database.write() as tx:
        held = rollouts.find(tx, number, to_change=True)
        assert held is not None
        after = reduce(held.plan, held.state, event).state
        return rollouts.record(tx, number, event, after, who="jo")


def added(database: Database) -> int:
    with database.write() as tx:
        return rollouts.add(tx, MADE, at=MONDAY)


def test_a_roll_out_comes_back_as_it_was_written(database: Database):
    number = added(database)
    with database.read() as tx:
        found = rollouts.find(tx, number)
        assert rollouts.find(tx, number + 1) is None
    assert found is not None
    assert (found.plan, found.state, found.made_at) == (MADE, first(MADE), MONDAY)
    assert found.judgement is None


def test_events_are_numbered_and_the_state_follows_from_them(database: Database):
    number = added(database)
    said = judgement(Verdict.NOT_ENOUGH)
    events: list[Event] = [
        Approved(at=MONDAY, by=APPROVER),
        Judged(at=MONDAY + 1, ring=0, judgement=said),
    ]
    assert [happened(database, number, event) for event in events] == [1, 2]
    with database.write() as tx:
        rollouts.judged(tx, number, said, at=MONDAY + 1)
    with database.read() as tx:
        kept = rollouts.history(tx, number)
        assert [entry.seq for entry in rollouts.history(tx, number, after=1)] == [2]
        found = rollouts.find(tx, number)
    assert [entry.event for entry in kept] == events
    state = first(MADE)
    for entry in kept:
        state = reduce(MADE, state, entry.event).state
    assert found is not None
    assert (found.state, found.judgement, found.judged_at) == (state, said, MONDAY + 1)


def test_of_a_model_one_is_under_way(database: Database):
    one, two = added(database), added(database)
    happened(database, one, Approved(at=MONDAY, by=APPROVER))
    with pytest.raises(sa.exc.IntegrityError):
        happened(database, two, Approved(at=MONDAY, by=APPROVER))
    happened(database, one, Superseded(at=MONDAY, rollout=two))
    happened(database, two, Approved(at=MONDAY, by=APPROVER))
    with database.read() as tx:
        assert [found.id for found in rollouts.every(tx)] == [two, one]
        assert [found.id for found in rollouts.every(tx, only_open=True)] == [two]
        assert [found.id for found in rollouts.every(tx, limit=1)] == [two]
        assert rollouts.every(tx, model="other") == []
        newest = rollouts.find(tx, two)
    assert newest is not None
    assert newest.state.stage is Stage.RUNNING
