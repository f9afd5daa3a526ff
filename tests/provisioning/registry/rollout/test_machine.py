"""Anything may happen in any order: what must hold then, of all roll-outs of a model together."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from provisioning.registry.faults import RegistryFault
from provisioning.registry.rollout.events import (
    Approved,
    Event,
    Judged,
    Paused,
    Recalled,
    Resumed,
    Returned,
    Seen,
    Stopped,
    Superseded,
)
from provisioning.registry.rollout.facts import Sight, Stand
from provisioning.registry.rollout.gate import Verdict
from provisioning.registry.rollout.plan import Plan
from provisioning.registry.rollout.reducer import reduce
from provisioning.registry.rollout.state import BEGUN, FINAL, Stage, State, Want, due, first
from tests.provisioning.registry.rollout.making import APPROVER, MAKER, MONDAY, OPERATOR, judgement, plan

SLOTS = "abcdef"
AT_ONCE = 3
MOVES = (Phase.FETCHING, Phase.VERIFIED, Phase.WAITING_CONSENT, Phase.ACTIVATING, Phase.SOAK, Phase.COMMITTED)


@dataclass
class Running:
    """One roll-out, and all that was kept of it."""

    plan: Plan
    state: State
    events: list[Event] = field(default_factory=list)


class Fleet(RuleBasedStateMachine):
    """A director's list, six devices, and roll-outs that follow each other."""

    def __init__(self) -> None:
        super().__init__()
        self.at = MONDAY
        self.rollouts: list[Running] = []
        self.assigned: dict[str, str | None] = dict.fromkeys(SLOTS, "1.0.0")
        self.reachable = dict.fromkeys(SLOTS, True)
        self.phases: dict[tuple[str, str], tuple[Phase, int]] = {}

    @initialize()
    def begin(self) -> None:
        self._propose()

    @rule(of=st.integers(0, 4))
    def approve(self, of: int) -> None:
        one = self._some(of)
        if one.state.stage is Stage.PROPOSED:
            for other in self.rollouts:
                if other is not one:
                    self._happen(other, Superseded(at=self.at, rollout=self.rollouts.index(one)))
        self._decide(one, Approved(at=self.at, by=APPROVER, why="x", ring=one.state.ring))

    @rule(of=st.integers(0, 4), kind=st.sampled_from([Paused, Resumed, Stopped, Returned]))
    def decide(self, of: int, kind: type[Paused | Resumed | Stopped | Returned]) -> None:
        self._decide(self._some(of), kind(at=self.at, by=OPERATOR))

    @rule(of=st.integers(0, 4))
    def approve_own(self, of: int) -> None:
        one = self._some(of)
        before = one.state
        self._decide(one, Approved(at=self.at, by=MAKER, why="x", ring=before.ring))
        assert one.state == before

    @rule(of=st.integers(0, 4))
    def recall(self, of: int) -> None:
        self._happen(self._some(of), Recalled(at=self.at, why="x"))

    @rule()
    def propose(self) -> None:
        if len(self.rollouts) < 4:
            self._propose()

    @rule(slot=st.sampled_from(SLOTS), phase=st.sampled_from(MOVES))
    def move(self, slot: str, phase: Phase) -> None:
        version = self.assigned[slot]
        if version is not None and self.reachable[slot]:
            self.phases[slot, version] = (phase, 0)

    @rule(slot=st.sampled_from(SLOTS), word=st.sampled_from([Word.REJECTED, Word.SLOWER, Word.NO_ROOM]))
    def fail(self, slot: str, word: Word) -> None:
        version = self.assigned[slot]
        if version is not None:
            phase = Phase.ROLLED_BACK if word is Word.SLOWER else Phase.REFUSED
            self.phases[slot, version] = (phase, code_of(word))

    @rule(slot=st.sampled_from(SLOTS))
    def go_or_come(self, slot: str) -> None:
        self.reachable[slot] = not self.reachable[slot]

    @rule(slot=st.sampled_from(SLOTS), version=st.sampled_from(["0.9.0", None]))
    def another_hand(self, slot: str, version: str | None) -> None:
        self.assigned[slot] = version

    @rule(hours=st.sampled_from([1, 7, 48, 300]))
    def wait(self, hours: int) -> None:
        self.at += hours * 3_600.0

    @rule(signs=st.booleans())
    def look(self, signs: bool) -> None:
        """The controller's turn; without `signs` it died before it could."""
        for one in self.rollouts:
            if not one.state.is_open:
                continue
            self._look(one)
            if due(one.state) and not signs:
                return
            self._sign(one)

    @rule(of=st.integers(0, 4), verdict=st.sampled_from(Verdict))
    def judge(self, of: int, verdict: Verdict) -> None:
        one = self._some(of)
        before = one.state
        self._happen(one, Judged(at=self.at, ring=before.ring, judgement=judgement(verdict)))
        if verdict is Verdict.NOT_ENOUGH or before.stage is not Stage.RUNNING:
            assert (one.state.ring, one.state.stage) == (before.ring, before.stage)
        if verdict is Verdict.FAIL and before.stage is Stage.RUNNING:
            assert one.state.stage is Stage.BACK

    @invariant()
    def one_release_at_a_time(self) -> None:
        under_way = [one for one in self.rollouts if one.state.stage in (Stage.RUNNING, Stage.PAUSED)]
        assert len(under_way) <= 1
        for slot in SLOTS:
            assigning = [one for one in self.rollouts if slot in due(one.state).assign]
            assert len(assigning) <= 1

    @invariant()
    def what_is_paused_or_ended_assigns_nothing(self) -> None:
        for one in self.rollouts:
            if one.state.stage in (Stage.PAUSED, Stage.PROPOSED, *FINAL):
                assert not due(one.state).assign
            if one.state.stage is Stage.BACK:
                assert not any(slot.want in (Want.RELEASE, Want.ASIDE) for slot in one.state.slots.values())

    @invariant()
    def who_failed_or_left_is_not_assigned(self) -> None:
        for one in self.rollouts:
            for name in due(one.state).assign:
                assert one.state.slots[name].stand not in (Stand.FAILED, Stand.LEFT)

    @invariant()
    def the_same_events_give_the_same_state(self) -> None:
        for one in self.rollouts:
            state = first(one.plan)
            for event in one.events:
                state = reduce(one.plan, state, event).state
            assert state == one.state

    def teardown(self) -> None:
        """In the end what is due is signed, and what ended has nothing left to do."""
        for _ in range(3):
            self.look(signs=True)
        for one in self.rollouts:
            if one.state.stage in FINAL:
                assert not due(one.state)
                for name, slot in one.state.slots.items():
                    if slot.want is Want.BEFORE:
                        assert self.assigned[name] != one.plan.version

    def _propose(self) -> None:
        version = f"2.0.{len(self.rollouts)}"
        base = plan([list("ab"), list("cd"), list("ef")], at_once_max=AT_ONCE)
        made = Plan(
            **{**{name: getattr(base, name) for name in base.__dataclass_fields__}, "version": version}
        )
        self.rollouts.append(Running(made, first(made)))

    def _some(self, number: int) -> Running:
        return self.rollouts[number % len(self.rollouts)]

    def _decide(self, one: Running, event: Event) -> None:
        before = one.state
        try:
            self._happen(one, event)
        except RegistryFault:
            assert one.state == before

    def _happen(self, one: Running, event: Event) -> None:
        before = one.state
        step = reduce(one.plan, before, event)
        if step.state != before:
            one.state = step.state
            one.events.append(event)
        if isinstance(event, Paused):
            kept = [slot for slot in one.state.slots.values() if slot.want is Want.RELEASE]
            assert all(slot.phase in BEGUN for slot in kept)
        if before.stage in FINAL:
            assert one.state.stage in FINAL
            assert not step.actions.assign
        new = {name for name in step.actions.assign if before.slots[name].want is not Want.RELEASE}
        if new:
            moving = sum(slot.is_moving for slot in one.state.slots.values())
            assert moving <= AT_ONCE
            assert all(one.state.slots[name].reachable for name in new)

    def _look(self, one: Running) -> None:
        sights = {}
        for slot in SLOTS:
            phase, code = self.phases.get((slot, one.plan.version), (None, 0))
            sights[slot] = Sight(
                reachable=self.reachable[slot], phase=phase, code=code, assigned=self.assigned[slot]
            )
        self._happen(one, Seen(at=self.at, sights=sights))

    def _sign(self, one: Running) -> None:
        actions = due(one.state)
        for version, names in actions.back.items():
            self.assigned.update(dict.fromkeys(names, version))
        self.assigned.update(dict.fromkeys(actions.assign, one.plan.version))
        if actions:
            self._look(one)


Fleet.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestFleet = Fleet.TestCase
