"""mr-phantom-compartments marks what was drawn, gives the ventricles' share, and keeps its card's word."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from models import golden
from models.analysis import Infer, NotAccepted, analyse
from models.catalogue import LIBRARY, shipped
from models.findings import Findings, Outcome
from models.package import Package, open_package
from tests.models.made import script as load_script

NAME = "mr-phantom-compartments"
# One of each source grid.
SEEDS = range(9000, 9004)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The program that made the package, for its held-out heads."""
    return load_script("mr_phantom_compartments")


@pytest.fixture(scope="module")
def package() -> Package:
    """The package."""
    return open_package(LIBRARY / NAME)


@pytest.fixture(scope="module")
def infer(package: Package, script: ModuleType) -> Infer:
    """Its network in ONNX Runtime."""
    return script.session(package)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def found(package: Package, infer: Infer, script: ModuleType) -> dict[str, Findings]:
    """What it says of its golden cases."""
    return {name: analyse(package, volume, infer) for name, volume in script.cases().items()}


def test_it_ships_and_its_golden_cases_hold(package: Package, infer: Infer) -> None:
    assert LIBRARY / NAME in shipped()
    report = golden.check(package, infer)
    assert [case.name for case in report.cases] == ["hardly-any", "narrow", "sagittal", "wide"]
    assert [case.differences for case in report.cases] == [(), (), (), ()]


def test_masks_volumes_and_the_share_come_from_one_run(
    found: dict[str, Findings], script: ModuleType
) -> None:
    wide = found["wide"]
    assert wide.outcome is Outcome.MEASURED
    assert [segment.label for segment in wide.segments] == ["grey", "white", "ventricles"]
    names = sorted(one.name.meaning for one in wide.measurements)
    assert names == ["Ratio", "Volume", "Volume", "Volume"]
    (share,) = (one for one in wide.measurements if one.name.meaning == "Ratio")
    assert share.unit.value == "%"
    assert share.value == pytest.approx(script.made("wide").ventricle_percent, abs=1.0)


def test_a_share_that_is_not_plausible_is_withheld_and_the_model_abstains(
    found: dict[str, Findings],
) -> None:
    assert found["hardly-any"].outcome is Outcome.ABSTAINED
    assert [one.name.meaning for one in found["hardly-any"].withheld] == ["Ratio"]
    assert "Ratio" not in [one.name.meaning for one in found["hardly-any"].measurements]


def test_sagittal_slices_are_the_same_head(found: dict[str, Findings], script: ModuleType) -> None:
    axial, sagittal = found["wide"], found["sagittal"]
    for one, other in zip(axial.segments, sagittal.segments, strict=True):
        turned = other.mask[::-1, ::-1].transpose(1, 2, 0)
        assert script.dice(one.mask, turned) > 0.97


def test_held_out_heads_are_as_the_card_says(package: Package, infer: Infer, script: ModuleType) -> None:
    card = (package.root / "MODEL_CARD.md").read_text(encoding="utf-8")
    claimed = dict(re.findall(r"\| (grey|white|ventricles) \| (0\.\d+)", card))
    off = re.search(r"off by (\d+\.\d+) percentage points on average", card)
    assert off is not None
    assert not set(script.HELD_OUT_SEEDS) & set(script.TRAIN_SEEDS)
    assert set(SEEDS) <= set(script.HELD_OUT_SEEDS)
    scores = [script.measure(package, seed, infer) for seed in SEEDS]
    assert set(claimed) == set(script.LABELS)
    for name, dice in claimed.items():
        # So few stray from the whole.
        assert np.mean([score.dice[name] for score in scores]) >= float(dice) - 0.03
    assert np.mean([abs(score.error) for score in scores]) <= 2 * float(off[1])


def test_another_scale_is_the_same_head(package: Package, infer: Infer, script: ModuleType) -> None:
    volume = script.cases()["narrow"]
    plain, louder = (
        analyse(package, one, infer) for one in (volume, replace(volume, voxels=volume.voxels * 4))
    )
    for one, other in zip(plain.segments, louder.segments, strict=True):
        assert np.array_equal(one.mask, other.mask)


def test_a_gap_is_never_bridged(package: Package, infer: Infer, script: ModuleType) -> None:
    volume = replace(script.cases()["narrow"], regular=False, irregularity="the gap after slice 6 is 9.0 mm")
    with pytest.raises(NotAccepted, match="the gap after slice 6"):
        analyse(package, volume, infer)
