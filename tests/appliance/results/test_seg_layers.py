"""Layers say what is where, whether segments overlap, and give frames their bytes."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.results.seg_layers import labels, masks, shares
from models.findings import ProbabilityMap, Segment
from tests.appliance.results.given import BONE, TISSUE, segment


def made(*boxes: tuple[slice, slice, slice], shape: tuple[int, int, int] = (3, 5, 7)) -> list[Segment]:
    found = []
    for number, box in enumerate(boxes, start=1):
        mask = np.zeros(shape, dtype=np.bool_)
        mask[box] = True
        found.append(segment(str(number), number, mask, BONE))
    return found


LEFT, RIGHT = (slice(0, 2), slice(1, 4), slice(0, 3)), (slice(1, 3), slice(1, 4), slice(3, 6))
LOW = (slice(2, 3), slice(0, 5), slice(0, 7))


def test_overlap_is_of_voxels_and_not_of_slices():
    assert masks(made(LEFT, RIGHT)).overlap == "NO"
    assert masks(made(LEFT, RIGHT, LOW)).overlap == "YES"
    assert masks(made(LEFT)).overlap == "NO"
    assert masks(made(LEFT, RIGHT)).present.tolist() == [[True, False], [True, True], [False, True]]


def test_frames_of_odd_sizes_are_packed_without_gaps():
    segments = made(LEFT, RIGHT)
    layers = masks(segments)
    frames = [(0, 0), (0, 1), (1, 1), (1, 2)] * 3
    packed = np.frombuffer(layers.bits(frames), dtype=np.uint8)
    wanted = np.concatenate([segments[layer].mask[z].ravel() for layer, z in frames])
    assert (np.unpackbits(packed, bitorder="little", count=wanted.size) == wanted).all()
    assert len(packed) % 2 == 0


def test_a_label_map_holds_numbers_and_overlapping_segments_have_none():
    segments = made(LEFT, RIGHT)
    layers = labels(segments, masks(segments))
    plane = np.frombuffer(layers.numbers([(0, 1)], 8)[:35], dtype=np.uint8).reshape(5, 7)
    assert (plane == 1 * segments[0].mask[1] + 2 * segments[1].mask[1]).all()
    assert len(layers.numbers([(0, 1)], 8)) == 36
    assert layers.present.tolist() == [[True], [True], [True]]
    overlapping = made(RIGHT, LOW)
    with pytest.raises(AssertionError, match="one number"):
        labels(overlapping, masks(overlapping))


def test_more_segments_than_a_byte_counts_have_numbers_of_two_bytes():
    cells = [(slice(0, 1), slice(n // 20, n // 20 + 1), slice(n % 20, n % 20 + 1)) for n in range(300)]
    segments = made(*cells, shape=(1, 15, 20))
    layers = labels(segments, masks(segments))
    plane = np.frombuffer(layers.numbers([(0, 0)], 16), dtype="<u2")
    assert plane.tolist() == list(range(1, 301))


def test_shares_lie_in_their_place_and_a_segment_without_a_map_has_no_frame():
    levels = np.zeros((2, 2, 3), dtype=np.uint8)
    levels[0, 1, 2] = 200
    one = ProbabilityMap(label="1", category=TISSUE, type=BONE, origin=(1, 2, 3), levels=levels)
    layers = shares([None, one], (3, 5, 7))
    assert layers.present.tolist() == [[False, False], [False, True], [False, False]]
    plane = layers.draw(1, 1)
    assert plane[3, 5] == 200
    assert plane.sum() == 200
    assert layers.overlap == "UNDEFINED"
