"""What our objects say, read with pydicom alone, and how far a line lies from the edge of a mark.

Nothing here imports the code that wrote the objects.
Coordinates are (column, row) in pixels from the upper left corner of an image (PS3.3 C.18.6.1.2, C.10.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Image = tuple[str, int | None]
"""SOP Instance UID, and the frame from 1 in a multi-frame image."""

_SAMPLES_A_PIXEL = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """Hold one drawn shape, (n, 2), the image it lies on, and what it is called."""

    image: Image
    points: Doubles
    name: str = ""
    uid: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Hold one measurement group of a report: its shapes, numbers by Code Value, and segment."""

    name: str
    uid: str
    lines: tuple[Line, ...]
    numbers: dict[str, float]
    segment: int | None


def groups(report: Dataset) -> list[Group]:
    """Read the measurement groups of a TID 1500 report."""
    (listed,) = [item for item in report.ContentSequence if _concept(item) == "126010"]
    return [_group(item) for item in listed.ContentSequence if _concept(item) == "125007"]


def marks(state: Dataset) -> Iterator[Line]:
    """Read the polylines of a presentation state."""
    for annotation in state.GraphicAnnotationSequence:
        (image,) = annotation.ReferencedImageSequence
        for graphic in annotation.get("GraphicObjectSequence") or ():
            assert graphic.GraphicAnnotationUnits == "PIXEL"
            assert graphic.GraphicType == "POLYLINE"
            yield Line(
                image=image_of(image),
                points=np.array(graphic.GraphicData, dtype=np.float64).reshape(-1, 2),
                name=graphic.TrackingID,
                uid=graphic.TrackingUID,
            )


def image_of(reference: Dataset) -> Image:
    """Read which image or frame an item refers to."""
    frame = reference.get("ReferencedFrameNumber")
    return str(reference.ReferencedSOPInstanceUID), None if frame is None else int(frame)


def box_of(mask: Bools) -> Doubles:
    """Give (left, top, right, bottom) of a mask."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)


def extent(points: Doubles) -> Doubles:
    """Give (left, top, right, bottom) of a shape."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def apart(lines: list[Doubles], mask: Bools) -> float:
    """Measure how far closed lines and the edge of a mask lie apart at most, both ways, in pixels."""
    edge = edge_of(mask)
    drawn = [segments(line) for line in lines]
    starts, ends = (np.concatenate([pair[side] for pair in drawn]) for side in (0, 1))
    there = distance(np.concatenate([edge[0], (edge[0] + edge[1]) / 2]), starts, ends)
    shares = np.linspace(0, 1, _SAMPLES_A_PIXEL * 8)[:, None, None]
    along = (starts + shares * (ends - starts)).reshape(-1, 2)
    back = distance(along, *edge)
    return float(max(there.max(), back.max()))


def segments(line: Doubles) -> tuple[Doubles, Doubles]:
    """Cut a closed line into its straight pieces: their starts and ends."""
    assert np.array_equal(line[0], line[-1]), "the line is closed"
    return line[:-1], line[1:]


def edge_of(mask: Bools) -> tuple[Doubles, Doubles]:
    """Give the pixel edges between a mask and what is not of it: their starts and ends, (n, 2)."""
    padded = np.pad(mask, 1)
    row, column = np.nonzero(padded[1:, :] != padded[:-1, :])
    level = np.stack([column - 1, row], axis=1), np.stack([column, row], axis=1)
    row, column = np.nonzero(padded[:, 1:] != padded[:, :-1])
    upright = np.stack([column, row - 1], axis=1), np.stack([column, row], axis=1)
    starts, ends = (np.concatenate([level[side], upright[side]]).astype(np.float64) for side in (0, 1))
    return starts, ends


def distance(points: Doubles, starts: Doubles, ends: Doubles) -> Doubles:
    """Measure from each point to the nearest of straight pieces."""
    way = ends - starts
    length = np.maximum((way**2).sum(axis=1), 1e-12)
    along = ((points[:, None] - starts) * way).sum(axis=2) / length
    nearest = starts + np.clip(along, 0, 1)[..., None] * way
    found: Doubles = np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1)
    return found


def _group(group: Dataset) -> Group:
    said = {_concept(item): item for item in group.ContentSequence}
    segment = next(
        (
            int(item.ReferencedSOPSequence[0].ReferencedSegmentNumber)
            for item in group.ContentSequence
            if item.ValueType == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]
        ),
        None,
    )
    return Group(
        name=said["112039"].TextValue,
        uid=said["112040"].UID,
        lines=tuple(_lines(group)),
        numbers={
            _concept(item): float(item.MeasuredValueSequence[0].NumericValue)
            for item in group.ContentSequence
            if item.ValueType == "NUM"
        },
        segment=segment,
    )


def _lines(item: Dataset) -> Iterator[Line]:
    for child in item.get("ContentSequence") or ():
        if child.ValueType == "SCOORD":
            (image,) = child.ContentSequence
            points = np.array(child.GraphicData, dtype=np.float64).reshape(-1, 2)
            yield Line(image=image_of(image.ReferencedSOPSequence[0]), points=points)
        else:
            yield from _lines(child)


def _concept(item: Dataset) -> str:
    name = item.get("ConceptNameCodeSequence")
    return str(name[0].CodeValue) if name else ""
