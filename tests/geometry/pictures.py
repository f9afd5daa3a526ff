"""Burnt-in outlines held against the edges of the marks below them, and the grey picture too."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from scipy import ndimage

from tests.geometry.networks import COLOUR_RGB
from tests.geometry.reading import box_of, distance, edge_of

HALF_A_PIXEL = 0.5 + 1e-3


def check_picture(picture: Dataset, labels: np.ndarray, spacing_mm: tuple[float, float]) -> None:
    """Outlines lie within half a pixel of the edges of marks; of the picture's where it has the larger ones.

    A line is two pixels of the picture wide, inwards; besides lines there are only tags.
    """
    rows, columns = labels.shape
    height = round(picture.Columns * rows * spacing_mm[0] / (columns * spacing_mm[1]))
    pixels = picture.pixel_array[:height].astype(int)
    scale = np.array([columns / picture.Columns, rows / height])
    coloured = (pixels == COLOUR_RGB).all(axis=2)
    row, column = np.nonzero(coloured)
    points = (np.stack([column, row], axis=1) + 0.5) * scale
    edge = edge_of(labels > 0)
    # From a corner of the image's pixels to the middle of a picture's pixel: half the diagonal of each.
    near_enough = max(HALF_A_PIXEL, float(scale.max() + 1) * 0.5**0.5 if scale.max() > 1 else 0)
    near = distance(points, *edge) <= max(near_enough, 2.5 * scale.max())
    middles = np.concatenate([edge[0], (edge[0] + edge[1]) / 2])
    gaps = np.array([np.linalg.norm(points[near] - middle, axis=1).min() for middle in middles])
    assert gaps.max() <= near_enough
    boxes = [box_of(labels == mark) for mark in np.unique(labels) if mark]
    for across, down in points[~near]:
        # A tag: to the right of its mark's upper right corner, one or two figures wide.
        assert any(
            0 <= across - right <= 44 * scale[0] and -6 * scale[1] <= down - top <= 34 * scale[1]
            for _, top, right, _ in boxes
        )
    inside = sampled(pixels, ndimage.binary_erosion(labels > 0))
    outside = sampled(pixels, ~ndimage.binary_dilation(labels > 0, iterations=6))
    assert np.median(inside) > np.median(outside) + 20


def sampled(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Look at the picture in the middles of the image's pixels."""
    row, column = np.nonzero(where)
    down = ((row + 0.5) * pixels.shape[0] / where.shape[0]).astype(int)
    across = ((column + 0.5) * pixels.shape[1] / where.shape[1]).astype(int)
    looked: np.ndarray = pixels[down, across].mean(axis=1)
    return looked
