"""The numbers under the gate, held against what a table or a larger sum says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.registry.rollout.statistics import above, paired, quantile, wilson

CELLS = st.lists(st.integers(0, 500), min_size=12, max_size=12)


def test_wilsons_bounds_are_those_of_the_paper_that_compares_them():
    # Newcombe, Stat. Med. 17, 1998, 857: 81 of 263, and none of 20.
    assert wilson(81, 263, z=1.959964) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20, z=1.959964) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_newcombes_difference_is_that_of_the_paper_for_one_pair():
    # The same author, Stat. Med. 17, 1998, 873: 56 of 70 less 48 of 80, method 10.
    found = paired([(70, 56, 80, 48)], z=1.959964)
    assert found.difference == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_device_that_always_fails_more_and_became_busier_says_nothing_against_the_release():
    """Without pairing, 55 of 1,100 against 6 of 1,100 would look like ten times the failures."""
    found = paired([(1_000, 50, 100, 5), (100, 0, 1_000, 0)], z=2.576)
    assert found.difference == pytest.approx(0.0)


@given(count=st.integers(0, 300), more=st.integers(0, 300), z=st.floats(0.5, 4))
def test_the_bounds_hold_the_ratio_and_stay_between_nothing_and_all(count: int, more: int, z: float):
    low, high = wilson(count, count + more, z=z)
    assert 0 <= low <= high <= 1
    if count + more:
        assert low - 1e-9 <= count / (count + more) <= high + 1e-9


@given(counts=st.lists(st.tuples(*[st.integers(0, 200)] * 4), max_size=5))
def test_no_pair_of_counts_breaks_a_difference(counts: list[tuple[int, int, int, int]]):
    sane = [(new, min(hits, new), old, min(was, old)) for new, hits, old, was in counts]
    found = paired(sane, z=2.0)
    assert found.low <= found.difference <= found.high


@given(cells=CELLS.filter(any), share=st.floats(0.05, 0.95))
def test_what_is_above_a_quantile_is_what_the_quantile_leaves(cells: list[int], share: float):
    assert above(cells, quantile(cells, share)) <= (1 - share) * sum(cells) + 1e-6


def test_a_quantile_lies_inside_its_cell():
    assert quantile((0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0.5) == 7.5
    assert quantile((), 0.5) > 0
