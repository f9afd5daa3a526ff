"""A probability field becomes lesions, a doubt, or an explicit no."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models import codes
from models.findings import Lesion, Outcome
from models.labels import Label
from models.operations.components import Components, long_axis_mm
from models.operations.grid import lay
from models.operations.part import Part, Scene
from models.tensors import Volume
from tests.models import given

LABEL = Label.model_validate(
    {
        "name": "lesion",
        "value": 0,
        "title": "dense lesion",
        "category": {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"},
        "type": {"value": "52988006", "scheme": "SCT", "meaning": "Lesion"},
        "colour_rgb": [255, 0, 0],
    }
)
SHAPE = (20, 40, 40)


def interpret(field: np.ndarray, volume: Volume | None = None, **parameters: Any) -> Part:
    """Run the step over `field` on a 2 mm grid."""
    volume = volume or given.volume(np.zeros(SHAPE), spacing_mm=(2.0, 2.0, 2.0))
    step = Components.model_validate({"step": "components", "label": "lesion"} | parameters)
    laid = lay(volume, orientation="LPS", spacing_mm=(2.0, 2.0, 2.0))
    assert laid.shape == field.shape
    return step.interpret(field.astype(np.float32), laid, Scene(volume=volume, labels=(LABEL,)))


def boxes(*values: tuple[tuple[slice, slice, slice], float]) -> np.ndarray:
    field = np.full(SHAPE, 0.01)
    for box, value in values:
        field[box] = value
    return field


LARGE = (slice(4, 10), slice(5, 15), slice(5, 15))
SMALL = (slice(12, 15), slice(30, 34), slice(30, 34))


def number(lesion: Lesion, name: object) -> float:
    return next(one.value for one in lesion.measurements if one.name == name)


def test_regions_are_measured_and_listed_largest_first() -> None:
    part = interpret(boxes((SMALL, 0.8), (LARGE, 0.9)))
    assert part.outcome is Outcome.FINDING
    assert [lesion.label for lesion in part.lesions] == ["1", "2"]
    assert [lesion.origin for lesion in part.lesions] == [(4, 5, 5), (12, 30, 30)]
    assert [round(lesion.probability, 3) for lesion in part.lesions] == [0.9, 0.8]
    first = part.lesions[0]
    assert number(first, codes.VOLUME) == pytest.approx(6 * 10 * 10 * 8 / 1000)
    assert number(first, codes.LONG_AXIS) == pytest.approx(np.hypot(18, 18) + 2)
    assert number(first, codes.PROBABILITY) == pytest.approx(0.9)
    assert first.slice_index in range(4, 10)
    assert part.segments[0].mask.sum() == first.component.sum() + part.lesions[1].component.sum()
    assert part.statement == "2 dense lesions found (largest 4.8 mL, 27 mm, probability 0.90)."


def test_nothing_above_the_threshold_is_an_explicit_no() -> None:
    part = interpret(boxes((LARGE, 0.49)))
    assert part.outcome is Outcome.NO_FINDING
    assert part.statement == "No dense lesion found."
    assert part.segments == ()


def test_regions_too_small_are_not_reported() -> None:
    part = interpret(boxes((SMALL, 0.9)), volume_ml_min=0.5)
    assert part.outcome is Outcome.NO_FINDING


@pytest.mark.parametrize(
    ("peak", "outcome"),
    [
        (0.29, Outcome.NO_FINDING),
        (0.31, Outcome.ABSTAINED),
        (0.69, Outcome.ABSTAINED),
        (0.71, Outcome.FINDING),
    ],
)
def test_the_abstain_band_is_half_open_and_shows_its_doubt(peak: float, outcome: Outcome) -> None:
    part = interpret(boxes((LARGE, peak)), abstain=[0.3, 0.7])
    assert part.outcome is outcome
    assert bool(part.lesions) is (outcome is not Outcome.NO_FINDING)
    if outcome is Outcome.ABSTAINED:
        assert "neither confirms nor excludes" in part.statement


def test_one_sure_region_makes_a_finding_of_a_doubtful_scan() -> None:
    part = interpret(boxes((LARGE, 0.6), (SMALL, 0.9)), abstain=[0.3, 0.7])
    assert part.outcome is Outcome.FINDING
    assert len(part.lesions) == 2


def test_touching_corners_are_one_region_and_neighbours_stay_apart() -> None:
    corner = (slice(10, 12), slice(15, 18), slice(15, 18))
    near = (slice(4, 10), slice(5, 15), slice(16, 26))
    assert len(interpret(boxes((LARGE, 0.9), (corner, 0.9))).lesions) == 1
    part = interpret(boxes((LARGE, 0.9), (near, 0.9)))
    assert len(part.lesions) == 2
    assert sum(int(lesion.component.sum()) for lesion in part.lesions) == part.segments[0].mask.sum()


def test_a_list_that_is_cut_says_so_and_draws_all() -> None:
    part = interpret(boxes((LARGE, 0.9), (SMALL, 0.9)), lesions_max=1)
    assert len(part.lesions) == 1
    assert part.statement.startswith("2 dense lesions found")
    assert "The 1 largest are listed." in part.statement
    assert part.segments[0].mask[13, 31, 31]


def test_a_region_between_thick_slices_is_not_lost() -> None:
    volume = given.volume(np.zeros((4, 40, 40)), spacing_mm=(10.0, 2.0, 2.0))
    field = boxes(((slice(9, 11), slice(30, 34), slice(30, 34)), 0.9))
    part = interpret(field, volume)
    assert part.outcome is Outcome.FINDING
    assert part.segments[0].mask.sum() >= 1


def test_a_flipped_source_is_marked_where_the_lesion_is() -> None:
    positions = np.zeros((20, 3))
    positions[:, 2] = -np.arange(20) * 2.0
    volume = given.volume(
        np.zeros(SHAPE),
        spacing_mm=(2.0, 2.0, 2.0),
        row_cosines=np.array([-1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        positions=positions,
    )
    (lesion,) = interpret(boxes((LARGE, 0.9)), volume).lesions
    assert lesion.origin == (20 - 10, 5, 40 - 15)
    assert lesion.component.all()


def test_long_axis_of_a_disc_is_its_diameter() -> None:
    y, x = np.mgrid[:60, :60]
    disc = ((y - 30) * 0.8) ** 2 + ((x - 29) * 0.8) ** 2 <= 16.0**2
    assert long_axis_mm(disc, (0.8, 0.8)) == pytest.approx(32.0, abs=0.9)
    one = np.zeros((5, 5), dtype=np.bool_)
    one[2, 3] = True
    assert long_axis_mm(one, (0.8, 0.6)) == pytest.approx(0.7)
