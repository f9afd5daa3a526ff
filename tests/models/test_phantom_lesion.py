"""ct-phantom-lesion finds what was planted, says no where nothing was, and keeps its card's word."""

from __future__ import annotations

import re
from types import ModuleType

import numpy as np
import pytest

from models import codes, phantom
from models.analysis import NotAccepted, analyse
from models.findings import Outcome
from models.operations.patches import Infer
from models.package import Package
from tests.models import given
from tests.models.made import script as load_script

# Held-out seeds, one of each source grid, all with lesions; the mean of so few strays from the card's.
SEEDS = (9000, 9005, 9014, 9019)
MARGIN = 0.04


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that made the package, for its held-out phantoms."""
    return load_script("ct_phantom_lesion")


def test_the_demo_phantoms_lesions_are_found(lesion: Package, lesion_engine: Infer) -> None:
    hu, truth = phantom.volume(2024)
    findings = analyse(lesion, given.volume(hu, spacing_mm=(2.5, 0.9, 0.9)), lesion_engine)
    assert findings.outcome is Outcome.FINDING
    assert len(findings.lesions) == 2
    (segment,) = findings.segments
    both = segment.mask.sum() + truth.sum()
    assert 2 * (segment.mask & (truth == 1)).sum() / both > 0.85
    voxel_ml = 2.5 * 0.9 * 0.9 / 1000
    volume_ml = sum(lesion.measurements[0].value for lesion in findings.lesions)
    assert volume_ml == pytest.approx(truth.sum() * voxel_ml, rel=0.25)
    for found in findings.lesions:
        assert [one.name for one in found.measurements] == [codes.VOLUME, codes.LONG_AXIS, codes.PROBABILITY]
        assert truth[found.slice_index][found.plane(found.slice_index, rows=256, columns=256)].mean() > 0.7


def test_an_empty_phantom_is_an_explicit_no(lesion: Package, lesion_engine: Infer) -> None:
    hu, _ = phantom.volume(2025, shape=(60, 128, 128), spacing_mm=(2.5, 1.8, 1.8), lesions=0)
    findings = analyse(lesion, given.volume(hu, spacing_mm=(2.5, 1.8, 1.8)), lesion_engine)
    assert findings.outcome is Outcome.NO_FINDING
    assert findings.statement == "No dense lesion found."
    assert findings.lesions == ()
    assert findings.segments == ()


def test_dice_on_held_out_phantoms_is_what_the_card_says(
    lesion: Package, lesion_engine: Infer, script: ModuleType
) -> None:
    card = (lesion.root / "MODEL_CARD.md").read_text(encoding="utf-8")
    claimed = re.search(r"mean Dice (0\.\d+)", card)
    assert claimed is not None
    assert all(seed in script.HELD_OUT_SEEDS and script.planted(seed) for seed in SEEDS)
    assert not set(script.HELD_OUT_SEEDS) & set(script.TRAIN_SEEDS)
    dices = []
    for seed in SEEDS:
        volume, truth = script.source(seed)
        dices.append(script.dice_of(analyse(lesion, volume, lesion_engine), truth))
    assert np.mean(dices) >= float(claimed[1]) - MARGIN


def test_a_mirrored_scan_gives_the_same_lesions_in_its_own_pixels(
    lesion: Package, lesion_engine: Infer
) -> None:
    spacing = (3.0, 2.0, 2.0)
    hu, _ = phantom.volume(2024, shape=(50, 100, 110), spacing_mm=spacing)
    straight = analyse(lesion, given.volume(hu, spacing_mm=spacing), lesion_engine)
    x_axis = np.array([-1.0, 0.0, 0.0])
    y_axis = np.array([0.0, -1.0, 0.0])
    turned = given.volume(hu[:, ::-1, ::-1], spacing_mm=spacing, row_cosines=x_axis, column_cosines=y_axis)
    mirrored = analyse(lesion, turned, lesion_engine)
    assert straight.outcome is Outcome.FINDING
    assert np.array_equal(mirrored.segments[0].mask[:, ::-1, ::-1], straight.segments[0].mask)


def test_a_series_with_a_gap_is_refused_with_its_reason(lesion: Package, lesion_engine: Infer) -> None:
    volume = given.volume(
        np.zeros((20, 16, 16)), regular=False, irregularity="the gap after slice 6 is 9.0 mm"
    )
    with pytest.raises(NotAccepted, match="the gap after slice 6"):
        analyse(lesion, volume, lesion_engine)
