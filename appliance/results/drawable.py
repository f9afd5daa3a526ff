"""Boxes, points and yes/no answers, put into the shapes that every object of this room draws and lists.

Promises: a box keeps its exact edges where an object can hold them, and covers the pixels whose middle lies
in it where one is painted; a probability is a number of its label, whatever the verdict.
Never: turns an absent or doubtful label into a finding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from models import codes
from models.findings import Classification, Detection, Findings, Lesion, Measurement, Verdict
from models.tensors import BoolArray

# The arms of the cross that a point is painted as, as a share of the image's shorter side, and in pixels.
_ARM = 1 / 64
_ARM_PIXELS_MIN = 2

Edges = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxRegion(Lesion):
    """Hold a box as a region; `edges` are its exact (top, left, bottom, right) in SCOORD pixels."""

    edges: Edges


@dataclass(frozen=True, kw_only=True, eq=False)
class PointRegion(BoxRegion):
    """Hold a point as a region, a cross where one is painted."""

    @property
    def place(self) -> tuple[float, float]:
        """Give the point itself, (row, column) in SCOORD pixels."""
        return self.edges[0], self.edges[1]


def drawable(findings: Findings, shape: tuple[int, int, int]) -> Findings:
    """Give findings whose boxes are regions and whose classifications are numbers of their labels.

    Args:
        findings: what the model found.
        shape: (slices, rows, columns) of the volume.
    """
    taken = {lesion.segment for lesion in findings.lesions}
    boxes = [_region(found, shape, taken) for found in findings.detections]
    numbers = [_probability(found) for found in findings.classifications]
    return replace(
        findings,
        lesions=(*findings.lesions, *boxes),
        measurements=(*numbers, *findings.measurements),
    )


def _region(found: Detection, shape: tuple[int, int, int], taken: set[str]) -> BoxRegion:
    painted, origin = (_cross if found.is_point else _filled)(found, shape)
    return (PointRegion if found.is_point else BoxRegion)(
        label=found.label,
        # Tracking identifiers are made of kind and label; a mask of the same kind has its own.
        segment=f"{found.kind} box" if found.kind in taken else found.kind,
        finding=found.finding,
        probability=found.probability,
        origin=(found.slice_range.start, *origin),
        component=np.repeat(painted[np.newaxis], len(found.slice_range), axis=0),
        slice_index=found.slice_index,
        measurements=found.measurements or (_number(found.probability),),
        edges=found.box,
    )


def _filled(found: Detection, shape: tuple[int, int, int]) -> tuple[BoolArray, tuple[int, int]]:
    """Paint a box: bool, (row, column), and the pixel of its upper left corner."""
    top, left, bottom, right = found.box
    rows, columns = _painted(top, bottom, shape[1]), _painted(left, right, shape[2])
    return np.ones((len(rows), len(columns)), dtype=np.bool_), (rows.start, columns.start)


def _cross(found: Detection, shape: tuple[int, int, int]) -> tuple[BoolArray, tuple[int, int]]:
    """Paint a point as a cross, which nobody takes for an extent; cut off at the border of the image."""
    arm = max(_ARM_PIXELS_MIN, round(_ARM * min(shape[1:])))
    row, column = (_painted(at, at, size).start for at, size in zip(found.box[:2], shape[1:], strict=True))
    mask = np.zeros(shape[1:], dtype=np.bool_)
    top, left = max(row - arm, 0), max(column - arm, 0)
    mask[top : row + arm + 1, column] = True
    mask[row, left : column + arm + 1] = True
    return mask[top : row + arm + 1, left : column + arm + 1], (top, left)


def _painted(low: float, high: float, size: int) -> range:
    """Give the pixels whose middle lies between two edges; one at least, and none outside the image."""
    first = min(max(math.ceil(low - 0.5), 0), size - 1)
    last = min(max(math.ceil(high - 0.5), first + 1), size)
    return range(first, last)


def _probability(found: Classification) -> Measurement:
    finding = found.finding if found.verdict is Verdict.PRESENT else None
    return replace(_number(found.probability), segment=found.label, finding=finding)


def _number(probability: float) -> Measurement:
    return Measurement(name=codes.PROBABILITY, value=probability, unit=codes.NO_UNITS)
