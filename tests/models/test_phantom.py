"""Phantoms are the same every time, and their truth is where they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models import phantom


def test_same_seed_same_voxels_and_another_seed_others() -> None:
    size = {"shape": (30, 80, 80), "spacing_mm": (5.0, 2.5, 2.5)}
    first, truth = phantom.volume(4, **size)  # type: ignore[arg-type]
    again, _ = phantom.volume(4, **size)  # type: ignore[arg-type]
    other, _ = phantom.volume(5, **size)  # type: ignore[arg-type]
    assert first.dtype == np.int16
    assert truth.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("lesions", [0, 1, 3])
def test_the_truth_holds_as_many_lesions_as_asked_and_they_are_dense(lesions: int) -> None:
    hu, truth = phantom.volume(7, lesions=lesions)
    _, count = ndimage.label(truth, structure=np.ones((3, 3, 3)))
    assert count == lesions
    if lesions:
        assert 50 < hu[truth == 1].mean() < 95


def test_lesions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        phantom.volume(1, lesions=60)
