"""How far an engine may be from the processor's answer, by the precision of the network it runs.

What a package's manifest says counts; these are for what it leaves open. They follow what each precision can
hold: half as many digits move a border by a voxel here and there, eight bits move it everywhere a little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.manifest_sections import Tolerances
from models.package import Package

_BY_PRECISION: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"dice_min": 0.999, "volume_change_max": 0.01, "probability_difference_max": 1e-3},
    "fp16": {"dice_min": 0.995, "volume_change_max": 0.01, "probability_difference_max": 5e-3},
    "int8": {"dice_min": 0.99, "volume_change_max": 0.01, "probability_difference_max": 2e-2},
}


def precision_of(package: Package) -> str:
    """Say which precision a package's network is in: "fp32", "fp16" or "int8".

    It lies in the network, never in a switch of an engine.
    """
    variant = package.manifest.variant
    return "fp32" if variant is None else variant.precision.partition("-")[0]


def tolerances_of(package: Package) -> Tolerances:
    """Give what the manifest says, and the precision's own where it says nothing."""
    said = package.manifest.tolerances.model_dump(include=package.manifest.tolerances.model_fields_set)
    return Tolerances(**{**_BY_PRECISION[precision_of(package)], **said})
