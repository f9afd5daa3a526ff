"""Synthetic MR heads are the same every time, and their truth is what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from models.phantom_mr import GREY, VENTRICLE, WHITE, head


def test_same_seed_same_voxels_and_another_seed_others() -> None:
    first, again, other = (head(seed, shape=(24, 60, 50), spacing_mm=(7.0, 3.6, 3.6)) for seed in (4, 4, 5))
    assert first.values.dtype == np.int16
    assert first.labels.dtype == np.uint8
    assert np.array_equal(first.values, again.values)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.values, other.values)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_percentage_is_that_of_the_voxels_as_far_as_voxels_go(seed: int) -> None:
    made = head(seed, shape=(88, 110, 90), spacing_mm=(2.0, 2.0, 2.0))
    counts = np.bincount(made.labels.ravel(), minlength=4)
    assert 100 * counts[VENTRICLE] / counts[1:].sum() == pytest.approx(made.ventricle_percent, rel=0.03)


def test_each_compartment_has_its_brightness_and_the_fluid_outside_looks_like_the_ventricles() -> None:
    made = head(6, noise=0.01)
    means = {label: made.values[made.labels == label].mean() for label in (GREY, WHITE, VENTRICLE)}
    assert means[VENTRICLE] < 0.6 * means[GREY] < 0.6 * means[WHITE]


def test_every_head_has_its_own_scale() -> None:
    brightest = [np.percentile(head(seed).values, 99) for seed in range(8)]
    assert max(brightest) > 2 * min(brightest)
