"""What of a result has an outline, on which slices, and which of those are drawn on.

Promises: a lesion that is listed is outlined as itself, every other written segment as a whole; slices are
chosen around the largest one of each region, so that no region is left out for the sake of another.
Never: encodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.results.limits import DEFAULT, Limits
from appliance.results.marks import colour_of
from appliance.results.picture import Rgb
from appliance.results.subjects import Kind, areas, largest_slice, written_segments
from appliance.results.wording import plain
from models.findings import Findings, Lesion, Segment
from models.tensors import BoolArray, Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """Hold one thing to outline.

    Attributes:
        name: human label, the Tracking Identifier.
        tag: what is written beside it.
        number: what is written there where many lie beside each other.
        layer: label of the segment it belongs to; regions of one layer have one colour.
        slices: slices of the volume on which it has pixels.
        best: the slice on which it is largest.
        plane: gives its mask on one slice, bool, (row, column).
    """

    kind: Kind
    name: str
    tag: str
    number: str
    layer: str
    colour: Rgb
    slices: Sequence[int]
    best: int
    plane: Callable[[int], BoolArray]


def regions(findings: Findings, volume: Volume, *, limits: Limits = DEFAULT) -> list[Region]:
    """List what has an outline: lesions, and segments that the listed lesions do not make up."""
    listed = findings.lesions[: limits.lesion_groups_max]
    unlisted = findings.lesions[limits.lesion_groups_max :]
    covered = {lesion.segment for lesion in listed} - {lesion.segment for lesion in unlisted}
    found = [_lesion(findings, volume, lesion) for lesion in listed]
    return found + [_segment(s) for s in written_segments(findings) if s.label not in covered]


def slices_to_draw_on(found: Sequence[Region], *, images_max: int) -> list[int]:
    """Choose slices with regions, nearest to the largest slice of any of them first; in slice order."""
    far: dict[int, int] = {}
    for region in found:
        for index in region.slices:
            far[index] = min(far.get(index, abs(index - region.best)), abs(index - region.best))
    return sorted(sorted(far, key=lambda index: (far[index], index))[:images_max])


def _lesion(findings: Findings, volume: Volume, lesion: Lesion) -> Region:
    _, rows, columns = volume.shape
    held = np.flatnonzero(lesion.component.any(axis=(1, 2))) + lesion.origin[0]
    return Region(
        kind=Kind.LESION,
        name=plain(f"{lesion.segment} {lesion.label}"),
        tag=plain(f"{lesion.finding.meaning} {lesion.label}"),
        number=plain(lesion.label),
        layer=lesion.segment,
        colour=colour_of(findings, lesion.segment),
        slices=held.tolist(),
        best=lesion.slice_index,
        plane=lambda index: lesion.plane(index, rows=rows, columns=columns),
    )


def _segment(segment: Segment) -> Region:
    return Region(
        kind=Kind.SEGMENT,
        name=plain(segment.label),
        tag=plain(segment.label),
        number=plain(segment.label),
        layer=segment.label,
        colour=segment.colour_rgb,
        slices=np.flatnonzero(areas(segment)).tolist(),
        best=largest_slice(segment),
        plane=lambda index: segment.mask[index],
    )
