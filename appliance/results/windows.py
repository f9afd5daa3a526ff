"""How a slice is shown in grey: its rescaling, and the source's own window where it has one.

Promises: a finite centre and a positive width, in the units of the volume.
Never: changes values; a picture is for looking.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from appliance.core.numbers import first_number
from models.tensors import Volume

_CT_DEFAULT = (40.0, 400.0)
_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Hold Rescale Slope, Intercept and Type (PS3.3 C.11.1)."""

    slope: float
    intercept: float
    type: str


def rescale_of(source: Dataset, volume: Volume, *, frame: int | None) -> Rescale | None:
    """Read how stored values of an image, or of its frame from 1, become those of the volume."""
    for item in _rescale_items(source, frame):
        slope, intercept = first_number(item.get("RescaleSlope")), first_number(item.get("RescaleIntercept"))
        if slope is not None and intercept is not None:
            kind = str(item.get("RescaleType") or volume.units or "US")
            return Rescale(slope=slope, intercept=intercept, type=kind)
    return None


def _rescale_items(source: Dataset, frame: int | None) -> Iterator[Dataset]:
    """Look where a rescaling can be: top level, then shared and the frame's functional groups."""
    yield source
    groups = list((source.get("SharedFunctionalGroupsSequence") or [])[:1])
    if frame is not None:
        groups += (source.get("PerFrameFunctionalGroupsSequence") or [])[frame - 1 : frame]
    for group in groups:
        yield from group.get("PixelValueTransformationSequence") or []


def window_of(source: Dataset, volume: Volume, *, index: int) -> tuple[float, float]:
    """Choose centre and width for one slice: the source's first window, CT's usual one, or its own range."""
    # The stored window belongs to inverted values; the range of the values fits either way.
    stored = None if source.get("PhotometricInterpretation") == "MONOCHROME1" else stored_window(source)
    if stored is not None:
        return stored
    if volume.units == "HU":
        return _CT_DEFAULT
    return _range(volume, index)


def stored_window(source: Dataset) -> tuple[float, float] | None:
    """Read centre and width of the source's own first window; None when it has none that can be used."""
    for item in _voi_items(source):
        centre, width = (first_number(item.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
        if centre is not None and width is not None and width > 0:
            return centre, width
    return None


def _voi_items(source: Dataset) -> Iterator[Dataset]:
    """Look where a window can be: top level, then the functional groups (PS3.3 C.7.6.16.2.10)."""
    yield source
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in (source.get(keyword) or [])[:1]:
            yield from group.get("FrameVOILUTSequence") or []


def _range(volume: Volume, index: int) -> tuple[float, float]:
    seen = volume.voxels[index][volume.valid[index]]
    if not seen.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(seen, _PERCENTILES))
    return (low + high) / 2, max(high - low, 1.0)
