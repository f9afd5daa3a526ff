"""What a manifest says counts; precision decides only what it leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.inference.tolerance import tolerances_of
from models.manifest_sections import Tolerances, Variant
from models.package import Package


def of(package: Package, precision: str | None, **said: float) -> Tolerances:
    variant = None
    if precision is not None:
        variant = Variant.model_validate(
            {"of": "sha256:" + "0" * 64, "precision": precision, "tool": "a tool 1.0"}
        )
    manifest = package.manifest.model_copy(update={"variant": variant, "tolerances": Tolerances(**said)})
    return tolerances_of(replace(package, manifest=manifest))


@pytest.mark.parametrize(
    ("precision", "dice", "probability"),
    [
        (None, 0.999, 1e-3),
        ("fp16", 0.995, 5e-3),
        ("int8-qdq", 0.99, 2e-2),
        ("int8-qdq-symmetric", 0.99, 2e-2),
    ],
)
def test_each_precision_has_its_own(package: Package, precision: str | None, dice: float, probability: float):
    found = of(package, precision)
    assert (found.dice_min, found.probability_difference_max) == (dice, probability)
    assert found.volume_change_max == 0.01


def test_what_the_manifest_says_counts(package: Package):
    found = of(package, "int8-qdq", dice_min=0.97, absolute=3.0)
    assert (found.dice_min, found.absolute) == (0.97, 3.0)
    assert found.probability_difference_max == 2e-2
