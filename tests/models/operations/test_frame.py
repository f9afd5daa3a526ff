"""An image comes back to the pixels it was made of."""

from __future__ import annotations

import numpy as np
import pytest

from models.operations.frame import Fit, frame_of

SIZES = [((40, 64), (20, 32)), ((7, 9), (16, 16)), ((300, 100), (64, 64)), ((16, 16), (16, 16))]


@pytest.mark.parametrize(("source", "size"), SIZES)
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_corners_map_to_corners(source: tuple[int, int], size: tuple[int, int], fit: Fit) -> None:
    frame = frame_of(source, size, fit)
    first = np.array(frame.first, dtype=np.float64)
    ends = np.stack([first, first + np.array(frame.content)])
    assert frame.to_source(ends) == pytest.approx(np.array([(0, 0), source], dtype=np.float64))


@pytest.mark.parametrize(("source", "size"), SIZES)
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_a_ramp_goes_there_and_back(source: tuple[int, int], size: tuple[int, int], fit: Fit) -> None:
    rows, columns = np.mgrid[: source[0], : source[1]].astype(np.float32)
    ramp = np.stack([(rows + 0.5) / source[0], (columns + 0.5) / source[1]]).astype(np.float32)
    frame = frame_of(source, size, fit)
    fed = frame.into(ramp, -5.0)
    assert fed.shape == (2, *size)
    assert float((fed == -5.0).mean()) == pytest.approx(1 - np.prod(frame.content) / np.prod(size))
    back = frame.back(fed)
    assert back.shape == (2, *source)
    inner = back[:, source[0] // 8 : -(source[0] // 8) or None, source[1] // 8 : -(source[1] // 8) or None]
    true = ramp[:, source[0] // 8 : -(source[0] // 8) or None, source[1] // 8 : -(source[1] // 8) or None]
    assert np.abs(inner - true).max() < 0.08


def test_labels_keep_their_pixels() -> None:
    frame = frame_of((8, 4), (4, 4), "pad")
    assert (frame.first, frame.content) == ((0, 1), (4, 2))
    labels = np.zeros((4, 4), dtype=np.uint8)
    labels[:, 1], labels[:, 2], labels[:, 3] = 1, 2, 9
    assert frame.back_labels(labels).tolist() == [[1, 1, 2, 2]] * 8
