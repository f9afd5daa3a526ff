"""Agreement of two versions: what one study says, and what many add up to."""

from __future__ import annotations

import json
import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.agreement import Box, Mask, Reading
from models.beside import NAMES_MAX, Moments, Pair, Table, Tally, pair_of, share, tally_of

YES, NO = "finding", "no finding"
OUTCOMES = st.sampled_from((YES, NO, "abstained", "measured"))
NAMES = st.sampled_from(("organ: Volume", "series: Mean", "organ: Area"))
VALUES = st.floats(-1e6, 1e6)
PAIRS = st.builds(
    Pair,
    outcomes=st.tuples(OUTCOMES, OUTCOMES),
    verdicts=st.dictionaries(
        st.sampled_from("ab"), st.tuples(*[st.sampled_from(("present", "absent", "abstained"))] * 2)
    ),
    dice=st.dictionaries(st.sampled_from("cd"), st.floats(0, 1)),
    empty=st.integers(0, 3),
    ious=st.lists(st.floats(0.1, 1), max_size=3).map(tuple),
    gone=st.integers(0, 3),
    new=st.integers(0, 3),
    numbers=st.dictionaries(NAMES, st.tuples(VALUES, VALUES)),
    unpaired=st.integers(0, 2),
    scores=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
    voxels=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seconds=st.none() | st.tuples(st.floats(0.001, 100), st.floats(0.001, 100)),
)


def mask(label: str, *places: int, size: int = 20) -> Mask:
    voxels = np.zeros(size, dtype=np.bool_)
    voxels[list(places)] = True
    return Mask(label=label, bits=np.packbits(voxels), size=size)


def reading(outcome: str = YES, **given: object) -> Reading:
    values: dict[str, object] = {"outcome": outcome, "numbers": {}, "withheld": ()}
    return Reading(**{**values, **given})  # type: ignore[arg-type]


def box(left: float, *, kind: str = "nodule", probability: float = 0.9) -> Box:
    return Box(kind=kind, slices=(3, 4), corners=(0.0, left, 10.0, left + 10.0), probability=probability)


def added(pairs: list[Pair]) -> Tally:
    tally = Tally()
    for pair in pairs:
        tally = tally.added(pair)
    return tally


def test_overlap_is_dice_by_label_and_two_empty_masks_say_nothing():
    old = reading(masks=(mask("organ", 1, 2, 3, 4), mask("cyst"), mask("gone", 1)))
    new = reading(masks=(mask("organ", 3, 4, 5, 6), mask("cyst"), mask("fresh", 7)))
    pair = pair_of(old, new)
    assert pair.dice == {"organ": 0.5, "gone": 0.0, "fresh": 0.0}
    assert pair.empty == 1
    assert pair.voxels == (5, 5)
    tally = Tally().added(pair)
    assert tally.dice["organ"] == (0, 0, 0, 1, 0, 0, 0, 0, 0)
    assert "cyst" not in tally.dice
    assert tally.empty == 1


def test_masks_of_other_grids_have_nothing_in_common():
    pair = pair_of(reading(masks=(mask("organ", 1),)), reading(masks=(mask("organ", 1, size=30),)))
    assert pair.dice == {"organ": 0.0}


def test_boxes_are_paired_once_and_the_others_are_gone_or_new():
    old = reading(boxes=(box(0.0), box(100.0), box(300.0, kind="cyst")))
    new = reading(boxes=(box(5.0), box(200.0), box(300.0)))
    pair = pair_of(old, new)
    assert list(pair.ious) == pytest.approx([1 / 3])
    assert (pair.gone, pair.new) == (2, 2), "a box of another kind is another finding"


def test_numbers_are_paired_by_name_and_lesions_are_not():
    old = reading(numbers={"organ: Volume": 10.0, "lesion 1: Volume": 5.0, "series: Old": 1.0})
    new = reading(numbers={"organ: Volume": 12.5, "lesion 1: Volume": 9.0, "series: New": 1.0})
    pair = pair_of(old, new)
    assert pair.numbers == {"organ: Volume": (10.0, 12.5)}
    assert pair.unpaired == 2


def test_the_score_is_the_highest_probability_wherever_it_stands():
    old = reading(verdicts={"a": ("present", 0.7), "b": ("absent", 0.1)})
    new = reading(boxes=(box(0.0, probability=0.95),), numbers={"lesion 1: Probability": 0.99})
    assert pair_of(old, new).scores == (0.7, 0.99)
    assert pair_of(old, reading()).scores is None


