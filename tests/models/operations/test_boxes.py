"""Boxes: overlap, the best of many, chains over slices."""

from __future__ import annotations

import numpy as np
import pytest

from models.operations.boxes import Boxes, chained, joined, overlaps, suppressed


def boxes(*given: tuple[list[float], int, float]) -> Boxes:
    return Boxes(
        corners=np.array([corners for corners, _, _ in given], dtype=np.float64).reshape(-1, 6),
        values=np.array([value for _, value, _ in given], dtype=np.int64),
        scores=np.array([score for _, _, score in given], dtype=np.float64),
    )


def test_overlap_is_shared_over_joint_volume() -> None:
    one = np.array([0.0, 0, 0, 2, 2, 2])
    others = np.array([[0.0, 0, 0, 2, 2, 2], [1, 0, 0, 3, 2, 2], [2, 0, 0, 3, 2, 2], [9, 9, 9, 9, 9, 9]])
    assert overlaps(one, others).tolist() == pytest.approx([1.0, 4 / 12, 0.0, 0.0])


def test_the_most_probable_stays_of_each_label_and_each_slice() -> None:
    flat = [0.0, 0, 0, 1, 4, 4]
    next_slice = [1.0, 0, 0, 2, 4, 4]
    given = boxes((flat, 1, 0.5), (flat, 1, 0.9), (flat, 2, 0.8), (next_slice, 1, 0.7)).ranked()
    kept = suppressed(given, 0.5)
    assert list(zip(kept.values.tolist(), kept.scores.tolist(), strict=True)) == [
        (1, 0.9),
        (2, 0.8),
        (1, 0.7),
    ]
    assert len(suppressed(given, 1.0)) == 4
    assert len(suppressed(boxes(), 0.5)) == 0


def test_boxes_are_cut_at_the_edges_and_gone_outside() -> None:
    given = boxes(([0, -3, 2, 1, 4, 9], 1, 0.5), ([0, 10, 2, 1, 14, 9], 1, 0.5), ([0, 3, 3, 1, 3, 9], 1, 0.5))
    kept = given.within((1, 8, 8))
    assert kept.corners.tolist() == [[0, 0, 2, 1, 4, 8]]


def test_a_chain_follows_the_overlap_over_neighbouring_slices() -> None:
    def at(z: int, left: float, value: int = 1) -> tuple[list[float], int, float]:
        return [z, 0, left, z + 1, 4, left + 4], value, 0.5 + left / 100

    given = boxes(at(0, 0), at(1, 1), at(2, 2), at(2, 20), at(4, 2), at(1, 1, value=2))
    chains = sorted(chain.tolist() for chain in chained(given, 0.4))
    assert chains == [[0, 1, 2], [3], [4], [5]]


def test_nothing_joined_is_nothing() -> None:
    assert len(joined([])) == 0
    assert joined([boxes(), boxes(([0, 0, 0, 1, 1, 1], 1, 0.5))]).corners.shape == (1, 6)
