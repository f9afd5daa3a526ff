"""What needs a person is on the page, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from appliance.console import attention, snapshot
from appliance.console.limits import DEFAULT
from appliance.core.limits import DEFAULT as CORE
from appliance.ledger import services
from appliance.ledger.tables import jobs
from tests.appliance.console.filling import FAILED, HELD, LATE


@pytest.fixture
def found(filled):
    return lambda: attention.collect(filled.ledger, filled.app.state.room.watch.look(), filled.limits)


def test_each_kind_is_there_once(found):
    now = found()
    assert [study.study_uid for study in now.held] == [HELD]
    assert [job.study_uid for job in now.failing] == [FAILED]
    assert [(group.study_uid, group.peer, len(group.ids)) for group in now.dead] == [(FAILED, "pacs", 2)]
    assert [(entry.peer, entry.count) for entry in now.waiting] == [("pacs", 2)]
    assert (now.snapshot.silent, now.snapshot.disk.state, now.faults) == ([], "ok", [])
    assert now.count == 4
    assert LATE not in now.headings


def test_a_service_is_silent_after_three_heartbeats(filled, found):
    with filled.ledger.write() as tx:
        services.beat(tx, "worker", at=filled.clock.now())
    filled.clock.advance(CORE.heartbeat_seconds * DEFAULT.silent_heartbeats)
    with filled.ledger.write() as tx:
        services.beat(tx, "listener", at=filled.clock.now())
    assert found().snapshot.silent == ["conductor"]
    assert "conductor" in filled.logged_in().get("/attention").text


def test_a_broken_promise_is_said_in_words(filled, found):
    with filled.ledger.write() as tx:
        tx.execute(sa.update(jobs).where(jobs.c.study_uid == LATE).values(state="FAILED", finished_at=1.0))
    assert found().faults == [(1, attention.FAULTS["ended_without_result"])]
    assert "The counts do not add up" in filled.logged_in().get("/attention").text


@pytest.mark.parametrize(("floor_gib", "state"), [(0.0, "ok"), (2**30, "under")])
def test_the_disk(filled, config, floor_gib, state):
    full = config.model_copy(update={"storage": config.storage.model_copy(update={"floor_gib": floor_gib})})
    now = snapshot.take(filled.ledger, full, spool_root=filled.root, clock=filled.clock)
    assert now.disk.state == state


def test_the_disk_comes_near_its_floor():
    disk = snapshot.Disk(free_bytes=12, floor_bytes=10, near_bytes=15)
    assert disk.state == "near"
    assert replace(disk, free_bytes=15).state == "ok"
    assert replace(disk, free_bytes=9).state == "under"


def test_the_names_of_all_faults_are_known(filled, found):
    assert set(found().snapshot.counts.faults) <= set(attention.FAULTS)
