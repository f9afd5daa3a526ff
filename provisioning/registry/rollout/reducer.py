"""What follows from what happened: plan, state and event give the next state and what is to be signed.

Promises: pure, so that the same events give the same state; only the verdict "pass" or an approver begins the
next ring; a pause assigns nothing and takes back what does not serve yet; what ended is never assigned again;
who is offline, late or failed takes no place and holds up nobody; who made a roll-out does not approve it.
Never: assigns to a slot to which another hand assigned something else, or on whose device the release failed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

from appliance.sync.phase import Phase
from provisioning.registry.faults import RegistryFault
from provisioning.registry.operator import person
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
from provisioning.registry.rollout.plan import DEADLINES, Plan
from provisioning.registry.rollout.state import (
    ASSIGNING,
    BEGUN,
    FINAL,
    Actions,
    Slot,
    Stage,
    State,
    Want,
    due,
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """The next state, and what is to be signed in it."""

    state: State
    actions: Actions


def reduce(plan: Plan, state: State, event: Event) -> Step:
    """Return what follows from an event.

    Raises:
        RegistryFault: a person decided what cannot be decided now, or may not decide it.
    """
    after = _after(event, plan, state)
    if after.stage in ASSIGNING:
        after = _filled(plan, after, event.at)
    return Step(state=after, actions=due(after))


@singledispatch
def _after(event: object, plan: Plan, state: State) -> State:
    raise TypeError(f"{type(event).__name__} is no event")


@_after.register
def _approved(event: Approved, plan: Plan, state: State) -> State:
    if person(event.by) == person(plan.made_by):
        raise RegistryFault(f"{event.by} made this roll-out; somebody else must approve it")
    if state.stage is Stage.PROPOSED:
        return replace(state, stage=Stage.RUNNING, ring_since=event.at, why=event.why)
    if state.stage is not Stage.RUNNING or state.verdict is not Verdict.NOT_ENOUGH:
        raise RegistryFault(f"nothing waits for an approval: it is {state.stage}")
    if event.ring != state.ring:
        raise RegistryFault(f"ring {state.ring} is under way: say with its number that it is meant")
    if not event.why.strip():
        raise RegistryFault("going on without enough evidence needs a reason")
    return _onward(plan, state, event.at, event.why)


@_after.register
def _paused(event: Paused, plan: Plan, state: State) -> State:
    del plan
    if state.stage is not Stage.RUNNING:
        raise RegistryFault(f"only what runs can be paused: it is {state.stage}")
    return replace(_with_back(state, Want.ASIDE, begun=False), stage=Stage.PAUSED, why=event.why)


@_after.register
def _resumed(event: Resumed, plan: Plan, state: State) -> State:
    del plan
    if state.stage is not Stage.PAUSED:
        raise RegistryFault(f"only what is paused can be resumed: it is {state.stage}")
    # What the gate said before the pause is old: it is asked again.
    return replace(state, stage=Stage.RUNNING, verdict=None, holds=(), why=event.why)


@_after.register
def _stopped(event: Stopped, plan: Plan, state: State) -> State:
    del plan
    if state.stage in FINAL:
        raise RegistryFault(f"it has ended already: it is {state.stage}")
    return replace(_with_back(state, Want.BEFORE, begun=False), stage=Stage.STOPPED, why=event.why)


@_after.register
def _returned(event: Returned, plan: Plan, state: State) -> State:
    del plan
    if state.stage in (Stage.BACK, Stage.SUPERSEDED, Stage.PROPOSED):
        raise RegistryFault(f"there is no way back from here: it is {state.stage}")
    return _back(state, event.why)


@_after.register
def _recalled(event: Recalled, plan: Plan, state: State) -> State:
    del plan
    return state if state.stage in (Stage.BACK, Stage.SUPERSEDED) else _back(state, f"recalled: {event.why}")


@_after.register
def _superseded(event: Superseded, plan: Plan, state: State) -> State:
    del plan
    if state.stage in (Stage.SUPERSEDED, Stage.PROPOSED):
        return state
    if state.stage is Stage.BACK:
        return replace(state, superseded=True)
    aside = _with_back(state, Want.BEFORE, begun=False)
    why = f"roll-out {event.rollout} began"
    return replace(aside, stage=Stage.SUPERSEDED, superseded=True, why=why)


@_after.register
def _seen(event: Seen, plan: Plan, state: State) -> State:
    slots = {}
    for name, slot in state.slots.items():
        sight = event.sights.get(name)
        looked = slot if sight is None else _looked(plan, slot, sight, event.at)
        slots[name] = _timed(looked, event.at)
    seen = replace(state, slots=slots)
    if state.stage is Stage.RUNNING and state.soaking_since is None and _has_committed(plan, seen):
        seen = replace(seen, soaking_since=event.at)
    return seen


@_after.register
def _judged(event: Judged, plan: Plan, state: State) -> State:
    if state.stage is not Stage.RUNNING or event.ring != state.ring:
        # It speaks of another moment.
        return state
    judgement = event.judgement
    if judgement.verdict is Verdict.PASS:
        return _onward(plan, state, event.at, "the gate was passed")
    holds = tuple(check.name for check in judgement.of(judgement.verdict))
    if judgement.verdict is Verdict.FAIL:
        why = f"the gate of ring {state.ring} failed: {', '.join(holds)}"
        return replace(_back(state, why), verdict=Verdict.FAIL, holds=holds)
    asked = state.asked or event.at - state.ring_since > plan.ask_seconds
    return replace(state, verdict=Verdict.NOT_ENOUGH, holds=holds, asked=asked)


def _onward(plan: Plan, state: State, at: float, why: str) -> State:
    """Begin the next ring, or be done after the last."""
    fresh = replace(state, verdict=None, holds=(), asked=False, soaking_since=None, why=why)
    if state.ring + 1 == len(plan.rings):
        return replace(fresh, stage=Stage.DONE, verdict=Verdict.PASS)
    return replace(fresh, ring=state.ring + 1, ring_since=at)


def _back(state: State, why: str) -> State:
    return replace(_with_back(state, Want.BEFORE, begun=True), stage=Stage.BACK, why=why)


def _with_back(state: State, want: Want, *, begun: bool) -> State:
    """Take the release back from the slots that have it; with `begun` also where the change has begun."""
    slots = {}
    for name, slot in state.slots.items():
        ours = slot.want is Want.ASIDE or (slot.want is Want.RELEASE and (begun or slot.phase not in BEGUN))
        slots[name] = _wanting(slot, want) if ours else slot
    return replace(state, slots=slots)


def _wanting(slot: Slot, want: Want) -> Slot:
    same = {slot.want, want} <= {Want.BEFORE, Want.ASIDE}
    return replace(slot, want=want, confirmed=slot.confirmed and same, late=False)


def _looked(plan: Plan, slot: Slot, sight: Sight, at: float) -> Slot:
    """Return a slot as a look shows it."""
    if sight.hardware and slot.hardware and sight.hardware != slot.hardware:
        # What the device did that stood here before says nothing of this one.
        begun = Phase.ASSIGNED if slot.want is Want.RELEASE else Phase.UNKNOWN
        slot = replace(slot, phase=begun, code=0, serving=None, failed=False, since=at, base=None)
    phase = sight.phase if sight.phase is not None else slot.phase
    entered = phase is not slot.phase or (sight.reachable and not slot.reachable)
    seen = replace(
        slot,
        reachable=sight.reachable,
        phase=phase,
        code=slot.code if sight.phase is None else sight.code,
        serving=slot.serving if sight.serving is None else sight.serving,
        hardware=sight.hardware or slot.hardware,
        assigned=sight.assigned,
        base=slot.base if sight.base is None or slot.want is not Want.NOTHING else sight.base,
        since=at if entered else slot.since,
    )
    seen = _held_against(plan, seen)
    if seen.want is Want.RELEASE and sight.is_blamed:
        # It does not try again by itself; given back what it had, it is well.
        return replace(_wanting(seen, Want.BEFORE), failed=True)
    return seen


def _held_against(plan: Plan, slot: Slot) -> Slot:
    """Hold what is wanted against what the director's list was seen to give."""
    wanted, other = {
        Want.RELEASE: (plan.version, slot.before),
        Want.BEFORE: (slot.before, plan.version),
        Want.ASIDE: (slot.before, plan.version),
    }.get(slot.want, (slot.assigned, None))
    if slot.want in (Want.NOTHING, Want.LEFT):
        return slot
    if slot.assigned == wanted:
        return replace(slot, confirmed=True)
    if not slot.confirmed and slot.assigned == other:
        return slot
    return replace(slot, want=Want.LEFT, confirmed=True)


