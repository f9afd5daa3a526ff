"""Synthetic radiographs are the same every time, and their truth is where they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from models.phantom_radiograph import STORED_MAX, radiograph


def test_same_seed_same_pixels_and_another_seed_others() -> None:
    first, again, other = (radiograph(seed, foreign_bodies=1, nodules=1) for seed in (4, 4, 5))
    assert first.pixels.dtype == np.uint16
    assert first.pixels.max() <= STORED_MAX
    assert np.array_equal(first.pixels, again.pixels)
    assert first.nodules == again.nodules
    assert not np.array_equal(first.pixels, other.pixels)


@pytest.mark.parametrize("nodules", [0, 1, 3])
def test_there_are_as_many_nodules_as_asked_apart_and_denser_than_what_surrounds_them(nodules: int) -> None:
    made = radiograph(8, nodules=nodules, noise=0.0)
    bare = radiograph(8, nodules=nodules, noise=0.0, nodule_contrast=(0.0, 0.0))
    added = made.pixels.astype(int) - bare.pixels > 2
    _, regions = ndimage.label(added)
    assert regions == len(made.nodules) == nodules
    for box, place in zip(
        sorted(made.nodules), sorted(ndimage.find_objects(ndimage.label(added)[0])), strict=True
    ):
        drawn = (place[0].start, place[1].start, place[0].stop, place[1].stop)
        assert box == pytest.approx(drawn, abs=2.0)


def test_a_foreign_body_is_bright_where_the_mask_says_and_nothing_is_marked_without_one() -> None:
    made, none = radiograph(21, foreign_bodies=1), radiograph(21)
    assert not none.foreign.any()
    ring = ndimage.binary_dilation(made.foreign, iterations=6) & ~ndimage.binary_dilation(made.foreign)
    assert made.pixels[made.foreign].mean() > made.pixels[ring].mean() + 50


def test_nodules_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        radiograph(1, nodules=80)
