"""Shapes on one slice: the exact outline of a mask and its bounding rectangle.

Coordinates are DICOM's SCOORD ones: (column, row) in pixels, 0.0 at the top left corner of the top left
pixel, so the centre of that pixel is 0.5 (PS3.3 C.18.6.1.2).
Promises: an outline is closed, runs along pixel edges and, once thinned, leaves them by half a pixel
at most while it fits its bound.
Never: draws holes, or more islands than asked for; the SEG holds the whole truth.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.tensors import BoolArray, DoubleArray

_TOLERANCE_PIXELS = 0.5
# The ways along pixel edges with the mask on the right hand: east, south, west, north as (column, row).
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def rectangle(mask: BoolArray) -> DoubleArray:
    """Give the bounding rectangle of a mask as a closed polyline of five points, (5, 2), (column, row)."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    assert rows.size, "the mask holds something"
    return box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def box(left: float, top: float, right: float, bottom: float) -> DoubleArray:
    """Give a rectangle as a closed polyline of five points, (5, 2), (column, row)."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return np.array(corners, dtype=np.float64)


def outline(mask: BoolArray, *, points_max: int) -> DoubleArray:
    """Give the outer outline of the largest island of a mask, closed, (n, 2), (column, row).

    Args:
        mask: bool, (row, column), not empty.
        points_max: most points; the outline is thinned until it fits.
    """
    return outlines(mask, points_max=points_max, islands_max=1)[0]


def outlines(mask: BoolArray, *, points_max: int, islands_max: int) -> list[DoubleArray]:
    """Give the outer outlines of the islands of a mask, largest first, each as `outline` does.

    Args:
        mask: bool, (row, column), not empty.
        points_max: most points of one outline.
        islands_max: most outlines; smaller islands are left out.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert rows.size, "the mask holds something"
    # What lies around the islands needs no labels: most masks are small in their slice.
    top, left = int(rows[0]), int(columns[0])
    labels, _ = ndimage.label(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    sizes = np.bincount(labels.ravel())[1:]
    # A stable sort of the negated sizes: of two equal islands the upper one comes first.
    largest = np.argsort(-sizes, kind="stable")[:islands_max]
    boxes = ndimage.find_objects(labels)
    return [_outline(labels[boxes[i]] == i + 1, _corner(boxes[i], top, left), points_max) for i in largest]


def _corner(place: tuple[slice, slice], top: int, left: int) -> DoubleArray:
    """Give the upper left corner of a box inside a part of a mask, (column, row) in the mask."""
    return np.array([left + place[1].start, top + place[0].start], dtype=np.float64)


def _outline(island: BoolArray, corner: DoubleArray, points_max: int) -> DoubleArray:
    """Trace one 4-connected island, whose outline never touches itself along an edge, and thin the line."""
    points = _trace(island) + corner
    tolerance = _TOLERANCE_PIXELS
    thinned = _thin(points, tolerance)
    while len(thinned) > points_max:
        tolerance *= 1.5
        thinned = _thin(points, tolerance)
    return thinned


def _trace(island: BoolArray) -> DoubleArray:
    """Walk the outer edge of a 4-connected island clockwise; give its corners, first = last."""
    padded = np.pad(island, 1)
    row, column = (int(i[0]) for i in np.nonzero(padded))
    start = (column, row)
    corner, heading = start, 0
    corners = [start]
    while True:
        corner = (corner[0] + _STEPS[heading][0], corner[1] + _STEPS[heading][1])
        turned = _turn(padded, corner, heading)
        if turned != heading:
            corners.append(corner)
            heading = turned
        if corner == start and heading == 0:
            break
    if corners[-1] != start:
        corners.append(start)
    return np.array(corners, dtype=np.float64) - 1


def _turn(padded: BoolArray, corner: tuple[int, int], heading: int) -> int:
    """Choose the next way at a pixel corner: right when the island ends, left when it lies across the way."""
    if not _pixel(padded, corner, heading, right=True):
        return (heading + 1) % 4
    if _pixel(padded, corner, heading, right=False):
        return (heading - 1) % 4
    return heading


def _pixel(padded: BoolArray, corner: tuple[int, int], heading: int, *, right: bool) -> bool:
    """Look at the pixel ahead of a corner, to the right or left of the heading."""
    ahead = _STEPS[heading]
    side = _STEPS[(heading + (1 if right else 3)) % 4]
    column = corner[0] + (ahead[0] + side[0] - 1) // 2
    row = corner[1] + (ahead[1] + side[1] - 1) // 2
    return bool(padded[row, column])


def _thin(points: DoubleArray, tolerance: float) -> DoubleArray:
    """Drop points that lie within a tolerance of the line without them (Douglas and Peucker)."""
    keep = np.zeros(len(points), dtype=np.bool_)
    # A closed line has no chord to start from; its farthest point makes two open ones.
    far = int(np.linalg.norm(points - points[0], axis=1).argmax())
    keep[[0, far, -1]] = True
    spans = [(0, far), (far, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distance = _from_chord(points[first + 1 : last], points[first], points[last])
        worst = int(distance.argmax())
        if distance[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def _from_chord(points: DoubleArray, start: DoubleArray, end: DoubleArray) -> DoubleArray:
    """Measure the distance of points, (n, 2), from the segment between two of them."""
    chord = end - start
    along = (points - start) @ chord / max(float(chord @ chord), 1e-12)
    # Written out: most lines are of a few points, for which the library's own clip and norm take far longer.
    within = np.minimum(np.maximum(along, 0), 1)
    off = points - (start + within[:, np.newaxis] * chord)
    distance: DoubleArray = np.sqrt((off * off).sum(axis=1))
    return distance
