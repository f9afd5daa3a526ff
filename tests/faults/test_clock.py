"""F45: the wall clock is set, forward, back, or from 1970; what waits begins anew, nothing goes too early."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.core.clock import HeldClock, StepWatch
from appliance.core.limits import DEFAULT
from appliance.core.words import DeliveryState, JobState, StudyState
from appliance.demo.box import Box, SiteShape
from appliance.ledger import arrivals, deliveries, events, jobs, services, studies
from appliance.ledger.engine import Ledger
from appliance.queue.hub import Hub
from appliance.services import conductor as conductor_module
from appliance.services.conductor import Conductor
from appliance.services.stage import Stage
from tests.appliance.ledger import given
from tests.faults.boxes import _empty_ledger, quick_ledger

DAY = 86_400.0
YEARS = 56 * 365 * DAY
QUIET = 60.0
STEPS = [DAY, -DAY, YEARS]
IDS = ["a day forward", "a day back", "from 1970"]


@dataclass
class SetClock(HeldClock):
    """A clock whose wall hand is set apart from the one that never jumps."""

    set_by: float = 0.0

    def now(self) -> float:
        return self.seconds + self.set_by


@dataclass
class Room:
    """A conductor with its ledger, and a listener that was up all the time."""

    stage: Stage
    box: Box
    clock: SetClock
    hub: Hub
    conductor: Conductor

    def turn(self) -> None:
        self.conductor.turn(self.hub)

    def pass_by(self, seconds: float) -> None:
        """Let time go by, with a turn every second as in a box, and leases that are kept alive."""
        self.clock.advance(seconds)
        self.turn()

    def anew(self) -> None:
        """Start the service again."""
        self.conductor = Conductor(self.stage, self.box.config)

    def state(self) -> StudyState:
        with self.stage.ledger.read() as tx:
            study = studies.find(tx, given.STUDY)
        assert study is not None
        return study.state


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    clock = SetClock()
    shape = SiteShape(pacs_ae="PACS", pacs_port=104, quiet_seconds=QUIET, series_quiet_seconds=QUIET, more="")
    (tmp_path / "site").mkdir()
    box = Box(tmp_path / "site", shape)
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(_empty_ledger())
    ledger = quick_ledger(path, clock)
    stage = Stage(name="conductor", config=box.config, ledger=ledger)
    with ledger.write() as tx:
        services.started(tx, "listener", pid=os.getpid(), at=clock.now() - DAY, detail={})
        services.beat(tx, "listener", at=clock.now())
    monkeypatch.setattr(conductor_module, "living", lambda _run_dir, _name: os.getpid())
    with closing(Hub(tmp_path / "run")) as hub, closing(ledger):
        yield Room(stage, box, clock, hub, Conductor(stage, box.config))


def kept(ledger: Ledger) -> None:
    with ledger.write() as tx:
        arrivals.add(tx, given.instance(1), calling_ae="CT1", at=ledger.clock.now())


# A box that was off for long cannot be told from one whose clock was set forward meanwhile.
@pytest.mark.parametrize(
    ("by", "while_down"),
    [*((by, False) for by in STEPS), (-DAY, True)],
    ids=[*IDS, "a day back, while it was off"],
)
def test_f45_a_study_gets_its_quiet_time_whole_and_no_more(room: Room, by: float, while_down: bool) -> None:
    kept(room.stage.ledger)
    room.pass_by(QUIET / 2)
    room.clock.set_by = by
    if while_down:
        room.anew()
    with capture_logs() as logs:
        room.turn()
    assert while_down or [line["seconds"] for line in logs if line["event"] == "clock.stepped"] == [by]
    assert room.state() is StudyState.GATHERING, "nothing is quiet because a clock was set"
    room.pass_by(QUIET - 1)
    assert room.state() is StudyState.GATHERING
    room.pass_by(2)
    assert room.state() is not StudyState.GATHERING, "and nothing waits a day for it"
    with room.stage.ledger.read() as tx:
        (told,) = events.latest(tx, 5, word="clock.stepped")
    assert abs(told.detail["seconds"] - by) <= QUIET


@pytest.mark.parametrize("by", STEPS, ids=IDS)
def test_f45_leases_and_what_is_due_survive(room: Room, by: float) -> None:
    ledger = room.stage.ledger
    leased, waiting = given.a_job(ledger, routes=("bands", "others"))
    with ledger.write() as tx:
        given.leased(tx, leased)
        other = given.leased(tx, waiting)
        later = room.clock.now() + DEFAULT.retry_seconds
        jobs.postpone(tx, other, word="job.fault", reason="", at=room.clock.now(), not_before=later)
    room.clock.set_by = by
    room.turn()
    with ledger.read() as tx:
        found = jobs.find(tx, leased)
        assert found is not None
        assert (found.state, found.kills) == (JobState.LEASED, 0), "its worker lives"
    room.clock.advance(DEFAULT.retry_seconds)
    with ledger.read() as tx:
        assert waiting in jobs.due(tx, at=room.clock.now(), limit=10)
    room.pass_by(DEFAULT.lease_seconds)
    with ledger.read() as tx:
        found = jobs.find(tx, leased)
        assert found is not None
        assert (found.state, found.kills) == (JobState.WAITING, 1), (
            "its worker died, and that is seen in time"
        )


def test_f45_a_delivery_that_waits_is_not_put_off_for_a_day(room: Room) -> None:
    ledger, clock = room.stage.ledger, room.clock
    given.ended(ledger)
    (parcel,) = given.parcels(ledger, "archive")
    with ledger.write() as tx:
        due_at = clock.now() + 5
        deliveries.later(
            tx, parcel, status=None, word="courier.later", at=clock.now(), due_at=due_at, refused=False
        )
    clock.set_by = -DAY
    room.turn()
    clock.advance(5)
    with ledger.read() as tx:
        assert "archive" in deliveries.peers_due(tx, at=clock.now())
        (found,) = deliveries.in_state(tx, DeliveryState.LATER, limit=5)
    assert found.attempts == 1


def test_f45_images_stay_for_their_days_however_the_clock_is_set(room: Room) -> None:
    days = room.box.config.storage.retain_days
    purge_before = room.conductor._timekeeper
    assert purge_before.retain_days == days
    room.clock.set_by = YEARS
    room.turn()
    assert room.conductor._timekeeper.retain_days >= days + YEARS / DAY
    room.clock.advance((days - 0.1) * DAY)
    room.anew()
    assert room.conductor._timekeeper.retain_days >= days + YEARS / DAY, "a start forgets no step"
    room.clock.advance(0.2 * DAY)
    assert room.conductor._timekeeper.retain_days == days
    of_results = room.box.config.storage.results_days
    assert room.conductor._timekeeper.results_days >= of_results + YEARS / DAY, "theirs are not over yet"
    room.clock.advance((of_results - days) * DAY)
    assert room.conductor._timekeeper.results_days == of_results


def test_f45_drift_is_no_step() -> None:
    clock = SetClock()
    watch = StepWatch(clock, 2.0)
    for _ in range(100):
        clock.advance(60)
        clock.set_by += 0.03
        assert watch.look() == 0
    clock.set_by -= 5
    assert watch.look() == -5
    assert watch.look() == 0
