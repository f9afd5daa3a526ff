"""A synthetic series that a manifest accepts, to record what a network answers.

Promises: the same manifest and number give the same voxels everywhere; whole numbers that fit 16 bits.
Never: looks like a patient. It is noise around a few bright ellipsoids, to see that an engine computes the
same, and says nothing about how well the model works.
"""

from collections.abc import Sequence

import numpy as np

from models.importing.limits import ImportLimits
from models.manifest import Manifest
from models.tensors import BoolArray, DoubleArray, FloatArray, Volume

_OPEN_SIDE = 64
_BRIGHT = 4
_COSINES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "coronal": ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0)),
}


class NoSynthetic(ValueError):
    """No synthetic series can be made for this manifest; the text says why."""


def synthetic_volume(
    manifest: Manifest,
    *,
    number: int,
    modality: str,
    fixed: Sequence[int | None] = (),
    limits: ImportLimits | None = None,
) -> Volume:
    """Make case `number` (from 1) of a manifest; `fixed` holds the graph's own sides, (y, x) or (z, y, x).

    Raises:
        NoSynthetic: the manifest wants an oblique series only, or one larger than the bound.
    """
    limits = limits or ImportLimits()
    shape = _shape(manifest, fixed, number)
    if np.prod(shape) > limits.golden_values_max:
        raise NoSynthetic(f"a series of {shape} voxels is more than {limits.golden_values_max}")
    orientation = next(
        (name for name in manifest.accepts.orientations or ("axial",) if name in _COSINES), None
    )
    if orientation is None:
        raise NoSynthetic(
            "a synthetic series is axial, coronal or sagittal, and the manifest takes none of them"
        )
    row, column = (np.array(cosine) for cosine in _COSINES[orientation])
    spacing = _spacing(manifest)
    return Volume(
        voxels=_voxels(shape, hounsfield=manifest.input.units == "HU", number=number),
        valid=_all_valid(shape),
        positions=_positions(shape[0], spacing[0], np.cross(row, column)),
        row_cosines=row,
        column_cosines=column,
        pixel_spacing_mm=(spacing[1], spacing[2]),
        slice_spacing_mm=spacing[0],
        regular=True,
        modality=modality,
        units=manifest.input.units,
    )


def _shape(manifest: Manifest, fixed: Sequence[int | None], number: int) -> tuple[int, int, int]:
    """Give a size with two patches, or two calls, for the first case and one for others."""
    further = 1 if number == 1 else 0
    given, accepts = manifest.input, manifest.accepts
    if given.layout == "patch" and given.patch is not None:
        z, y, x = given.patch
        sides = [z + further * max(1, z // 4), y, x]
    elif given.layout == "volume":
        sides = list(given.size or [side or _OPEN_SIDE for side in (*fixed, None, None, None)[:3]])
    else:
        sides = [
            given.batch + further,
            *(given.size or [side or _OPEN_SIDE for side in (*fixed, None, None)[:2]]),
        ]
    sides[0] = max(sides[0], accepts.slices_min)
    sides[0] = min(sides[0], accepts.slices_max or sides[0])
    return sides[0], sides[1], sides[2]


def _spacing(manifest: Manifest) -> tuple[float, float, float]:
    spacing = manifest.input.spacing_mm or (1.0, 1.0, 1.0)
    return min(spacing[0], manifest.accepts.spacing_mm_max or spacing[0]), spacing[1], spacing[2]


def _positions(slices: int, distance_mm: float, normal: DoubleArray) -> DoubleArray:
    return np.outer(np.arange(slices) * distance_mm, normal)


def _all_valid(shape: tuple[int, int, int]) -> BoolArray:
    return np.ones(shape, dtype=np.bool_)


def _voxels(shape: tuple[int, int, int], *, hounsfield: bool, number: int) -> FloatArray:
    """Draw ellipsoids into noise: float32 of whole numbers, HU or 0 to about 1000."""
    random = np.random.default_rng(number)
    values = random.normal(40.0 if hounsfield else 300.0, 30.0, shape)
    axes = [np.arange(side, dtype=np.float64) for side in shape]
    for _ in range(_BRIGHT):
        centre = random.uniform(0.25, 0.75, 3) * shape
        radius = np.maximum(random.uniform(0.05, 0.25, 3) * shape, 0.75)
        z, y, x = ((axis - at) / size for axis, at, size in zip(axes, centre, radius, strict=True))
        inside = z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2 <= 1.0
        values[inside] += random.uniform(-200.0, 400.0)
    low = -1024 if hounsfield else 0
    return np.clip(np.rint(values), low, 3000).astype(np.float32)
