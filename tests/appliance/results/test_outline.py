"""Outlines are exact: what they enclose is the mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from appliance.results.outline import _thin, _trace, outline, outlines, rectangle
from tests.appliance.results.given import ball

MASKS = npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def enclosed(points, shape):
    """Count crossings to the left of each pixel centre: odd is inside."""
    rows, columns = np.indices(shape) + 0.5
    crossings = np.zeros(shape, dtype=int)
    for (x0, y0), (x1, y1) in pairwise(points):
        if y0 != y1:
            low, high = sorted((y0, y1))
            crosses = (rows >= low) & (rows < high)
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            crossings += crosses & (at < columns)
    return crossings % 2 == 1


@given(MASKS.filter(lambda mask: mask.any()))
@settings(max_examples=200, deadline=None)
def test_the_traced_edge_encloses_exactly_the_largest_island_without_its_holes(mask):
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum(mask, labels, range(1, count + 1))
    island = labels == int(np.argmax(sizes)) + 1
    points = _trace(island)
    assert (points[0] == points[-1]).all()
    assert (points == np.round(points)).all()
    filled = enclosed(points, mask.shape)
    assert (filled & island == island).all()
    assert (filled == ~outside(island)).all()


def outside(island):
    """Flood from beyond the border; it passes between two pixels that touch at a corner only."""
    padded = np.pad(~island, 1, constant_values=True)
    labels, _ = ndimage.label(padded, structure=np.ones((3, 3)))
    return (labels == labels[0, 0])[1:-1, 1:-1]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_thinning_moves_the_line_by_half_a_pixel_at_most(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 40)), 3)
    mask = noise > 0
    full = _trace(ndimage.label(mask)[0] == 1) if mask.any() else None
    if full is None:
        return
    thinned = _thin(full, 0.5)
    assert len(thinned) <= len(full)
    for point in full:
        assert min(from_line(point, a, b) for a, b in pairwise(thinned)) <= 0.5 + 1e-9


def from_line(point, start, end):
    chord = end - start
    along = np.clip(np.dot(point - start, chord) / max(np.dot(chord, chord), 1e-12), 0, 1)
    return np.linalg.norm(point - start - along * chord)


def test_one_pixel_is_outlined_by_its_four_corners():
    mask = np.zeros((5, 7), dtype=bool)
    mask[2, 4] = True
    expected = [(4, 2), (5, 2), (5, 3), (4, 3), (4, 2)]
    assert outline(mask, points_max=20).tolist() == [list(p) for p in expected]
    assert rectangle(mask).tolist() == [list(p) for p in expected]


def test_the_rectangle_reaches_the_outer_edges_of_all_parts():
    mask = np.zeros((10, 12), dtype=bool)
    mask[2, 3] = mask[8, 11] = True
    assert rectangle(mask)[0].tolist() == [3, 2]
    assert rectangle(mask)[2].tolist() == [12, 9]


@pytest.mark.parametrize("points_max", [8, 30, 200])
def test_an_outline_fits_its_bound_and_stays_closed(points_max):
    mask = ball((1, 200, 200), (0, 100, 100), 90)[0]
    mask ^= np.random.default_rng(1).random(mask.shape) < 0.02
    points = outline(mask, points_max=points_max)
    assert 5 <= len(points) <= points_max
    assert (points[0] == points[-1]).all()


def test_an_empty_mask_is_a_mistake_of_ours():
    with pytest.raises(AssertionError):
        rectangle(np.zeros((3, 3), dtype=bool))


def test_islands_are_outlined_largest_first_each_where_it_lies():
    mask = np.zeros((9, 9), dtype=bool)
    mask[0, 0] = True
    mask[2:5, 6:9] = True
    mask[7:9, 1:3] = True
    boxes = [
        [*points.min(axis=0), *points.max(axis=0)] for points in outlines(mask, points_max=50, islands_max=2)
    ]
    assert boxes == [[6, 2, 9, 5], [1, 7, 3, 9]]
    assert len(outlines(mask, points_max=50, islands_max=9)) == 3
