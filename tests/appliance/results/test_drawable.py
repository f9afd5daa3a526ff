"""Boxes become regions that cover the right pixels; classifications become numbers of their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.results.drawable import drawable
from tests.appliance.results.given import answers, boxes

SHAPE = (4, 60, 50)


def test_a_box_covers_the_pixels_whose_middle_lies_in_it():
    painted = drawable(boxes(index=1), SHAPE).lesions[0].plane(1, rows=60, columns=50)
    row, column = np.indices((60, 50)) + 0.5
    expected = (row >= 10.25) & (row < 22.75) & (column >= 20.5) & (column < 31.0)
    assert np.array_equal(painted, expected)


@pytest.mark.parametrize(
    "edges", [(-5.0, -5.0, 3.0, 3.0), (58.0, 45.0, 90.0, 90.0), (10.1, 10.1, 10.3, 10.3)]
)
def test_a_box_beyond_the_image_or_within_a_pixel_is_painted_on_the_image(edges):
    found = boxes()
    odd = replace(found, detections=(replace(found.detections[0], box=edges),))
    painted = drawable(odd, SHAPE).lesions[0].plane(0, rows=60, columns=50)
    assert painted.shape == (60, 50)
    assert painted.any()


def test_a_box_reaches_over_its_slices():
    found = boxes(index=2)
    deep = replace(found, detections=(replace(found.detections[0], slice_range=range(1, 4)),))
    assert list(drawable(deep, SHAPE).lesions[0].slice_range) == [1, 2, 3]


def test_a_probability_is_a_number_of_its_label_and_only_what_is_present_is_a_finding():
    numbers = drawable(answers(), SHAPE).measurements
    assert [(n.segment, n.value, n.finding is not None) for n in numbers] == [
        ("marker", 0.97, True),
        ("tube", 0.02, False),
        ("clip", 0.5, False),
    ]
