"""SIGKILL of each service at seeded moments while a study goes through: nothing is lost, nothing doubled.

The judges are the sender's list of what was acknowledged, the files in the spool, and the PACS's own journal.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from appliance.core.words import JobState
from appliance.demo.box import Box
from appliance.demo.study import MadeStudy
from appliance.ledger import events, jobs, services, studies, tables
from dicom_node.limits import Limits as WireLimits
from dicom_node.memory import Held
from dicom_node.send import Outgoing, send
from tests.system import judging
from tests.system.boxes import (
    PACS_AE,
    Pacs,
    make_box,
    processes_of,
    running,
    service_pid,
    settled,
    spooled,
)
from tests.system.conftest import StartBox
from tests.system.dcmtk import MODALITY_AE
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
SHAPE = (16, 192, 192)
QUIET_SECONDS = 2.5
SERVICES = ("listener", "conductor", "worker", "courier", "console")
PHASES = ("receive", "assembly", "analysis", "delivery")
SUPERVISOR = "supervisor"


class SlowPacs(Pacs):
    """A PACS that takes its time over each object, so that a sender can be killed in the middle."""

    seconds = 0.15

    def keep(self, arrival: Held) -> None:
        """Write one object, later."""
        time.sleep(self.seconds)
        super().keep(arrival)


@dataclass
class Passage:
    """One study on its way through a box, and one kill at a moment of its way."""

    box: Box
    pacs: Pacs
    victim: str
    phase: str
    dice: random.Random
    study: MadeStudy = field(default_factory=lambda: made_up(SHAPE))
    acknowledged: dict[str, Outgoing] = field(default_factory=dict)
    associations: int = 0

    def go(self) -> None:
        """Send, kill, send again what was not acknowledged, wait for the end, judge."""
        objects = list(self.study.instances())
        if self.phase == "receive":
            self._send(objects, kill_after=self.dice.randrange(1, len(objects)))
        until(lambda: self._send_rest(objects), seconds=60, what="every image acknowledged")
        if self.phase != "receive":
            moment = {"assembly": lambda: True, "analysis": self._leased, "delivery": self._arriving}[
                self.phase
            ]
            until(moment, seconds=60, what=f"the study in {self.phase}")
            time.sleep(self.dice.uniform(0, 0.4))
            self.kill()
        settled(self.box, self.study.study_uid, seconds=120)
        self._judge_spool(objects)
        self._judge_pacs()
        counts = self.box.account(self.study.study_uid).counts
        assert counts.balance == 0
        assert counts.jobs.get(JobState.HELD, 0) == 0, "one kill holds no job"
        assert counts.jobs.get(JobState.FAILED, 0) == 0
        self._all_back()

    @property
    def hit(self) -> bool:
        """Say whether the kill fell on what it was meant for, as far as the phase leaves a trace."""
        with self.box.ledger.read() as tx:
            kills = sum(job.kills for job in jobs.of_study(tx, self.study.study_uid))
        sent_twice = any(d.attempts > 1 for d in self.box.account(self.study.study_uid).deliveries)
        traces = {
            ("listener", "receive"): self.associations > 1,
            ("worker", "analysis"): kills == 1,
            ("courier", "delivery"): sent_twice,
        }
        return traces.get((self.victim, self.phase), True)

    def kill(self) -> None:
        """End the victim as the kernel does when memory is short."""
        if self.victim == SUPERVISOR:
            self.box.kill()
            self.box.start()
            return
        pid = until(lambda: service_pid(self.box, self.victim), seconds=60, what=f"a living {self.victim}")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def _send(self, objects: Sequence[Outgoing], kill_after: int | None = None) -> None:
        self.associations += 1
        by_uid = {item.sop_instance_uid: item for item in objects}
        for number, sent in enumerate(
            send(self.box.as_peer, calling_ae=MODALITY_AE, objects=objects, limits=WireLimits()), start=1
        ):
            assert sent.outcome != "refused", sent
            if sent.outcome == "accepted":
                self.acknowledged[sent.sop_instance_uid] = by_uid[sent.sop_instance_uid]
            if number == kill_after:
                self.kill()

    def _send_rest(self, objects: Sequence[Outgoing]) -> bool:
        rest = [item for item in objects if item.sop_instance_uid not in self.acknowledged]
        if rest:
            self._send(rest)
        return len(self.acknowledged) == len(objects)

    def _leased(self) -> bool:
        with self.box.ledger.read() as tx:
            return any(job.state is not JobState.WAITING for job in jobs.of_study(tx, self.study.study_uid))

    def _arriving(self) -> bool:
        return bool(self.pacs.came_for(self.study.study_uid))

    def _judge_spool(self, objects: Sequence[Outgoing]) -> None:
        mine = {item.data for item in objects}
        assert {item.data for item in self.acknowledged.values()} == mine
        # A copy that was sent again is removed as soon as its row shows that the box had it.
        until(
            lambda: (
                {data: number for data, number in spooled(self.box).items() if data in mine}
                == dict.fromkeys(mine, 1)
            ),
            seconds=30,
            what="every acknowledged image in the spool, byte for byte, once",
        )

    def _judge_pacs(self) -> None:
        came = self.pacs.came_for(self.study.study_uid)
        contents: dict[str, set[str]] = {}
        for one in came:
            contents.setdefault(one.sop_instance_uid, set()).add(one.digest)
        assert all(len(digests) == 1 for digests in contents.values()), "one content under each UID"
        each = list({one.sop_instance_uid: one.path for one in came}.values())
        found = judging.kinds(each)
        assert (found.count("sr"), found.count("seg"), found.count("text-sr")) == (1, 1, 1), found
        assert "sc" in found

    def _all_back(self) -> None:
        until(
            lambda: all(service_pid(self.box, name) for name in SERVICES),
            seconds=60,
            what="every service is back",
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Pacs]]:
    folder = tmp_path_factory.mktemp("kill")
    pacs = SlowPacs(folder / "pacs", PACS_AE, peers=["READSIDE"])
    # Long enough for a sender to come back on a slow machine, once the listener answers again.
    box = make_box(folder / "site", pacs_port=pacs.start(), quiet_seconds=QUIET_SECONDS)
    try:
        with running(box):
            yield box, pacs
    finally:
        pacs.stop()


@pytest.fixture
def passage(site: tuple[Box, Pacs]) -> Callable[..., Passage]:
    box, pacs = site

    def make(victim: str, phase: str, seed: int) -> Passage:
        return Passage(box, pacs, victim, phase, random.Random(f"{victim} {phase} {seed}"))

    return make


# Each service where its death hurts most; the storm takes every pair.
@pytest.mark.parametrize(
    ("victim", "phase"),
    [
        ("listener", "receive"),
        ("listener", "assembly"),
        ("conductor", "receive"),
        ("conductor", "assembly"),
        ("worker", "analysis"),
        ("courier", "delivery"),
        ("console", "analysis"),
        (SUPERVISOR, "receive"),
        (SUPERVISOR, "analysis"),
        (SUPERVISOR, "delivery"),
    ],
)
def test_a_killed_service_loses_nothing(passage: Callable[..., Passage], victim: str, phase: str) -> None:
    for seed in range(3):
        going = passage(victim, phase, seed)
        going.go()
        if going.hit:
            return
    pytest.fail("three kills came too late to tell anything")


def test_a_study_cut_off_by_a_power_cut_is_not_taken_for_complete(start_box: StartBox, pacs: Pacs) -> None:
    # Longer than any start takes: no silence of this test makes a study complete, but the one that is told.
    box = start_box(pacs.port, quiet_seconds=120.0)
    going = Passage(box, pacs, SUPERVISOR, "receive", random.Random(99))
    objects = list(going.study.instances())
    half = objects[: len(objects) // 2]
    going._send(half)
    box.kill()
    until(lambda: not processes_of(box), seconds=60, what="every service ends without its supervisor")
    _an_hour_passes(box)
    box.start()
    until(
        lambda: all(_up(box, name) for name in ("listener", "conductor")),
        seconds=60,
        what="the listener and the conductor are back",
    )
    time.sleep(1.2)  # a turn or more of the conductor
    until(lambda: going._send_rest(objects), seconds=60, what="every image acknowledged")
    until(lambda: _rows(box, going.study.study_uid) == len(objects), seconds=30, what="a row for each image")
    _an_hour_passes(box, heard=True)
    settled(box, going.study.study_uid, seconds=120)
    going._judge_pacs()
    with box.ledger.read() as tx:
        timeline = events.of_study(tx, going.study.study_uid)
    complete = [event.detail["instances"] for event in timeline if event.word == "assemble.ready"]
    assert complete == [len(objects)], "half a study was never taken for a whole one"


def _an_hour_passes(box: Box, *, heard: bool = False) -> None:
    """Put what came an hour into the past, and since when the listener hears, if it heard all that time."""
    with box.ledger.write() as tx:
        for table in (tables.studies, tables.series):
            tx.execute(sa.update(table).values(last_at=table.c.last_at - 3600))
        if heard:
            listener = tables.services.c.name == "listener"
            earlier = tables.services.c.started_at - 3600
            tx.execute(sa.update(tables.services).where(listener).values(started_at=earlier))


def _rows(box: Box, study_uid: str) -> int:
    with box.ledger.read() as tx:
        return studies.count_of(tx, study_uid)


def _up(box: Box, name: str) -> bool:
    """Say whether the process that lives now has noted its start."""
    pid = service_pid(box, name)
    with box.ledger.read() as tx:
        return pid is not None and any(one.pid == pid for one in services.everyone(tx) if one.name == name)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_storm_of_kills_loses_nothing(passage: Callable[..., Passage]) -> None:
    dice = random.Random(20261121)
    every = [(victim, phase) for victim in (*SERVICES, SUPERVISOR) for phase in PHASES]
    for seed, (victim, phase) in enumerate(dice.sample(every, len(every)) + dice.choices(every, k=6)):
        passage(victim, phase, seed=seed).go()


def test_nobody_else_may_look_into_the_box(site: tuple[Box, Pacs]) -> None:
    root: Path = site[0].config.storage.root
    stored = [*root.glob("kept/?/*"), *root.glob("results/?/*")]
    assert stored
    assert not [path for path in (root, *stored) if path.stat().st_mode & 0o077]
