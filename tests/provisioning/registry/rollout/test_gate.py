"""A gate passes on evidence alone: too little is a hold, and what offline devices do is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.registry.rollout.facts import Facts, Stand, Work
from provisioning.registry.rollout.gate import Judgement, Verdict, judge, working_seconds
from provisioning.registry.rollout.plan import Gates
from tests.provisioning.registry.rollout.making import DAY, FAST, HOUR, MONDAY, fact

FOUR = [fact(f"box-{number}") for number in range(4)]
STANDS = st.sampled_from(Stand)
WORK = st.builds(
    Work,
    studies=st.integers(0, 2_000),
    failed=st.integers(0, 50),
    positives=st.none() | st.integers(0, 500),
    times=st.just(()) | st.lists(st.integers(0, 300), min_size=12, max_size=12).map(tuple),
)
FACTS = st.builds(
    Facts,
    slot=st.text("ab", min_size=1, max_size=3),
    gpu=st.sampled_from(["l4", "t4"]),
    vendor=st.sampled_from(["siemens", "ge"]),
    reachable=st.booleans(),
    stand=STANDS,
    now=WORK,
    before=st.none() | WORK,
    drifts=st.none() | st.booleans(),
)


def judged(facts: list[Facts]) -> Judgement:
    """Judge a ring that soaks since a Monday morning."""
    return judge(Gates(), facts, soaking_since=MONDAY, now=MONDAY + 2 * DAY)


def says(facts: list[Facts], name: str) -> Verdict:
    (check,) = [one for one in judged(facts).checks if one.name == name]
    return check.verdict


def changed(facts: list[Facts], **values: Any) -> list[Facts]:
    return [replace(one, **values) for one in facts]


def test_a_ring_with_all_its_evidence_passes():
    found = judged(FOUR)
    assert found.verdict is Verdict.PASS, found.of(Verdict.NOT_ENOUGH)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ([], "committed"),
        ([*FOUR[:3], *changed(FOUR[3:], stand=Stand.MOVING), fact("e", Stand.WAITING)], "committed"),
        (changed(FOUR, now=Work(studies=49)), "studies"),
        ([*FOUR[:3], fact("e", now=Work(studies=29), vendor="ge")], "every_vendor"),
        ([*FOUR, fact("f", Stand.FAILED, gpu="t4")], "every_gpu"),
        ([*FOUR, fact("f", Stand.FAILED, gpu="t4", reachable=False)], "every_gpu"),
        ([*FOUR, fact("f", reachable=False), fact("g", Stand.SOAKING, reachable=False)], "vanished"),
        (changed(FOUR, before=None), "failures"),
        (changed(FOUR, before=Work()), "turnaround"),
        (changed(FOUR, now=replace(FOUR[0].now, positives=None)), "positives"),
        (changed(FOUR, now=replace(FOUR[0].now, times=())), "turnaround"),
    ],
)
def test_what_is_not_known_holds(facts: list[Facts], name: str):
    """No traffic, or numbers that vanish half-way: neither pass nor failure (flagger#1011, #1581, #1035)."""
    assert judged(facts).verdict is Verdict.NOT_ENOUGH
    assert says(facts, name) is Verdict.NOT_ENOUGH


def test_two_devices_that_went_back_fail_a_ring_and_one_does_not():
    one, two = fact("e", Stand.FAILED), fact("f", Stand.FAILED)
    assert says([*FOUR, one], "rolled_back") is Verdict.PASS
    assert judged([*FOUR, one, two]).verdict is Verdict.FAIL
    assert judged([*FOUR, one, replace(two, reachable=False)]).verdict is Verdict.FAIL, "it said so before"
    many = [fact(f"box-{number}") for number in range(200)]
    assert says([*many, one, two], "rolled_back") is Verdict.PASS


def test_the_first_release_of_a_model_is_a_persons_to_judge():
    assert judged(changed(FOUR, before=None)).verdict is Verdict.NOT_ENOUGH


def test_more_failures_than_before_hold_when_they_may_be_chance_and_fail_when_not():
    now = FOUR[0].now
    assert says(changed(FOUR, now=replace(now, failed=0)), "failures") is Verdict.PASS
    assert says(changed(FOUR, now=replace(now, failed=1)), "failures") is Verdict.NOT_ENOUGH
    assert says(changed(FOUR, now=replace(now, failed=6)), "failures") is Verdict.FAIL


def test_one_slow_study_in_ten_holds_and_one_in_three_fails():
    slow = (100, 300, 200, 100, 0, 0, 300, 0, 0, 0, 0, 0)
    somewhat = (100, 400, 300, 120, 20, 60, 0, 0, 0, 0, 0, 0)

    def timed(cells: tuple[int, ...]) -> list[Facts]:
        return changed(FOUR, now=replace(FOUR[0].now, times=tuple(cell // 10 for cell in cells)))

    assert says(timed(FAST), "turnaround") is Verdict.PASS
    assert says(timed(somewhat), "turnaround") is Verdict.NOT_ENOUGH
    assert says(timed(slow), "turnaround") is Verdict.FAIL


@pytest.mark.parametrize(
    ("positives", "verdict"), [(20, "pass"), (8, "not_enough"), (0, "fail"), (60, "fail")]
)
def test_a_model_that_stopped_finding_anything_fails(positives: int, verdict: str):
    facts = changed(FOUR, now=replace(FOUR[0].now, positives=positives))
    assert says(facts, "positives") is Verdict(verdict)


def test_a_device_whose_own_test_says_drift_fails_the_ring_and_silence_of_it_is_nothing():
    assert judged(changed(FOUR, drifts=False)).verdict is Verdict.PASS
    assert judged([*FOUR[:3], replace(FOUR[3], drifts=True)]).verdict is Verdict.FAIL


def test_a_day_in_which_nobody_worked_is_no_soak():
    friday = MONDAY + 4 * DAY + 9 * HOUR
    found = judge(Gates(), FOUR, soaking_since=friday, now=friday + 2 * DAY)
    assert [one.name for one in found.of(Verdict.NOT_ENOUGH)] == ["soak"]
    assert judge(Gates(), FOUR, soaking_since=None, now=friday).verdict is Verdict.NOT_ENOUGH


def test_working_time_is_from_seven_to_seven_on_weekdays():
    assert working_seconds(MONDAY, MONDAY + 7 * DAY) == 5 * 12 * HOUR
    assert working_seconds(MONDAY, MONDAY) == 0
    assert working_seconds(MONDAY + 5 * DAY, MONDAY + 6 * DAY) == 0


@given(facts=st.lists(FACTS, max_size=6), offline=st.lists(FACTS, max_size=4))
def test_offline_devices_change_nothing(facts: list[Facts], offline: list[Facts]):
    """Those that ran it and went silent do, and so does what they said before."""
    told = (Stand.SOAKING, Stand.COMMITTED, Stand.FAILED)
    away = [replace(one, reachable=False) for one in offline if one.stand not in told]
    assert judged([*facts, *away]) == judged(facts)


@given(facts=st.lists(FACTS, max_size=6), share=st.floats(0, 1))
def test_with_fewer_studies_than_it_takes_nothing_passes(facts: list[Facts], share: float):
    few = [replace(one, now=replace(one.now, studies=int(share * 30))) for one in facts]
    assert judged(few).verdict is not Verdict.PASS


@given(facts=st.lists(FACTS, max_size=8))
def test_no_facts_break_the_gate_and_a_pass_has_none_that_did_not(facts: list[Facts]):
    found = judged(facts)
    assert (found.verdict is Verdict.PASS) == all(one.verdict is Verdict.PASS for one in found.checks)
    assert (found.verdict is Verdict.FAIL) == bool(found.of(Verdict.FAIL))
