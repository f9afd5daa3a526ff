"""Statistics of labels: counting whole numbers gives the very sums of adding them one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.operations.label_maps import LABELS, _WholeNumbers


def one_by_one(labels: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    sums = np.zeros((3, LABELS))
    for label, value in zip(labels.tolist(), voxels.tolist(), strict=True):
        sums[:, label] += (1.0, value, value * value)
    return sums


@given(data=st.lists(st.tuples(st.integers(0, 7), st.integers(-1500, 4000)), min_size=1, max_size=300))
def test_whole_numbers_give_the_same_sums_to_the_last_bit(data):
    labels = np.array([label for label, _ in data], dtype=np.uint8)
    voxels = np.array([value for _, value in data], dtype=np.float32)
    counted = _WholeNumbers().sums(labels, voxels)
    assert counted is not None
    assert np.array_equal(counted, one_by_one(labels, voxels))


def test_more_voxels_than_are_counted_at_once():
    random = np.random.default_rng(1)
    labels = random.integers(0, 5, size=100_003).astype(np.uint8)
    voxels = random.integers(-1024, 3071, size=labels.size).astype(np.float32)
    counted = _WholeNumbers().sums(labels, voxels)
    assert counted is not None
    assert np.array_equal(counted, one_by_one(labels, voxels))


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 1.0],
        [np.nan, 1.0],
        [np.inf, 1.0],
        [1.0, -np.inf],
        [0.0, 1e30],
        [-20_000.0, 0.0],
        [0.0, 16_384.0],
    ],
    ids=["fractions", "nan", "infinite", "minus infinite", "huge", "far below", "far above"],
)
def test_any_other_values_are_left_to_be_added_one_by_one(values):
    assert _WholeNumbers().sums(np.zeros(2, np.uint8), np.array(values, np.float32)) is None


def test_a_range_too_wide_for_its_labels_is_left_too():
    labels = np.array([0, 255], np.uint8)
    assert _WholeNumbers().sums(labels, np.array([-1000.0, 1000.0], np.float32)) is None
    assert _WholeNumbers().sums(labels, np.array([0.0, 10.0], np.float32)) is not None
