"""Drift: the limit scales with the evidence, false alarms are as rare as they are said to be."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.drift import DriftLimits, chi_square_above, judge, shift

EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Critical values as the tables print them (Abramowitz and Stegun, table 26.8).
PRINTED = {(0.05, 1): 3.841, (0.001, 1): 10.828, (0.05, 9): 16.919, (0.001, 9): 27.877, (0.01, 10): 23.209}


@pytest.mark.parametrize(("at", "value"), PRINTED.items())
def test_the_distribution_is_the_printed_one(at, value):
    assert chi_square_above(*at) == pytest.approx(value, abs=5e-4)


def draw(rng, n, mean=0.4):
    return [min(max(rng.gauss(mean, 0.2), 0.0), 0.999) for _ in range(n)]


def test_false_alarms_are_as_rare_as_they_should_be():
    rng, once, thrice, trials = random.Random(20260307), 0, 0, 400
    for _ in range(trials):
        windows = [draw(rng, 200) for _ in range(3)]
        verdict = judge(EDGES, draw(rng, 200), windows)
        once += verdict.windows >= 1
        thrice += verdict.drifts
    # 0.001 of them is 0.4 windows; five would be a chance of one in ten thousand.
    assert once <= 4
    assert thrice == 0


def test_a_shift_is_found_and_its_size_is_said():
    rng = random.Random(3)
    verdict = judge(EDGES, draw(rng, 200), [draw(rng, 200, mean=0.55) for _ in range(3)])
    assert verdict.drifts
    assert verdict.newest is not None
    assert verdict.newest.size > 0.25
    assert verdict.newest.ratio > 1


def test_a_shift_that_went_away_is_none():
    rng = random.Random(3)
    away = [draw(rng, 200), draw(rng, 200, mean=0.55), draw(rng, 200, mean=0.55)]
    assert not judge(EDGES, draw(rng, 200), away).drifts


@pytest.mark.parametrize(("reference", "window"), [(199, 200), (200, 199), (0, 0), (500, 0)])
def test_too_few_studies_are_not_enough_data(reference, window):
    rng = random.Random(1)
    verdict = judge(EDGES, draw(rng, reference), [draw(rng, window, mean=0.9)] * 3)
    assert (verdict.newest, verdict.windows, verdict.drifts) == (None, 0, False)


def test_no_window_is_not_enough_data():
    assert judge(EDGES, [0.5] * 500, []).newest is None


def test_what_is_always_the_same_does_not_drift():
    still, moved = shift([0, 500, 0], [0, 400, 0]), shift([0, 500, 0], [0, 0, 400])
    assert still is not None
    assert moved is not None
    assert still.ratio == 0.0
    assert moved.ratio > 1


@given(st.lists(st.integers(0, 400), min_size=10, max_size=10), st.integers(1, 5))
def test_the_same_shares_never_drift(cells, times):
    said = shift(cells, [times * cell for cell in cells])
    assert said is None or said.ratio < 1


@given(
    st.lists(st.integers(0, 400), min_size=10, max_size=10),
    st.lists(st.integers(0, 400), min_size=10, max_size=10),
)
def test_the_statistic_is_a_number_above_nothing(cells, others):
    said = shift(cells, others, limits=DriftLimits(studies_min=1))
    if said is not None:
        assert 0 <= said.size < 1_000
        assert 0 <= said.ratio < 1e6
