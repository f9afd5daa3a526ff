"""Boxes and yes/no answers, put into the shapes that every object of this room draws and lists.

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

Edges = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxRegion(Lesion):
    """Hold a box as a region; `edges` are its exact (top, left, bottom, right) in SCOORD pixels."""

    edges: Edges


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
    top, left, bottom, right = found.box
    rows, columns = _painted(top, bottom, shape[1]), _painted(left, right, shape[2])
    size = (len(found.slice_range), len(rows), len(columns))
    return BoxRegion(
        label=found.label,
        # Tracking identifiers are made of kind and label; a mask of the same kind has its own.
        segment=f"{found.kind} box" if found.kind in taken else found.kind,
        finding=found.finding,
        probability=found.probability,
        origin=(found.slice_range.start, rows.start, columns.start),
        component=np.ones(size, dtype=np.bool_),
        slice_index=found.slice_index,
        measurements=found.measurements or (_number(found.probability),),
        edges=found.box,
    )


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
