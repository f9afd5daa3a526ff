"""dx-phantom-nodule draws its boxes around what was planted, in source pixels, and keeps its card's word."""

from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from models import golden
from models.analysis import Infer, NotAccepted, analyse
from models.catalogue import LIBRARY, shipped
from models.findings import Outcome
from models.package import Package, open_package
from tests.models.made import script as load_script

NAME = "dx-phantom-nodule"
# One of each source grid and each number of nodules.
SEEDS = range(9000, 9016)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The program that made the package, for its held-out radiographs."""
    return load_script("dx_phantom_nodule")


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
    assert [case.name for case in report.cases] == ["faint", "none", "two-nodules"]
    assert [case.differences for case in report.cases] == [(), (), ()]


def test_each_golden_case_is_of_its_kind(package: Package, infer: Infer, script: ModuleType) -> None:
    found = {name: analyse(package, volume, infer) for name, volume in script.cases().items()}
    assert {name: one.outcome for name, one in found.items()} == {
        "two-nodules": Outcome.FINDING,
        "none": Outcome.NO_FINDING,
        "faint": Outcome.ABSTAINED,
    }
    assert {name: len(one.detections) for name, one in found.items()} == {
        "two-nodules": 2,
        "none": 0,
        "faint": 1,
    }


def test_held_out_radiographs_are_as_the_card_says(
    package: Package, infer: Infer, script: ModuleType
) -> None:
    card = (package.root / "MODEL_CARD.md").read_text(encoding="utf-8")
    claimed = re.search(r"(\d+) of (\d+) nodules were found.*?(\d+) boxes.*?mean IoU is (0\.\d+)", card, re.S)
    assert claimed is not None
    found, planted, made_up, overlap = (float(number) for number in claimed.groups())
    assert planted == sum(script.planted(seed) for seed in script.HELD_OUT_SEEDS)
    assert not set(script.HELD_OUT_SEEDS) & set(script.TRAIN_SEEDS)
    assert set(SEEDS) <= set(script.HELD_OUT_SEEDS)
    scores = [script.measure(package, seed, infer) for seed in SEEDS]
    here = sum(script.planted(seed) for seed in SEEDS)
    # So few stray from the whole.
    assert sum(score.right for score in scores) / here >= found / planted - 0.1
    assert sum(score.made_up for score in scores) <= made_up
    assert np.mean([one for score in scores for one in score.overlaps]) >= overlap - 0.04


def test_boxes_of_one_place_are_one(package: Package, infer: Infer, script: ModuleType) -> None:
    given = infer({"image": script.fed(package, script.of_radiograph(script.source(9012)))[None, None]})
    boxes = analyse(package, script.of_radiograph(script.source(9012)), infer).detections
    likely = np.asarray(given["scores"], dtype=np.float32) >= 0.5
    assert int(likely.sum()) > len(boxes) >= 1


def test_a_ct_is_refused_with_its_reason(package: Package, infer: Infer, script: ModuleType) -> None:
    volume = replace(script.of_radiograph(script.source(9000)), units="HU", modality="CT")
    with pytest.raises(NotAccepted, match="HU"):
        analyse(package, volume, infer)
