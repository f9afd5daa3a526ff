"""The state tables: complete, drawn, and the only moves that the verbs make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from appliance.core.words import DeliveryState, JobState, StudyState
from appliance.ledger import commitments, deliveries, jobs, studies
from appliance.ledger.states import (
    DELIVERY,
    JOB,
    STUDY,
    VERSION,
    WORKITEM,
    VersionState,
    WorkitemState,
    diagram,
)
from tests.appliance.ledger import given

TABLES: dict[Any, Any] = {
    StudyState: STUDY,
    JobState: JOB,
    DeliveryState: DELIVERY,
    VersionState: VERSION,
    WorkitemState: WORKITEM,
}


@pytest.mark.parametrize("states", TABLES)
def test_every_state_has_its_line_and_can_be_reached(states):
    table = TABLES[states]
    assert set(table) == set(states)
    first = next(iter(states))
    assert set().union(*table.values()) | {first} == set(states)


ILLEGAL = [(a, b) for a in StudyState for b in StudyState if b not in STUDY[a]]


@pytest.mark.parametrize(("source", "target"), ILLEGAL)
def test_a_study_cannot_be_moved_past_the_table(source, target):
    with pytest.raises(AssertionError, match=f"{source} -> {target} is not in the table"):
        studies.move(None, given.STUDY, source, target)  # type: ignore[arg-type]  # it must not come that far


@pytest.mark.parametrize("state", [s for s in JobState if s not in (JobState.DONE, JobState.FAILED)])
def test_a_job_is_finished_only_as_done_or_failed(ledger, state):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        job = given.leased(tx, job_id)
        with pytest.raises(AssertionError):
            jobs.finish(tx, job, state, word="w", reason=None, at=given.NOW)
        assert jobs.find(tx, job_id) == job


@pytest.mark.parametrize("state", [s for s in JobState if s is not JobState.WAITING])
def test_only_a_waiting_job_is_leased(ledger, state):
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        job = given.leased(tx, job_id)
        if state in (JobState.DONE, JobState.FAILED):
            assert jobs.finish(tx, job, state, word="w", reason=None, at=given.NOW)
        if state is JobState.HELD:
            for _ in range(given.LIMITS.kills_max):
                jobs.release_dead(tx, at=given.NOW, limits=given.LIMITS, owner_name="worker")
                jobs.lease(tx, job_id, owner="worker:1", at=given.NOW, seconds=30)
        found = jobs.find(tx, job_id)
        assert found is not None
        assert found.state is state
        assert jobs.lease(tx, job_id, owner="worker:2", at=given.NOW + 1e6, seconds=30) is None


@pytest.mark.parametrize("state", [s for s in DeliveryState if DeliveryState.SENDING not in DELIVERY[s]])
def test_only_a_waiting_delivery_is_taken(ledger, state):
    given.ended(ledger)
    (parcel,) = given.parcels(ledger, "archive")
    with ledger.write() as tx:
        if state in (DeliveryState.ACCEPTED, DeliveryState.COMMITTED):
            deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
        if state is DeliveryState.COMMITTED:
            commitments.want(tx, parcel.id, "archive", due_at=given.NOW)
            wanted = commitments.due(tx, "archive", at=given.NOW, limit=1)
            commitments.ask(tx, "archive", "2.25.1", wanted, at=given.NOW, until=given.NOW)
            uids, limits = {wanted[0].sop_instance_uid}, given.LIMITS
            commitments.reported(
                tx, "archive", "2.25.1", committed=uids, failed={}, at=given.NOW, limits=limits
            )
        if state in (DeliveryState.DEAD, DeliveryState.SETTLED):
            deliveries.dead(tx, parcel, status=0x0122, word="courier.refused", at=given.NOW)
        if state is DeliveryState.SETTLED:
            deliveries.settle(tx, [parcel.id], by="jo", send_again=False, at=given.NOW)
        found = deliveries.find(tx, parcel.id)
        assert found is not None
        assert found.state is state
    assert given.parcels(ledger, "archive", at=given.NOW + 1e6) == []


NAMES = {
    "Study": StudyState,
    "Job": JobState,
    "Delivery": DeliveryState,
    "Model version": VersionState,
    "Workitem": WorkitemState,
}


@pytest.mark.parametrize(("name", "states"), NAMES.items())
def test_the_diagram_shows_every_move_and_no_other(name, states):
    drawn = diagram(name, TABLES[states])
    moves = {(a, b) for a, b in re.findall(r"^    (\w+) --> (\w+)$", drawn, re.MULTILINE)}
    assert moves == {(str(a), str(b)) for a, targets in TABLES[states].items() for b in targets}
    assert drawn.startswith(f"## {name}\n")


def test_the_drawn_page_is_up_to_date():
    page = Path(__file__).resolve().parents[3] / "docs" / "states.md"
    if not page.exists():
        pytest.skip("docs/states.md is not written yet")
    text = page.read_text(encoding="utf-8")
    for name, states in NAMES.items():
        assert diagram(name, TABLES[states]).strip() in text
