"""How an image asks to be shown: its values, window, unit and the shape of its pixels (PS3.3 C.7.6.3, C.11).

Read from the header of a single image, or from the functional groups of a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.multival import MultiValue

from appliance.core.numbers import first_number

_HOUNSFIELD = frozenset({None, "", "HU"})


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a browser needs to show stored numbers.

    Attributes:
        slope, intercept: value = stored x slope + intercept.
        window: centre and width in values; None where the image names none.
        aspect: height of a pixel over its width.
        units: "HU", or "" where the values have none.
        looks: where the right and the lower edge look, as a projection states it; empty otherwise.
    """

    slope: float
    intercept: float
    window: tuple[float, float] | None
    aspect: float
    units: str
    looks: tuple[str, ...]


def shown(header: Dataset, frame: int | None) -> Shown:
    """Read how an image, or its frame from 1, is shown; what is missing or impossible changes nothing."""
    values = _holder(header, frame, "PixelValueTransformationSequence", "RescaleSlope")
    slope = first_number(values.get("RescaleSlope")) or 1.0
    return Shown(
        slope=slope,
        intercept=first_number(values.get("RescaleIntercept")) or 0.0,
        window=_window(_holder(header, frame, "FrameVOILUTSequence", "WindowCenter")),
        aspect=_aspect(header, frame),
        units=_units(header, values),
        looks=tuple(str(way)[:3] for way in header.get("PatientOrientation") or () if str(way).isalpha()),
    )


def _holder(header: Dataset, frame: int | None, macro: str, keyword: str) -> Dataset:
    """Find where an attribute of a frame stands: in its own group, the shared one, or the header itself."""
    for groups in _groups(header, frame):
        found = groups.get(macro)
        if found and keyword in found[0]:
            return found[0]  # type: ignore[no-any-return]
    return header


def _groups(header: Dataset, frame: int | None) -> Iterator[Dataset]:
    if frame is not None:
        yield from (header.get("PerFrameFunctionalGroupsSequence") or [])[frame - 1 : frame]
    yield from (header.get("SharedFunctionalGroupsSequence") or [])[:1]


def _window(holder: Dataset) -> tuple[float, float] | None:
    centre, width = first_number(holder.get("WindowCenter")), first_number(holder.get("WindowWidth"))
    return (centre, width) if centre is not None and width is not None and width > 0 else None


def _units(header: Dataset, values: Dataset) -> str:
    """Say "HU" where the values are Hounsfield units (PS3.3 C.8.2.1); a localiser's are not."""
    ct = header.get("Modality") == "CT" and "LOCALIZER" not in (header.get("ImageType") or ())
    return "HU" if ct and "RescaleSlope" in values and values.get("RescaleType") in _HOUNSFIELD else ""


def _aspect(header: Dataset, frame: int | None) -> float:
    """Give the height of a pixel over its width (PS3.3 10.7, C.7.6.3.1.7)."""
    measures = _holder(header, frame, "PixelMeasuresSequence", "PixelSpacing")
    stated = (measures.get("PixelSpacing"), header.get("ImagerPixelSpacing"), header.get("PixelAspectRatio"))
    for pair in stated:
        sides = [first_number(side) for side in pair] if isinstance(pair, MultiValue | list) else []
        if len(sides) == 2 and sides[0] and sides[1] and min(sides[0], sides[1]) > 0:
            ratio = sides[0] / sides[1]
            # A ratio beyond any scanner's would leave nothing to see.
            return ratio if 0.02 <= ratio <= 50 else 1.0
    return 1.0
