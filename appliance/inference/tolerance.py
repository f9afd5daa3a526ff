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
# Numbers that are neither volumes nor probabilities, and boxes: what a variant may differ by from the answers
# recorded with the full network.
_OF_VARIANT: Mapping[str, Mapping[str, float]] = {
    "fp16": {"relative": 0.01, "box_iou_min": 0.98},
    "int8": {"relative": 0.02, "box_iou_min": 0.95},
}


def precision_of(package: Package) -> str:
    """Say which precision a package's network is in: "fp32", "fp16" or "int8".

    It lies in the network, never in a switch of an engine.
    """
    variant = package.manifest.variant
    return "fp32" if variant is None else variant.precision.partition("-")[0]


def for_variant(held: Tolerances, precision: str) -> dict[str, Any]:
    """Loosen a manifest's tolerances to what a variant's precision costs; what is looser already stays.

    `precision` is a variant's: "fp16", "int8-qdq" or "int8-qdq-symmetric".
    """
    kind = precision.partition("-")[0]
    made = held.model_dump(exclude_none=True)
    for key, allowed in {**_BY_PRECISION[kind], **_OF_VARIANT[kind]}.items():
        looser = min if key.endswith("_min") else max
        made[key] = looser(made.get(key, allowed), allowed)
    return made


def tolerances_of(package: Package) -> Tolerances:
    """Give what the manifest says, and the precision's own where it says nothing."""
    said = package.manifest.tolerances.model_dump(include=package.manifest.tolerances.model_fields_set)
    return Tolerances(**{**_BY_PRECISION[precision_of(package)], **said})
