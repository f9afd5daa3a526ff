"""The parametric map: a model's own probabilities, voxel by voxel, as a heat map (PS3.3 A.75).

Promises: one object per label; stored values are the probability itself, 32-bit floating point, in steps of
1/255, and a Real World Value Mapping says so; a frame for each slice that holds anything, where its source
slice lies. Where there is no frame the probability is 0.
Never: writes a map in which nothing is, or colours: those are the viewer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from highdicom import VOILUTFunctionValues, VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from pydicom import Dataset

from appliance.results import coding
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.finish import Label, common, finish, sop_instance_uid
from appliance.results.frames import (
    fix_dimension_uid,
    frames,
    placed_all,
    plane_positions,
    shown,
    spacing_mm,
)
from appliance.results.limits import DEFAULT, Limits
from appliance.results.wording import NOT_PRIMARY, long_string
from models import codes
from models.findings import LEVELS, Findings, ProbabilityMap
from models.tensors import Volume

FROM_MAPS = frozenset({"pmap", "seg-fractional"})
"""The outputs that are made from heat maps; where nobody asks for them, no map is made."""

_PARAMETRIC_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.30"
# Integers of 16 bits are half of it, but the commonest viewer reads 32 bits only (OHIF 3.13.2).
_STORED = np.dtype("<f4")
_PROBABILITIES = (np.arange(LEVELS + 1) / LEVELS).astype(_STORED)
# With the words around it 64, so that the caution is never cut off.
_LABEL_CHARS_MAX = 22


def too_large(findings: Findings, volume: Volume, *, limits: Limits = DEFAULT) -> list[str]:
    """Say which maps are left out because of their size."""
    return [
        f"The heat map of {_short(one)} is left out: it would be of {_size_bytes(one, volume) >> 20} MiB."
        for one in findings.maps
        if _size_bytes(one, volume) > limits.map_bytes_max
    ]


def map_references(
    context: ResultContext, *, volume: Volume, findings: Findings, limits: Limits = DEFAULT
) -> Mapping[str, Reference]:
    """Tell where the maps of this result are, by label, before they are encoded."""
    return {
        one.label: Reference(
            sop_class_uid=_PARAMETRIC_MAP_STORAGE,
            sop_instance_uid=sop_instance_uid(context, label),
            series_uid=str(common(context, label)["series_instance_uid"]),
            study_uid=context.study_uid,
        )
        for label, one in _written(findings, volume, limits)
    }


def parametric_maps(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    volume: Volume,
    findings: Findings,
    limits: Limits = DEFAULT,
) -> list[EncodedObject]:
    """Encode each map as an object of one series.

    Args:
        context: who made it, and its UIDs.
        sources: headers in slice order, or the one header of a multi-frame image.
        volume: the grid the maps lie on.
        findings: what the model found.
        limits: bounds of the result objects; a map beyond them is left out, see `too_large`.
    """
    return [
        _map(context, one, label, sources=sources, volume=volume)
        for label, one in _written(findings, volume, limits)
    ]


def _written(findings: Findings, volume: Volume, limits: Limits) -> Iterator[tuple[Label, ProbabilityMap]]:
    for number, one in enumerate(findings.maps, start=1):
        if _size_bytes(one, volume) <= limits.map_bytes_max:
            yield Label(output="pmap", title="pmap", instance_number=number), one


def _map(
    context: ResultContext, one: ProbabilityMap, label: Label, *, sources: Sequence[Dataset], volume: Volume
) -> EncodedObject:
    slices = _slices(one)
    placed = shown(sources[0], slices)
    made = ParametricMap(
        source_images=placed_all(sources, volume, placed),
        pixel_array=np.zeros((len(placed), 1, 1), dtype=np.float32),
        real_world_value_mappings=[_mapping(one)],
        voi_lut_transformations=[_window()],
        contains_recognizable_visual_features=False,
        plane_positions=plane_positions(sources[0], volume, placed),
        content_label="HEAT_MAP",
        content_description=long_string(f"Probability of {_short(one)}; {NOT_PRIMARY}"),
        **common(context, label),
    )
    _, made.Rows, made.Columns = volume.shape
    order = frames(
        made,
        sources,
        volume,
        slices=slices,
        present=np.ones((len(volume.positions), 1), dtype=np.bool_),
        distance_mm=spacing_mm(volume, slices),
    )
    made.FloatPixelData = _planes(one, [z for _, z in order], volume)
    fix_dimension_uid(made, context.uid("pmap", "dimensions"))
    # Type 2C (PS3.3 C.7.3.1); the encoder leaves it out.
    made.add_new("Laterality", "CS", None)
    return finish(made, context, label, source=sources[0])


def _size_bytes(one: ProbabilityMap, volume: Volume) -> int:
    _, rows, columns = volume.shape
    return len(_slices(one)) * rows * columns * _STORED.itemsize


def _slices(one: ProbabilityMap) -> list[int]:
    """List the slices that hold anything."""
    return [one.slice_range[int(z)] for z in np.flatnonzero(one.levels.any(axis=(1, 2)))]


def _planes(one: ProbabilityMap, slices: Sequence[int], volume: Volume) -> bytes:
    """Draw the map on slices that it reaches over: its box on each, for the rest is 0 already."""
    _, rows, columns = volume.shape
    (first, top, left), (_, height, width) = one.origin, one.levels.shape
    planes = np.zeros((len(slices), rows, columns), dtype=_STORED)
    for plane, z in zip(planes, slices, strict=True):
        plane[top : top + height, left : left + width] = _PROBABILITIES[one.levels[z - first]]
    return planes.tobytes()


def _mapping(one: ProbabilityMap) -> RealWorldValueMapping:
    """Say what the stored values mean (PS3.3 C.7.6.16.2.11)."""
    return RealWorldValueMapping(
        lut_label="PROBABILITY",
        lut_explanation=long_string(f"Probability of {_short(one)}"),
        unit=coding.concept(codes.NO_UNITS),
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=coding.concept(codes.PROBABILITY),
    )


def _window() -> VOILUTTransformation:
    """Show 0 as black and 1 as white, for which the other linear function is too wide (PS3.3 C.11.2.1.3)."""
    return VOILUTTransformation(
        window_center=0.5, window_width=1.0, voi_lut_function=VOILUTFunctionValues.LINEAR_EXACT
    )


def _short(one: ProbabilityMap) -> str:
    return long_string(one.label, chars_max=_LABEL_CHARS_MAX)
