"""Say whether a series' geometry and units are what a manifest accepts.

Promises: every reason is given at once, without patient data; what is not known is not accepted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.manifest import Manifest
from models.tensors import Volume


class NotAccepted(ValueError):
    """The series is not one the manifest accepts; `reasons` says why, without patient data."""

    def __init__(self, reasons: list[str]) -> None:
        """Take every reason at once."""
        super().__init__(" ".join(reasons))
        self.reasons = reasons


def check_geometry(manifest: Manifest, facts: Mapping[str, Any]) -> list[str]:
    """List why a series' geometry is not accepted, one plain sentence each; empty when it is.

    `facts`: slices, slice_spacing_mm, regular, irregularity, gantry_tilt_degrees, orientation. A limit whose
    fact is missing counts as not met: what is not known is not accepted.
    """
    accepts = manifest.accepts
    reasons = []
    slices = facts.get("slices") or 0
    if slices < accepts.slices_min:
        reasons.append(f"It has {slices} slices; the model needs at least {accepts.slices_min}.")
    if accepts.slices_max is not None and slices > accepts.slices_max:
        reasons.append(f"It has {slices} slices; the model takes at most {accepts.slices_max}.")
    if accepts.geometry == "regular" and not facts.get("regular"):
        cause = str(facts.get("irregularity") or "the slices are not evenly spaced").rstrip(".")
        reasons.append(f"The model needs a regular series, and this one is not: {cause}.")
    reasons += _over(
        facts, "slice_spacing_mm", accepts.spacing_mm_max, what="The distance between slices", unit="mm"
    )
    reasons += _over(
        facts, "gantry_tilt_degrees", accepts.gantry_tilt_degrees_max, what="The gantry tilt", unit="degrees"
    )
    if accepts.orientations and facts.get("orientation") not in accepts.orientations:
        wanted = " or ".join(accepts.orientations)
        found = facts.get("orientation") or "of unknown orientation"
        reasons.append(f"The slices are {found}; the model needs {wanted}.")
    return reasons


def _over(facts: Mapping[str, Any], key: str, limit: float | None, *, what: str, unit: str) -> list[str]:
    if limit is None:
        return []
    value = facts.get(key)
    if value is None:
        return [f"{what} is not known; the model takes at most {limit:g} {unit}."]
    if abs(value) > limit:
        return [f"{what} is {abs(value):.1f} {unit}; the model takes at most {limit:g} {unit}."]
    return []


def facts_of(volume: Volume) -> dict[str, Any]:
    """Give the geometry facts of a volume by the names `check_geometry` reads."""
    return {
        "slices": len(volume.voxels),
        "slice_spacing_mm": volume.slice_spacing_mm,
        "regular": volume.regular,
        "irregularity": volume.irregularity,
        "gantry_tilt_degrees": volume.gantry_tilt_degrees,
        "orientation": _orientation(volume),
    }


def _orientation(volume: Volume) -> str:
    """Name the plane whose normal lies within about 37 degrees of an axis of the patient."""
    cosines = np.abs(volume.normal)
    axis = int(cosines.argmax())
    return ("sagittal", "coronal", "axial")[axis] if cosines[axis] >= 0.8 else "oblique"


def unit_reasons(manifest: Manifest, volume: Volume) -> list[str]:
    """Say why the values are not what the model needs; empty when they are."""
    if volume.units == manifest.input.units:
        return []
    wanted = manifest.input.units or "no unit"
    return [f"The values are in {volume.units or 'no known unit'}; the model needs {wanted}."]
