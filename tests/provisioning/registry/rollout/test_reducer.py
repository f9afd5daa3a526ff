"""What follows from what happened: the bugs that others met in roll-outs, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from appliance.sync.phase import Phase, code_of
from appliance.sync.refusal import Word
from provisioning.registry.faults import RegistryFault
from provisioning.registry.rollout.events import (
    EVENT,
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
from provisioning.registry.rollout.reducer import Step, reduce
from provisioning.registry.rollout.state import STATE, Stage, State, Want, due, first
from tests.provisioning.registry.rollout.making import (
    APPROVER,
    DAY,
    HOUR,
    MAKER,
    MONDAY,
    OPERATOR,
    begun,
    judgement,
    plan,
)

OLD, NEW = "1.0.0", "2.0.0"
TWO = plan([["a", "b"], ["c", "d"]])


def sight(phase: Phase | None = None, **more: Any) -> Sight:
    return Sight(**{"reachable": True, "phase": phase, "assigned": OLD, **more})


def rejected(**more: Any) -> Sight:
    return sight(Phase.REFUSED, code=code_of(Word.REJECTED), assigned=NEW, **more)


def seen(made: Plan, state: State, sights: Mapping[str, Sight], at: float = MONDAY) -> Step:
    return reduce(made, state, Seen(at=at, sights=sights))


def all_seen(made: Plan, state: State, **more: Any) -> State:
    """Everybody is there; what is assigned by then was signed."""
    state = seen(made, state, {name: sight() for name in state.slots}, **more).state
    return signed(made, state, **more)


def signed(made: Plan, state: State, **more: Any) -> State:
    """What is due was signed, and seen to be."""
    actions = due(state)
    given: dict[str, str | None] = dict.fromkeys(actions.assign, made.version)
    given |= {name: version for version, names in actions.back.items() for name in names}
    sights = {
        name: Sight(reachable=state.slots[name].reachable, assigned=version)
        for name, version in given.items()
    }
    return seen(made, state, sights, **more).state


def phased(made: Plan, state: State, phase: Phase, *names: str, **more: Any) -> State:
    return seen(made, state, {name: sight(phase, assigned=NEW) for name in names}, **more).state


def judged(made: Plan, state: State, verdict: Verdict, at: float = MONDAY, ring: int | None = None) -> Step:
    ring = state.ring if ring is None else ring
    return reduce(made, state, Judged(at=at, ring=ring, judgement=judgement(verdict)))


def running(made: Plan = TWO) -> State:
    """Begun, and the first ring assigned."""
    return all_seen(made, begun(made))


def test_nothing_happens_before_somebody_else_approved():
    state = all_seen(TWO, first(TWO))
    assert not due(state)
    with pytest.raises(RegistryFault, match="somebody else must approve"):
        reduce(TWO, state, Approved(at=1, by=MAKER))
    assert due(reduce(TWO, state, Approved(at=1, by=APPROVER)).state).assign == ("a", "b")


def test_a_ring_begins_only_when_the_one_before_passed():
    state = running()
    assert {name for name, slot in state.slots.items() if slot.want is Want.RELEASE} == {"a", "b"}
    assert judged(TWO, state, Verdict.NOT_ENOUGH).state.ring == 0
    assert judged(TWO, state, Verdict.PASS).actions.assign == ("c", "d")


def test_a_verdict_on_another_ring_or_a_second_one_does_not_count_twice():
    """A group that ended while nothing was evaluated began the next one (hawkbit#3110)."""
    state = judged(TWO, running(), Verdict.PASS).state
    assert judged(TWO, state, Verdict.PASS, ring=0).state == state
    assert judged(TWO, state, Verdict.FAIL, ring=0).state == state


def test_two_failures_at_once_are_one_way_back():
    """Two groups in error undid each other's pause (hawkbit#2161)."""
    once = judged(TWO, running(), Verdict.FAIL).state
    assert once.stage is Stage.BACK
    assert judged(TWO, once, Verdict.FAIL).state == once
    assert reduce(TWO, once, Recalled(at=1, why="x")).state == once


def test_after_the_last_ring_it_is_done():
    state = judged(TWO, running(), Verdict.PASS).state
    state = judged(TWO, all_seen(TWO, state), Verdict.PASS).state
    assert state.stage is Stage.DONE


def test_a_pause_takes_back_what_has_not_begun_and_assigns_nothing():
    """A paused roll-out went on updating devices (nerves_hub_web#1742)."""
    state = phased(TWO, running(), Phase.SOAK, "a")
    step = reduce(TWO, state, Paused(at=MONDAY, by=OPERATOR))
    assert step.actions.back == {OLD: ("b",)}
    assert step.actions.assign == ()
    paused = signed(TWO, step.state)
    assert not seen(TWO, paused, {"b": sight(), "c": sight()}).actions
    assert judged(TWO, paused, Verdict.PASS).state == paused
    assert judged(TWO, paused, Verdict.FAIL).state == paused
    again = reduce(TWO, paused, Resumed(at=MONDAY, by=OPERATOR))
    assert again.actions.assign == ("b",)
    assert again.state.slots["b"].before == OLD


def test_a_pause_that_ends_before_it_was_signed_loses_nobody():
    state = reduce(TWO, running(), Paused(at=MONDAY, by=OPERATOR)).state
    state = reduce(TWO, state, Resumed(at=MONDAY, by=OPERATOR)).state
    state = signed(TWO, state)
    assert state.slots["b"].want is Want.RELEASE
    assert state.slots["b"].before == OLD
    assert judged(TWO, state, Verdict.FAIL).actions.back == {OLD: ("a", "b")}


def test_a_pause_signs_nothing_even_for_who_runs_the_release_already():
    state = seen(TWO, begun(TWO), {"a": sight(Phase.SOAK), "b": sight()}).state
    state = seen(TWO, state, {"a": sight(Phase.SOAK)}).state
    assert due(state).assign == ("a", "b")
    paused = reduce(TWO, state, Paused(at=MONDAY, by=OPERATOR))
    assert paused.actions.assign == ()


def test_what_a_pause_took_back_is_not_signed_again_when_it_ends_for_good():
    paused = signed(TWO, reduce(TWO, running(), Paused(at=MONDAY, by=OPERATOR)).state)
    for event in (Stopped(at=MONDAY, by=OPERATOR), Returned(at=MONDAY, by=OPERATOR)):
        assert not reduce(TWO, paused, event).actions


def test_a_stop_is_final_and_who_runs_the_release_keeps_it():
    state = phased(TWO, running(), Phase.COMMITTED, "a")
    step = reduce(TWO, state, Stopped(at=MONDAY, by=OPERATOR))
    assert step.actions.back == {OLD: ("b",)}
    after = signed(TWO, step.state)
    assert not seen(TWO, after, {name: sight() for name in "bcd"}).actions
    for event in (Resumed(at=1, by=APPROVER), Approved(at=1, by=APPROVER), Paused(at=1, by=OPERATOR)):
        with pytest.raises(RegistryFault):
            reduce(TWO, after, event)


def test_the_way_back_is_one_action_for_everybody_and_open_after_the_end():
    done = running(plan([["a", "b"]]))
    done = judged(plan([["a", "b"]]), done, Verdict.PASS).state
    step = reduce(plan([["a", "b"]]), done, Returned(at=MONDAY, by=OPERATOR, why="calls from sites"))
    assert step.actions.back == {OLD: ("a", "b")}
    assert step.state.stage is Stage.BACK
    with pytest.raises(RegistryFault, match="no way back"):
        reduce(TWO, step.state, Returned(at=MONDAY, by=OPERATOR))


def test_slots_that_had_nothing_before_go_back_to_nothing():
    state = seen(TWO, begun(TWO), {"a": sight(assigned=None), "b": sight(assigned="1.1.0")}).state
    state = signed(TWO, state)
    step = judged(TWO, state, Verdict.FAIL)
    assert step.actions.back == {None: ("a",), "1.1.0": ("b",)}
    assert not due(signed(TWO, step.state))


def test_what_was_decided_and_not_signed_is_due_again():
    state = seen(TWO, begun(TWO), {"a": sight(), "b": sight()}).state
    assert due(state).assign == ("a", "b")
    assert seen(TWO, state, {"a": sight(assigned=NEW)}).actions.assign == ("b",)


def test_who_is_offline_is_assigned_later_and_blocks_nobody():
    state = seen(TWO, begun(TWO), {"a": sight(), "b": sight(reachable=False)}).state
    assert due(state).assign == ("a",)
    state = judged(TWO, signed(TWO, state), Verdict.PASS).state
    assert state.ring == 1
    assert "b" in seen(TWO, state, {"b": sight()}).actions.assign
    done = judged(TWO, state, Verdict.PASS).state
    assert done.stage is Stage.DONE
    assert "b" in seen(TWO, done, {"b": sight()}).actions.assign


def test_as_many_at_once_as_the_plan_says():
    made = plan([list("abcdef")], at_once_max=2)
    state = all_seen(made, begun(made))
    assert state.counts()[Stand.MOVING] == 2
    state = phased(made, state, Phase.SOAK, "a")
    assert due(state).assign == ("c",)


@pytest.mark.parametrize(
    "now",
    [
        rejected(),
        sight(Phase.FETCHING, reachable=False, assigned=NEW),
        sight(Phase.WAITING_CONSENT, assigned=NEW),
        sight(Phase.HELD, code=code_of(Word.HELD), assigned=NEW),
        sight(Phase.REFUSED, code=code_of(Word.NO_ROOM), assigned=NEW),
    ],
)
def test_who_does_not_move_frees_its_place(now: Sight):
    """Devices in penalty held the places of the others (nerves_hub_web#1617)."""
    made = plan([list("abc")], at_once_max=1)
    state = all_seen(made, begun(made))
    assert state.slots["a"].want is Want.RELEASE
    assert "b" in seen(made, state, {"a": now}).actions.assign


def test_who_is_stuck_is_late_and_frees_its_place_until_it_moves():
    """One stuck device held up every later deployment (aws-greengrass-nucleus#1203, #807)."""
    made = plan([list("ab")], at_once_max=1)
    state = phased(made, all_seen(made, begun(made)), Phase.ACTIVATING, "a")
    step = seen(made, state, {}, at=MONDAY + 3 * HOUR)
    assert step.state.slots["a"].stand is Stand.LATE
    assert step.actions.assign == ("b",)
    moved = phased(made, step.state, Phase.SOAK, "a", at=MONDAY + 4 * HOUR)
    assert moved.slots["a"].stand is Stand.SOAKING


def test_where_the_hospital_decides_nobody_is_late():
    state = phased(TWO, running(), Phase.WAITING_CONSENT, "a")
    assert seen(TWO, state, {}, at=MONDAY + 90 * DAY).state.slots["a"].stand is Stand.WAITING


def test_time_offline_is_not_time_in_a_phase():
    state = phased(TWO, running(), Phase.FETCHING, "a")
    state = seen(TWO, state, {"a": sight(reachable=False, assigned=NEW)}).state
    assert not seen(TWO, state, {}, at=MONDAY + 30 * DAY).state.slots["a"].late
    back = seen(TWO, state, {"a": sight(Phase.FETCHING, assigned=NEW)}, at=MONDAY + 30 * DAY).state
    assert back.slots["a"].stand is Stand.MOVING


def test_a_device_on_which_the_release_failed_gets_back_what_it_had_and_never_the_release_again():
    state = seen(TWO, running(), {"a": rejected()}).state
    assert state.slots["a"].stand is Stand.FAILED
    assert due(state).back == {OLD: ("a",)}
    state = signed(TWO, state)
    for at in (HOUR, DAY):
        state = seen(TWO, state, {"a": sight(Phase.COMMITTED)}, at=MONDAY + at).state
    assert state.slots["a"].stand is Stand.FAILED
    assert not due(state)


def test_what_a_person_a_disk_or_a_network_did_is_no_failure_of_the_release():
    for word in (Word.NO_ROOM, Word.DISAGREE, Word.INCOMPATIBLE, Word.FREEZE):
        now = sight(Phase.REFUSED, code=code_of(word), assigned=NEW)
        assert seen(TWO, running(), {"a": now}).state.slots["a"].stand is Stand.REFUSED


def test_another_hand_wins():
    """Work by hand is respected: the slot leaves the roll-out (hawkbit#446)."""
    state = seen(TWO, running(), {"a": sight(assigned="1.5.0")}).state
    assert state.slots["a"].stand is Stand.LEFT
    assert judged(TWO, state, Verdict.FAIL).actions.back == {OLD: ("b",)}
    back = signed(TWO, judged(TWO, running(), Verdict.FAIL).state)
    again = seen(TWO, back, {"a": sight(assigned=NEW)})
    assert again.state.slots["a"].stand is Stand.LEFT
    assert not again.actions
    already = seen(TWO, begun(TWO), {"a": sight(assigned=NEW), "b": sight()})
    assert already.state.slots["a"].stand is Stand.LEFT
    assert already.actions.assign == ("b",)


def test_new_hardware_in_a_slot_has_done_nothing_yet():
    state = seen(TWO, running(), {"a": sight(Phase.COMMITTED, assigned=NEW, hardware="aa")}).state
    assert state.slots["a"].stand is Stand.COMMITTED
    state = seen(TWO, state, {"a": sight(None, assigned=NEW, hardware="bb")}).state
    assert state.slots["a"].stand is Stand.MOVING


def test_a_newer_roll_out_supersedes_and_what_has_not_begun_is_taken_back():
    state = phased(TWO, running(), Phase.COMMITTED, "a")
    step = reduce(TWO, state, Superseded(at=MONDAY, rollout=2))
    assert step.state.stage is Stage.SUPERSEDED
    assert step.actions.back == {OLD: ("b",)}
    assert step.state.is_open
    assert not signed(TWO, step.state).is_open


def test_what_failed_stays_told_as_that_when_a_newer_one_begins():
    failed = signed(TWO, judged(TWO, running(), Verdict.FAIL).state)
    after = reduce(TWO, failed, Superseded(at=MONDAY, rollout=2)).state
    assert (after.stage, after.why) == (Stage.BACK, failed.why)
    assert not after.is_open


def test_a_recall_takes_the_release_back_even_while_it_is_paused_or_done():
    paused = reduce(TWO, running(), Paused(at=MONDAY, by=OPERATOR)).state
    done = judged(plan([["a", "b"]]), running(plan([["a", "b"]])), Verdict.PASS).state
    for state in (running(), paused, done, first(TWO)):
        step = reduce(TWO, state, Recalled(at=MONDAY, why="wrong threshold"))
        assert step.state.stage is Stage.BACK
        assert step.state.why == "recalled: wrong threshold"
        assert step.actions.assign == ()


def test_without_enough_evidence_a_person_is_asked_and_another_person_decides():
    state = judged(TWO, running(), Verdict.NOT_ENOUGH, at=MONDAY + DAY).state
    assert not state.asked
    state = judged(TWO, state, Verdict.NOT_ENOUGH, at=MONDAY + 8 * DAY).state
    assert state.asked
    for wrong, says in (
        (Approved(at=1, by=MAKER, why="x", ring=0), "somebody else"),
        (Approved(at=1, by=APPROVER, why="", ring=0), "needs a reason"),
        (Approved(at=1, by=APPROVER, why="x", ring=1), "ring 0 is under way"),
        (Approved(at=1, by=APPROVER, why="x"), "ring 0 is under way"),
    ):
        with pytest.raises(RegistryFault, match=says):
            reduce(TWO, state, wrong)
    step = reduce(TWO, state, Approved(at=MONDAY, by=APPROVER, why="few studies at night", ring=0))
    assert (step.state.ring, step.state.asked, step.state.verdict) == (1, False, None)


def test_a_gate_that_was_not_asked_since_a_pause_cannot_be_overruled():
    state = judged(TWO, running(), Verdict.NOT_ENOUGH).state
    state = reduce(TWO, state, Paused(at=MONDAY, by=OPERATOR)).state
    state = reduce(TWO, state, Resumed(at=MONDAY, by=OPERATOR)).state
    with pytest.raises(RegistryFault, match="nothing waits"):
        reduce(TWO, state, Approved(at=MONDAY, by=APPROVER, why="x", ring=0))


def test_the_soak_begins_when_enough_have_committed():
    state = phased(TWO, running(), Phase.COMMITTED, "a")
    assert state.soaking_since is None
    state = phased(TWO, state, Phase.COMMITTED, "b", at=MONDAY + HOUR)
    assert state.soaking_since == MONDAY + HOUR
    later = seen(TWO, state, {"b": replace(sight(), reachable=False)}, at=MONDAY + DAY).state
    assert later.soaking_since == MONDAY + HOUR
    assert judged(TWO, later, Verdict.PASS).state.soaking_since is None


def test_states_and_events_are_the_same_when_they_come_back_from_their_rows():
    state = phased(TWO, running(), Phase.SOAK, "a")
    assert STATE.validate_python(STATE.dump_python(state, mode="json")) == state
    events: list[Event] = [
        Approved(at=1.5, by=APPROVER, ring=0, why="x"),
        Seen(at=2.0, sights={"a": rejected(hardware="ab")}),
        Judged(at=3.0, ring=1, judgement=judgement(Verdict.NOT_ENOUGH)),
        Superseded(at=4.0, rollout=7),
        Recalled(at=5.0, why="x"),
    ]
    assert [EVENT.validate_python(EVENT.dump_python(event, mode="json")) for event in events] == events
