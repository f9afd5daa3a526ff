"""What a result speaks about, one by one: lesions, segments, labels without a mask, the whole series.

Promises: each subject knows its measurements and a shape that a viewer can draw (R6).
Never: encodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from appliance.results.context import ResultContext
from appliance.results.drawable import BoxRegion, PointRegion
from appliance.results.limits import DEFAULT, Limits
from appliance.results.outline import box, outline, rectangle
from appliance.results.wording import by_label, plain
from models.findings import Classification, Code, Findings, Lesion, Measurement, Outcome, Segment
from models.tensors import BoolArray, DoubleArray

WHOLE_SERIES = "whole series"

# Where numbers without a region are shown: away from the anatomy, and with room for the text to the right.
_CORNER = 0.06
# Below one another where one image has to hold several, as a radiograph has.
_LINE = 0.12
_DOWN_MAX = 0.95
_AREAS: WeakKeyDictionary[Segment, npt.NDArray[np.int64]] = WeakKeyDictionary()


class Kind(StrEnum):
    """Say what a subject's shape means, and so which template its group follows."""

    LESION = "lesion"
    """A bounding rectangle on the lesion's largest slice: TID 1411 with an Image Region."""
    LOCATION = "location"
    """A point where something lies that has no extent of its own: TID 1411 with an Image Region."""
    SEGMENT = "segment"
    """Where a SEG holds the region, an outline on its largest slice: TID 1411 with a Referenced Segment.
    Else a bounding rectangle, as for a lesion."""
    ANALYSED = "analysed"
    """A point near the corner of one analysed image, to hang numbers on; nothing is enclosed: TID 1501."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """Hold one group of measurements and where to draw it.

    Attributes:
        name: human label, the Tracking Identifier (R11).
        slice_index: the slice of the volume that the shape lies on.
        points: closed polyline, or one point for ANALYSED, (n, 2), (column, row) in SCOORD pixels.
        label: the model's label it is of; None for the whole series.
        segment: the segment to refer to in the SEG; None where the shape itself is the region.
        answer: the model's yes or no about a label; None where the subject is none.
        tool: the measuring tool of Cornerstone3D that a shape of this form belongs to (R11).
    """

    kind: Kind
    name: str
    finding: Code | None
    slice_index: int
    points: DoubleArray
    measurements: tuple[Measurement, ...]
    label: str | None = None
    segment: Segment | None = None
    answer: Classification | None = None
    tool: str = "Probe"


def tracking_uid(context: ResultContext, kind: Kind, name: str) -> str:
    """Derive the Tracking Unique Identifier of a subject: one in all objects of a result (R4)."""
    return context.uid("tracking", kind.value, plain(name))


def written_segments(findings: Findings) -> list[Segment]:
    """Pick the segments that hold at least one voxel: only these can be drawn or encoded."""
    return [segment for segment in findings.segments if areas(segment).any()]


def largest_slice(segment: Segment) -> int:
    """Find the slice on which a segment covers most pixels."""
    return int(areas(segment).argmax())


def areas(segment: Segment) -> npt.NDArray[np.int64]:
    """Count the pixels of a segment on each slice, (slices,).

    Every object of a result asks for it, and a mask of 400 slices is a hundred million voxels: it is counted
    once, and forgotten with the segment.
    """
    counted = _AREAS.get(segment)
    if counted is None:
        counted = _AREAS[segment] = np.array(
            [np.count_nonzero(plane) for plane in segment.mask], dtype=np.int64
        )
    return counted


def subjects(
    findings: Findings,
    shape: tuple[int, int, int],
    *,
    with_seg: bool,
    contours: bool = False,
    limits: Limits = DEFAULT,
) -> list[Subject]:
    """List everything a report has numbers for, lesions first.

    A segment whose lesions are listed one by one is a subject only when it has numbers of its own. A label
    without voxels or without a mask is hung on a point of an analysed image, each on a slice of its own,
    so that their texts do not overlap.

    Args:
        findings: what the model found.
        shape: (slices, rows, columns) of the volume.
        with_seg: whether the result has a SEG to refer to.
        contours: whether every region is a contour instead of a rectangle; none refers to a SEG then.
        limits: bounds of the result objects.
    """
    corners_max = limits.outline_points_max if contours else None
    found = [
        _lesion(one, shape, corners_max=corners_max) for one in findings.lesions[: limits.lesion_groups_max]
    ]
    covered = {lesion.segment for lesion in findings.lesions}
    numbers = by_label(findings.measurements)
    for segment in written_segments(findings):
        own = tuple(numbers.pop(segment.label, ()))
        if own or segment.label not in covered:
            referred = with_seg and bool(own) and not contours
            traced = limits.outline_points_max if contours or referred else None
            found.append(_segment(segment, own, referred=referred, corners_max=traced))
    if findings.outcome is Outcome.NO_FINDING and not numbers and not found:
        numbers = {None: []}
    answers = {answer.label: answer for answer in findings.classifications}
    return found + list(_analysed(list(numbers.items()), shape, answers))


def _lesion(lesion: Lesion, shape: tuple[int, int, int], *, corners_max: int | None) -> Subject:
    kind, tool = Kind.LESION, "RectangleROI"
    if isinstance(lesion, PointRegion):
        kind, tool = Kind.LOCATION, "Probe"
        points = np.array([lesion.place[::-1]], dtype=np.float64)
    elif isinstance(lesion, BoxRegion):
        top, left, bottom, right = lesion.edges
        points = box(left, top, right, bottom)
    else:
        plane = lesion.plane(lesion.slice_index, rows=shape[1], columns=shape[2])
        points, tool = _around(plane, corners_max)
    return Subject(
        kind=kind,
        name=plain(f"{lesion.segment} {lesion.label}"),
        finding=lesion.finding,
        slice_index=lesion.slice_index,
        points=points,
        measurements=lesion.measurements,
        label=lesion.segment,
        tool=tool,
    )


def _segment(
    segment: Segment, measurements: tuple[Measurement, ...], *, referred: bool, corners_max: int | None
) -> Subject:
    index = largest_slice(segment)
    points, tool = _around(segment.mask[index], corners_max)
    return Subject(
        kind=Kind.SEGMENT,
        name=plain(segment.label),
        finding=segment.type,
        slice_index=index,
        points=points,
        measurements=measurements,
        label=segment.label,
        segment=segment if referred else None,
        tool=tool,
    )


def _around(plane: BoolArray, corners_max: int | None) -> tuple[DoubleArray, str]:
    """Give the contour of a mask within a number of corners, or its rectangle; and whose tool it is."""
    if corners_max is None:
        return rectangle(plane), "RectangleROI"
    return outline(plane, points_max=corners_max), "PlanarFreehandROI"


def _analysed(
    groups: Sequence[tuple[str | None, Sequence[Measurement]]],
    shape: tuple[int, int, int],
    answers: Mapping[str, Classification],
) -> Iterator[Subject]:
    slices, rows, columns = shape
    on_slice: Counter[int] = Counter()
    for place, (label, measurements) in enumerate(groups, start=1):
        index = slices * place // (len(groups) + 1)
        down = min(_CORNER + _LINE * on_slice[index], _DOWN_MAX)
        on_slice[index] += 1
        yield Subject(
            kind=Kind.ANALYSED,
            name=plain(label or WHOLE_SERIES),
            finding=next((m.finding for m in measurements if m.finding), None),
            slice_index=index,
            points=np.array([(columns * _CORNER, rows * down)]),
            measurements=tuple(measurements),
            label=label,
            answer=answers.get(label) if label is not None else None,
        )
