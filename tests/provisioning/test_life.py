"""A whole life: v1 serves, v2 fails on one GPU type and its ring stops by itself, v3 goes through to the end.

Two rings of simulated devices and one real box, against the registry's real server: signed lists, signed
reports, people with roles. The real box is of the GPU type on which v2's golden cases fail, and fails them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli.registry import app as registry_app
from appliance.sync.carrier import carrier_of
from appliance.sync.floors import book_of
from appliance.sync.limits import SOAK
from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from appliance.sync.release import reference
from appliance.sync.soak import Watch
from provisioning.registry.database import audit, rollouts
from provisioning.registry.promote import promote
from provisioning.registry.publish import publish
from provisioning.registry.rollout.decide import assigned
from provisioning.registry.rollout.reducer import reduce
from provisioning.registry.rollout.state import first
from tests.appliance import packages
from tests.provisioning.field import DEVICE, NAME, SERVES, Field
from tests.provisioning.fleet import Fleet, Reporter, fleet

V2, V3 = "1.2.0", "1.3.0"
HOUR = 3_600.0
# A short life: an hour of soak at any time of the week; the rest as by default.
GATES = {"soak_seconds_min": HOUR, "working_seconds_min": 0.0}


class Life:
    """The fleet, and the real box in it."""

    def __init__(self, made: Fleet, field: Field) -> None:
        self.fleet, self.field = made, field
        self.box = Reporter(slot=DEVICE, gpu="t4", vendor="siemens", site="real")
        self.said: dict[str, dict[str, object]] = {}

    def turn(self, *, hours: float = 0.0, studies: int = 0) -> None:
        """Let time pass, everybody report, and the controller look."""
        self.field.clock.advance(hours * HOUR)
        self.fleet.turn(studies)
        self.box_turn()
        self.fleet.carry_out()

    def box_turn(self) -> Word:
        """Let the real box take a turn, watch what serves, and report its standing."""
        carrier = carrier_of(self.fleet.served.url)
        (outcome,) = self.field.turn(carrier).outcomes
        watch = Watch(
            box=self.field.box,
            floors=book_of(self.field.box.config),
            limits=replace(SOAK, seconds_min=0.0, jobs_min=0),
        )
        watch.look()
        if outcome.digest:
            phase = Phase.COMMITTED if outcome.phase is Phase.SOAK else outcome.phase
            self.said[outcome.digest] = {
                "release": reference(outcome.digest),
                "phase": int(phase),
                "reason": code_of(outcome.word),
                "serving": outcome.is_well,
            }
        self.box.report(self.fleet.served, list(self.said.values()), at=self.field.clock.now())
        return outcome.word

    def start(self, version: str, number: int) -> None:
        """Propose a roll-out, and have it approved by somebody else."""
        made = self.fleet.say("otto", "", model=NAME, version=version, gates=GATES)
        assert (made["status"], made["id"], made["stage"]) == (201, number, "proposed")
        assert self.fleet.say("otto", f"/{number}/approve")["status"] == 403
        assert self.fleet.say("ann", f"/{number}/approve")["stage"] == "running"

    def versions(self) -> dict[str, str | None]:
        """What the director gives everybody."""
        return assigned(self.fleet.book, NAME)

    def stand(self, number: int) -> dict[str, str]:
        """Where each slot of a roll-out stands."""
        rings = self.fleet.show(number)["ring_slots"]
        return {name: slot["stand"] for ring in rings for name, slot in ring.items()}


@pytest.fixture
def life(field: Field, tmp_path: Path) -> Iterator[Life]:
    """Two rings: the box, a T4 and two L4 first; then others, one of which is away."""
    with fleet(field.book, field.clock, NAME) as made:
        life = Life(made, field)
        made.slot(life.box)
        add = partial(made.device, folder=tmp_path / "devices")
        add("t4-1", gpu="t4", vendor="siemens", site="a", bad=frozenset({V2}))
        for number, site in enumerate("abc", 1):
            add(f"l4-{number}", gpu="l4", vendor="siemens", site=site)
        add("t4-2", gpu="t4", vendor="siemens", site="d", bad=frozenset({V2}))
        away = add("l4-4", gpu="l4", vendor="siemens", site="d")
        made.ring(0, DEVICE, "t4-1", "l4-1", "l4-2")
        made.ring(1, "l4-3", "t4-2", "l4-4")
        promote(field.book, NAME, SERVES, sorted(life.versions()))
        life.turn(studies=2_000)
        away.reachable = False
        yield life


@pytest.mark.timeout(600)
def test_v2_fails_on_one_gpu_type_and_v3_passes(life: Life, tmp_path: Path):
    field = life.field
    publish(field.book, packages.blind(tmp_path / "v2", V2), field.keys)
    life.start(V2, 1)
    life.fleet.carry_out()
    assert {name for name, version in life.versions().items() if version == V2} == {
        DEVICE,
        "t4-1",
        "l4-1",
        "l4-2",
    }

    # The real box refuses it for its own golden cases; the ring stops by itself and everybody goes back.
    life.turn(studies=50)
    shown = life.fleet.show(1)
    assert shown["stage"] == "back"
    assert shown["why"] == "the gate of ring 0 failed: rolled_back"
    assert f"rolled_back: the release failed on 2 devices, 1 are allowed ({DEVICE}, t4-1)" in shown["reasons"]
    assert any(reason.startswith("every_gpu: it failed on a kind of GPU") for reason in shown["reasons"])
    assert shown["ring_slots"][0][DEVICE]["word"] == "rejected"
    assert set(life.versions().values()) == {SERVES}
    assert field.serving() == SERVES
    life.turn()
    assert {one.serves for one in life.fleet.devices} == {SERVES}
    assert {one.slot for one in life.fleet.devices if V2 in one.ever} == {"t4-1", "l4-1", "l4-2"}
    assert life.fleet.say("ann", "/1/approve")["status"] == 409
    assert life.fleet.say("otto", "/1/resume")["status"] == 409
    told = CliRunner().invoke(
        registry_app, ["rollout", "show", "1", "--registry", str(field.book.folder), "--json"]
    )
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["reasons"] == shown["reasons"]

    # The next one passes: first ring, soak, second ring, end; who was away joins when it is back.
    publish(field.book, packages.bands(tmp_path / "v3", V3), field.keys)
    life.start(V3, 2)
    life.fleet.carry_out()
    life.turn(studies=100)
    assert field.serving() == V3
    assert life.stand(2)["l4-3"] == "pending"
    shown = life.fleet.show(2)
    assert (shown["stage"], shown["verdict"]) == ("running", "not_enough")
    assert [reason.partition(":")[0] for reason in shown["reasons"]] == ["soak"]
    life.turn(hours=0.9, studies=50)
    assert life.fleet.show(2)["ring"] == 0
    life.turn(hours=0.9, studies=50)
    life.fleet.carry_out()
    assert life.fleet.show(2)["ring"] == 1
    for _ in range(3):
        life.turn(hours=0.9, studies=150)
    shown = life.fleet.show(2)
    assert shown["stage"] == "done"
    assert life.versions()["l4-4"] == SERVES, "nobody waited for it, and it was given nothing meanwhile"
    life.fleet.devices[-1].reachable = True
    life.turn(studies=10)
    life.turn(studies=10)
    assert set(life.versions().values()) == {V3}
    assert {one.serves for one in life.fleet.devices} == {V3}

    # One action takes it back everywhere, and the real box goes back for real.
    assert life.fleet.say("otto", "/2/back", why="calls from sites")["stage"] == "back"
    life.fleet.carry_out()
    assert set(life.versions().values()) == {SERVES}
    assert life.box_turn() is Word.ACTIVATED
    assert field.serving() == SERVES

    # What happened can be told from the rows alone.
    with life.fleet.database.read() as tx:
        for number in (1, 2):
            one = rollouts.find(tx, number)
            assert one is not None
            state = first(one.plan)
            for entry in rollouts.history(tx, number):
                state = reduce(one.plan, state, entry.event).state
            assert state == one.state
        acts = {act.act for act in audit.acts(tx, limit=200)}
    assert {"rollout.start", "rollout.approved", "rollout.judged", "rollout.assign", "rollout.back"} <= acts
    assert audit.verify(life.fleet.database).broken_at is None
