"""Where one image plane lies in the patient, read from a header (PS3.3 C.7.6.2, C.7.6.16).

A plane that is absent or impossible is no plane: nothing is guessed.
All lengths are millimetres in the patient coordinate system (LPS, PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.core.irregularity import Tolerance

if TYPE_CHECKING:
    from pydicom import Dataset

    from appliance.core.instance import Instance

Triple = tuple[float, float, float]

DEFAULT_TOLERANCE = Tolerance()
# Nothing of a patient lies a kilometre away; longer numbers would overflow what is reckoned with them.
_LENGTH_MM_MAX = 1e6


@dataclass(frozen=True, kw_only=True)
class SliceGeometry:
    """One image plane (PS3.3 C.7.6.2).

    `position` is the centre of the first pixel, mm, LPS.
    `row_cosines` and `column_cosines` are the first and second triple of Image Orientation (Patient).
    `pixel_spacing_mm` is (distance between rows, distance between columns).
    """

    position: Triple
    row_cosines: Triple
    column_cosines: Triple
    pixel_spacing_mm: tuple[float, float]
    rows: int
    columns: int


def slice_geometry(facts: Mapping[str, Any]) -> SliceGeometry | None:
    """Read the image plane of a single-frame instance from its facts; None where absent or impossible."""
    return _slice(
        position=facts.get("ImagePositionPatient"),
        orientation=facts.get("ImageOrientationPatient"),
        spacing=facts.get("PixelSpacing"),
        size=(facts.get("Rows"), facts.get("Columns")),
    )


def frame_geometries(header: Dataset) -> list[SliceGeometry | None]:
    """Read the plane of every frame from the functional groups of an enhanced object (PS3.3 C.7.6.16).

    A frame's own group goes before the shared one.
    The list is as long as the Per-Frame Functional Groups Sequence: the bytes that hold it are its bound.
    """
    shared = _first(header.get("SharedFunctionalGroupsSequence"))
    size = (header.get("Rows"), header.get("Columns"))

    def group(frame: Dataset, macro: str, keyword: str) -> Any:
        for holder in (frame, shared):
            item = _first(holder.get(macro)) if holder is not None else None
            if item is not None and item.get(keyword) is not None:
                return item.get(keyword)
        return None

    return [
        _slice(
            position=group(frame, "PlanePositionSequence", "ImagePositionPatient"),
            orientation=group(frame, "PlaneOrientationSequence", "ImageOrientationPatient"),
            spacing=group(frame, "PixelMeasuresSequence", "PixelSpacing"),
            size=size,
        )
        for frame in header.get("PerFrameFunctionalGroupsSequence") or ()
    ]


def planes_of(
    instances: Iterable[Instance],
    *,
    header_of: Callable[[Instance], Dataset] | None = None,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
) -> list[SliceGeometry | None]:
    """Read one plane per frame of a series, in the order of the instances.

    Positions of a multi-frame object lie in its functional groups, which are read only through `header_of`.
    A claimed Number of Frames is never believed beyond `tolerance.frames_max`.
    """
    planes: list[SliceGeometry | None] = []
    for instance in instances:
        frames = _frame_count(instance.facts)
        if frames == 1 and "ImagePositionPatient" in instance.facts:
            planes.append(slice_geometry(instance.facts))
            continue
        inside = frame_geometries(header_of(instance)) if header_of is not None else []
        planes.extend(inside or [None] * min(frames, tolerance.frames_max))
    return planes


def _slice(*, position: Any, orientation: Any, spacing: Any, size: tuple[Any, Any]) -> SliceGeometry | None:
    where, axes, distances = _floats(position, 3), _floats(orientation, 6), _floats(spacing, 2)
    rows, columns = (int(side) if isinstance(side, int) else 0 for side in size)
    if where is None or axes is None or distances is None or min(rows, columns, *distances) <= 0:
        return None
    if max(map(abs, (*where, *distances))) > _LENGTH_MM_MAX or max(map(abs, axes)) > 2:
        return None
    row, column = np.array(axes[:3]), np.array(axes[3:])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 0.02:
        return None
    return SliceGeometry(
        position=(where[0], where[1], where[2]),
        row_cosines=(axes[0], axes[1], axes[2]),
        column_cosines=(axes[3], axes[4], axes[5]),
        pixel_spacing_mm=(distances[0], distances[1]),
        rows=rows,
        columns=columns,
    )


def _floats(values: Any, count: int) -> list[float] | None:
    if values is None or isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        return None
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _frame_count(facts: Mapping[str, Any]) -> int:
    frames = facts.get("NumberOfFrames")
    return frames if isinstance(frames, int) and frames > 0 else 1
