"""dx-phantom-marker says what was put into a radiograph, abstains where it is faint, and keeps its word."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from models import golden
from models.analysis import Infer, NotAccepted, analyse
from models.catalogue import LIBRARY, shipped
from models.findings import Outcome, Verdict
from models.package import Package, open_package
from tests.models.made import script as load_script

NAME = "dx-phantom-marker"
SEEDS = range(9000, 9016)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The program that made the package, for its held-out radiographs."""
    return load_script("dx_phantom_marker")


@pytest.fixture(scope="module")
def package() -> Package:
    """The package."""
    return open_package(LIBRARY / NAME)


@pytest.fixture(scope="module")
def infer(package: Package, script: ModuleType) -> Infer:
    """Its network in ONNX Runtime."""
    return script.session(package)  # type: ignore[no-any-return]


def test_it_ships_and_its_golden_cases_hold(package: Package, infer: Infer) -> None:
    assert LIBRARY / NAME in shipped()
    report = golden.check(package, infer)
    assert [case.name for case in report.cases] == ["faint", "foreign-body", "none"]
    assert [case.differences for case in report.cases] == [(), (), ()]


def test_each_golden_case_is_of_its_kind(package: Package, infer: Infer, script: ModuleType) -> None:
    outcomes = {name: analyse(package, volume, infer).outcome for name, volume in script.cases().items()}
    assert outcomes == {
        "foreign-body": Outcome.FINDING,
        "none": Outcome.NO_FINDING,
        "faint": Outcome.ABSTAINED,
    }


def test_held_out_radiographs_are_judged_as_the_card_says(
    package: Package, infer: Infer, script: ModuleType
) -> None:
    card = (package.root / "MODEL_CARD.md").read_text(encoding="utf-8")
    claimed = re.search(r"(\d+) of (\d+) were judged right, (\d+) wrong", card)
    assert claimed is not None
    right, all_of_them, wrong = (int(number) for number in claimed.groups())
    assert all_of_them == len(script.HELD_OUT_SEEDS)
    assert not set(script.HELD_OUT_SEEDS) & set(script.TRAIN_SEEDS)
    assert set(SEEDS) <= set(script.HELD_OUT_SEEDS)
    said = {seed: script.verdict(package, seed, infer) for seed in SEEDS}
    judged_right = sum(script.is_right(one, seed) for seed, one in said.items())
    judged_wrong = len(said) - judged_right - sum(one is Verdict.ABSTAINED for one in said.values())
    # So few stray from the whole.
    assert judged_right / len(said) >= right / all_of_them - 0.08
    assert judged_wrong <= wrong


def test_another_gain_is_the_same_radiograph(package: Package, infer: Infer, script: ModuleType) -> None:
    volume = script.of_radiograph(script.source(9005))
    louder = replace(volume, voxels=volume.voxels * np.float32(2.0) + np.float32(300.0))
    (plain,), (changed,) = (analyse(package, one, infer).classifications for one in (volume, louder))
    assert changed.probability == pytest.approx(plain.probability, abs=1e-4)


def test_a_ct_is_refused_with_its_reason(package: Package, infer: Infer, script: ModuleType) -> None:
    volume = replace(script.of_radiograph(script.source(9000)), units="HU", modality="CT")
    with pytest.raises(NotAccepted, match="HU"):
        analyse(package, volume, infer)