def _timed(slot: Slot, at: float) -> Slot:
    """Say whether a slot stands in its phase for longer than one may."""
    deadline = DEADLINES.get(slot.phase)
    late = (
        slot.want is Want.RELEASE and slot.reachable and deadline is not None and at - slot.since > deadline
    )
    return slot if late == slot.late else replace(slot, late=late)


def _has_committed(plan: Plan, state: State) -> bool:
    ring = [state.slots[name] for name in plan.rings[state.ring]]
    reached = [slot for slot in ring if slot.reachable]
    done = sum(slot.stand is Stand.COMMITTED for slot in reached)
    return bool(reached) and done >= plan.gates.committed_share_min * len(reached)


def _filled(plan: Plan, state: State, at: float) -> State:
    """Give the release to slots whose ring has begun, as far as there are places."""
    slots = dict(state.slots)
    places = plan.at_once_max - sum(slot.is_moving for slot in slots.values())
    for name in (name for ring in plan.rings[: state.ring + 1] for name in ring):
        slot = slots[name]
        if not slot.reachable or slot.want not in (Want.NOTHING, Want.ASIDE):
            continue
        if slot.want is Want.NOTHING and slot.assigned == plan.version:
            slots[name] = replace(slot, want=Want.LEFT, confirmed=True)
            continue
        if places <= 0:
            break
        places -= 1
        before = slot.assigned if slot.want is Want.NOTHING else slot.before
        slots[name] = replace(
            slot,
            want=Want.RELEASE,
            confirmed=False,
            before=before,
            phase=Phase.ASSIGNED,
            since=at,
        )
    return replace(state, slots=slots)
