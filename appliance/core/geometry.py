"""Where the slices of a series lie in the patient, judged from their positions.

Slices are ordered along the normal of their planes, never by Instance Number.
Everything that keeps a series from being a regular volume is named in a sentence with its numbers.
Nothing here reads pixels, moves a slice or fills a gap.
All lengths are millimetres in the patient coordinate system (LPS, PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from appliance.core.irregularity import Tolerance, spacing_sentence, text_mm, usual_gap
from appliance.core.planes import (
    DEFAULT_TOLERANCE,
    SliceGeometry,
    frame_geometries,
    planes_of,
    slice_geometry,
)

if TYPE_CHECKING:
    from pydicom import Dataset

    from appliance.core.instance import Instance

Floats = NDArray[np.float64]

__all__ = [
    "SeriesGeometry",
    "SliceGeometry",
    "facts_for_routes",
    "frame_geometries",
    "measure",
    "planes_of",
    "route_facts",
    "slice_geometry",
]

AXIS_NAMES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, kw_only=True)
class SeriesGeometry:
    """What the positions of a series' slices say together.

    `order` holds indices into the measured slices: along the normal, and those without a position last.
    `slices` counts distinct positions, `frames` all images offered, `duplicates` the images too many.
    `slice_spacing_mm` is the usual distance along the normal; None when there are fewer than two positions.
    `gantry_tilt_degrees` is the angle between the stacking direction and the normal, never negative.
    `orientation` is "axial", "sagittal", "coronal" or "oblique", or None without a position.
    `direction` says how the slices were given: "ascending" or "descending" along the normal, else "shuffled".
    `obstacles` are the sentences that forbid a volume; `irregularity` is every sentence, joined, or None.
    """

    order: tuple[int, ...]
    slices: int
    frames: int
    slice_spacing_mm: float | None
    regular: bool
    irregularity: str | None
    obstacles: tuple[str, ...]
    gantry_tilt_degrees: float
    orientation: str | None
    direction: str
    duplicates: int
    mixed_orientation: bool


def measure(
    slices: Sequence[SliceGeometry | None], *, tolerance: Tolerance = DEFAULT_TOLERANCE
) -> SeriesGeometry:
    """Order slices along their normal and say what, if anything, is irregular about them."""
    placed = [index for index, plane in enumerate(slices) if plane is not None]
    planes = [plane for plane in slices if plane is not None]
    if not planes:
        return _without_position(len(slices))
    stack = _Stack.of(planes, tolerance)
    unplaced = [index for index, plane in enumerate(slices) if plane is None]
    obstacles = (*_missing_sentences(len(unplaced), len(slices)), *stack.obstacles(planes))
    faults = (*obstacles, *stack.faults())
    return SeriesGeometry(
        order=(*(placed[index] for index in stack.order), *unplaced),
        slices=len(slices) - stack.duplicates,
        frames=len(slices),
        slice_spacing_mm=stack.spacing_mm,
        regular=not faults,
        irregularity="; ".join(faults) or None,
        obstacles=obstacles,
        gantry_tilt_degrees=stack.tilt_degrees,
        orientation=_orientation(stack.normal),
        direction=_direction(stack.along),
        duplicates=stack.duplicates,
        mixed_orientation=stack.strangers > 0,
    )


def route_facts(geometry: SeriesGeometry) -> dict[str, Any]:
    """Name a measured geometry with the variables of route expressions and geometry limits."""
    return {
        "slices": geometry.slices,
        "slice_spacing_mm": geometry.slice_spacing_mm,
        "regular": geometry.regular,
        "gantry_tilt_degrees": geometry.gantry_tilt_degrees,
        "orientation": geometry.orientation,
        "frames": geometry.frames,
        "irregularity": geometry.irregularity,
    }


def facts_for_routes(
    instances: Iterable[Instance], *, header_of: Callable[[Instance], Dataset] | None = None
) -> dict[str, Any]:
    """Measure a series and return what route expressions may ask about it.

    Keys: slices, slice_spacing_mm, regular, gantry_tilt_degrees, orientation, frames, irregularity.
    An enhanced object is only measured when `header_of` gives its header (a pydicom Dataset without pixels).
    """
    return route_facts(measure(planes_of(instances, header_of=header_of)))


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """Placed slices seen along the normal of the largest group of parallel planes."""

    order: NDArray[np.intp]
    along: Floats
    normal: Floats
    gaps_mm: Floats
    strangers: int
    duplicates: int
    spacing_mm: float | None
    tilt_degrees: float
    sideways_mm: float
    tolerance: Tolerance

    @classmethod
    def of(cls, planes: Sequence[SliceGeometry], tolerance: Tolerance) -> _Stack:
        positions = np.array([plane.position for plane in planes])
        parallel = _largest_parallel_group(planes, tolerance.orientation_degrees)
        first = planes[int(np.flatnonzero(parallel)[0])]
        normal = np.cross(first.row_cosines, first.column_cosines)
        normal /= np.linalg.norm(normal)
        along = positions @ normal
        order = np.argsort(along, kind="stable")
        members = positions[order[parallel[order]]]
        gaps = np.diff(members @ normal)
        doubled = gaps < tolerance.position_mm
        tilt, sideways = _lean(members, normal)
        return cls(
            order=order,
            along=along,
            normal=normal,
            gaps_mm=gaps[~doubled],
            strangers=int(np.count_nonzero(~parallel)),
            duplicates=int(np.count_nonzero(doubled)),
            spacing_mm=usual_gap([float(gap) for gap in gaps[~doubled]], tolerance),
            tilt_degrees=tilt if tilt >= tolerance.tilt_degrees else 0.0,
            sideways_mm=sideways,
            tolerance=tolerance,
        )

    def obstacles(self, planes: Sequence[SliceGeometry]) -> list[str]:
        """Name what forbids one array with one slice per position."""
        said = []
        if 2 * self.strangers >= len(planes):
            said.append(f"the {len(planes)} images lie in different planes (a localiser?)")
        elif self.strangers:
            said.append(
                f"{self.strangers} of {len(planes)} images lie in another plane than the rest (a localiser?)"
            )
        if self.duplicates:
            said.append(
                f"{self.duplicates} of {len(planes)} images lie at a position that another image already has"
            )
        sizes = list(dict.fromkeys(f"{plane.rows} x {plane.columns}" for plane in planes))
        if len(sizes) > 1:
            said.append(f"images differ in size: {_list(sizes)} pixels")
        spacings = _distinct([plane.pixel_spacing_mm for plane in planes], self.tolerance.pixel_spacing_share)
        if len(spacings) > 1:
            texts = [f"{between_rows:g} x {between_columns:g}" for between_rows, between_columns in spacings]
            said.append(f"images differ in pixel spacing: {_list(texts)} mm")
        return said

    def faults(self) -> list[str]:
        """Name what is uneven about the distances between slices."""
        said = []
        uneven = spacing_sentence([float(gap) for gap in self.gaps_mm], self.tolerance)
        if uneven is not None:
            said.append(uneven)
        if self.sideways_mm > self.tolerance.sideways_mm:
            said.append(f"slices shift sideways by up to {text_mm(self.sideways_mm)} mm")
        return said


def _largest_parallel_group(planes: Sequence[SliceGeometry], degrees_max: float) -> NDArray[np.bool_]:
    rows = np.array([plane.row_cosines for plane in planes])
    columns = np.array([plane.column_cosines for plane in planes])
    # cos 0.5 degrees is too near 1 for a dot product of rounded cosines; the chord is not.
    chord_max = 2 * math.sin(math.radians(degrees_max) / 2)
    left = np.ones(len(planes), dtype=np.bool_)
    best = np.zeros(len(planes), dtype=np.bool_)
    while np.count_nonzero(left) > np.count_nonzero(best):
        index = int(np.flatnonzero(left)[0])
        near = np.linalg.norm(rows - rows[index], axis=1) <= chord_max
        near &= np.linalg.norm(columns - columns[index], axis=1) <= chord_max
        near &= left
        left &= ~near
        if np.count_nonzero(near) > np.count_nonzero(best):
            best = near
    return best


def _lean(members: Floats, normal: Floats) -> tuple[float, float]:
    """Return the tilt of a stack in degrees, and its largest sideways distance from a straight line in mm."""
    offsets = members - members[0]
    along = offsets @ normal
    if along[-1] <= 0:
        return 0.0, 0.0
    lateral = offsets - np.outer(along, normal)
    tilt = math.degrees(math.atan2(float(np.linalg.norm(lateral[-1])), float(along[-1])))
    straight = np.outer(along / along[-1], lateral[-1])
    return tilt, float(np.linalg.norm(lateral - straight, axis=1).max())


def _orientation(normal: Floats) -> str:
    axis = int(np.argmax(np.abs(normal)))
    # 0.8 (37 degrees) leaves every gantry tilt a scanner can make "axial".
    return AXIS_NAMES[axis] if abs(normal[axis]) >= 0.8 else "oblique"


def _direction(along: Floats) -> str:
    steps = np.diff(along)
    if (steps >= 0).all():
        return "ascending"
    return "descending" if (steps <= 0).all() else "shuffled"


def _distinct(pairs: Iterable[tuple[float, float]], share: float) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for pair in dict.fromkeys(pairs):
        if not any(np.allclose(pair, other, rtol=share, atol=0) for other in kept):
            kept.append(pair)
    return kept


def _list(words: Sequence[str]) -> str:
    shown = list(words[:3]) + (["others"] if len(words) > 3 else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]])


def _missing_sentences(missing: int, total: int) -> list[str]:
    if not missing:
        return []
    lack = "carry no usable position in the patient (Image Position, Image Orientation or Pixel Spacing)"
    return [f"{missing} of {total} images {lack}"]


def _without_position(frames: int) -> SeriesGeometry:
    if frames == 1:
        said = ["the image carries no position in the patient"]
    else:
        said = _missing_sentences(frames, frames) or ["the series holds no image"]
    return SeriesGeometry(
        order=tuple(range(frames)),
        slices=frames,
        frames=frames,
        slice_spacing_mm=None,
        regular=False,
        irregularity=said[0],
        # One image needs no order: a projection may still be analysed by a model that asks for no geometry.
        obstacles=() if frames == 1 else tuple(said),
        gantry_tilt_degrees=0.0,
        orientation=None,
        direction="ascending",
        duplicates=0,
        mixed_orientation=False,
    )