def test_what_is_neither_yes_nor_no_is_open_and_not_a_disagreement_of_findings():
    tally = added([Pair(outcomes=pair) for pair in [(YES, YES), (YES, NO), (NO, YES), (NO, NO)]])
    assert tally.outcomes == Table(both=1, only_old=1, only_new=1, neither=1)
    more = tally.added(Pair(outcomes=("abstained", "abstained"))).added(Pair(outcomes=("abstained", YES)))
    assert more.outcomes.open == 2
    assert (more.studies, more.agree) == (6, 3)


def test_the_same_outcome_with_another_verdict_is_no_agreement():
    tally = Tally().added(
        Pair(outcomes=(YES, YES), verdicts={"a": ("present", "absent"), "b": ("absent", "present")})
    )
    assert tally.agree == 0
    assert tally.verdicts == {"a": Table(only_old=1), "b": Table(only_new=1)}


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_moments_are_those_of_the_values(values: list[float]):
    moments = Moments()
    for value in values:
        moments = moments.added(value)
    spread = statistics.stdev(values)
    assert moments.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert moments.deviation == pytest.approx(spread, rel=1e-6, abs=1e-3)
    assert moments.limits is not None
    assert moments.limits[1] - moments.limits[0] == pytest.approx(2 * 1.959964 * spread, rel=1e-6, abs=1e-2)


def test_limits_of_agreement_are_bland_and_altmans():
    # Differences of 1, 2, 3, 4, 5: mean 3, standard deviation 1.5811.
    tally = added([Pair(outcomes=(NO, NO), numbers={"x": (10.0, 10.0 + d)}) for d in range(1, 6)])
    moments = tally.numbers["x"]
    assert (moments.n, moments.mean) == (5, 3.0)
    assert moments.limits == pytest.approx((3 - 1.96 * 1.5811, 3 + 1.96 * 1.5811), abs=1e-3)
    assert Moments(n=1, mean=2.0).limits is None


def test_the_share_has_wilsons_interval():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148.
    assert share(81, 263) == pytest.approx((0.3080, 0.2553, 0.3662), abs=1e-4)
    assert share(15, 148) == pytest.approx((0.1014, 0.0624, 0.1605), abs=1e-4)
    assert share(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=1e-4)
    assert share(5, 5)[2] == 1.0
    assert Tally().agreement is None


@given(st.lists(PAIRS, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_studies_changes_no_count(pairs: list[Pair], chance: random.Random):
    shuffled = list(pairs)
    chance.shuffle(shuffled)
    one, other = added(pairs), added(shuffled)
    for name in ("studies", "agree", "outcomes", "verdicts", "dice", "empty", "ious", "gone", "new"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("scores", "volumes", "times", "unpaired", "left_out"):
        assert getattr(one, name) == getattr(other, name)
    assert {name: moments.n for name, moments in one.numbers.items()} == {
        name: moments.n for name, moments in other.numbers.items()
    }


@given(st.lists(PAIRS, max_size=6))
def test_a_tally_comes_back_from_json_as_it_was(pairs: list[Pair]):
    tally = added(pairs)
    said = json.loads(json.dumps(tally.as_json(), allow_nan=False))
    assert tally_of(said) == tally
    assert sum(tally.outcomes.__dict__.values()) == tally.studies == len(pairs)


@given(PAIRS)
def test_a_pair_is_json(pair: Pair):
    assert json.loads(json.dumps(pair.as_json(), allow_nan=False))["outcomes"] == list(pair.outcomes)


def test_names_without_end_do_not_grow_it():
    tally = Tally()
    for number in range(NAMES_MAX + 10):
        tally = tally.added(Pair(outcomes=(NO, NO), numbers={f"n{number}": (0.0, 1.0), "n0": (0.0, 1.0)}))
    assert len(tally.numbers) == NAMES_MAX
    assert tally.left_out == 10
    assert tally.numbers["n0"].n == NAMES_MAX + 10


def test_time_is_a_geometric_mean_so_that_twice_and_half_are_one():
    tally = added([Pair(outcomes=(NO, NO), seconds=pair) for pair in [(1.0, 2.0), (2.0, 1.0)]])
    assert tally.time_ratio == pytest.approx(1.0)
    assert sum(tally.times) == 2
    assert Tally().added(Pair(outcomes=(NO, NO), seconds=(0.0, 1.0))).time_ratio is None
    assert math.isfinite(tally.time.squares)
