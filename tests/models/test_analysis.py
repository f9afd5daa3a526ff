"""Analysis refuses what the manifest does not accept and what the network did not promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.analysis import AnswerError, NotAccepted, analyse, check_geometry, facts_of
from models.package import Package
from tests.models import given

Arrays = Mapping[str, npt.NDArray[Any]]
ACCEPTED = {
    "slices": 40,
    "slice_spacing_mm": 2.5,
    "regular": True,
    "irregularity": None,
    "gantry_tilt_degrees": 0.0,
    "orientation": "axial",
    "frames": 40,
}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"slices": 2}, "It has 2 slices; the model needs at least 3."),
        ({"slices": 2001}, "It has 2001 slices; the model takes at most 2000."),
        ({"slices": None}, "It has 0 slices"),
        (
            {"regular": False, "irregularity": "a gap of 9.0 mm."},
            "regular series, and this one is not: a gap of 9.0 mm.",
        ),
        ({"regular": False}, "the slices are not evenly spaced"),
        ({"slice_spacing_mm": 7.0}, "The distance between slices is 7.0 mm; the model takes at most 6 mm."),
        ({"slice_spacing_mm": None}, "The distance between slices is not known"),
        (
            {"gantry_tilt_degrees": -18.5},
            "The gantry tilt is 18.5 degrees; the model takes at most 1 degrees.",
        ),
        ({"orientation": "sagittal"}, "The slices are sagittal; the model needs axial."),
        ({"orientation": None}, "The slices are of unknown orientation"),
    ],
)
def test_each_limit_gives_its_reason(lesion: Package, changed: dict[str, Any], words: str) -> None:
    (reason,) = check_geometry(lesion.manifest, ACCEPTED | changed)
    assert words in reason


def test_accepted_geometry_gives_no_reason_and_many_faults_many(lesion: Package, bands: Package) -> None:
    assert check_geometry(lesion.manifest, ACCEPTED) == []
    assert len(check_geometry(lesion.manifest, {})) == 5
    assert check_geometry(bands.manifest, {"slices": 1, "regular": False}) == []


def test_facts_of_a_volume_are_those_the_limits_read() -> None:
    facts = facts_of(given.volume(np.zeros((4, 3, 3)), regular=False, irregularity="a gap"))
    assert facts == {
        "slices": 4,
        "slice_spacing_mm": 2.0,
        "regular": False,
        "irregularity": "a gap",
        "gantry_tilt_degrees": 0.0,
        "orientation": "axial",
    }
    tilted = given.volume(np.zeros((1, 3, 3)), column_cosines=np.array([0.0, 0.7071, -0.7071]))
    assert facts_of(tilted)["orientation"] == "oblique"


def test_an_unfit_series_never_reaches_the_network(lesion: Package) -> None:
    def infer(arrays: Arrays) -> Arrays:
        raise AssertionError("the network ran")

    unfit = given.volume(np.zeros((10, 8, 8)), regular=False, irregularity="a gap", gantry_tilt_degrees=20.0)
    with pytest.raises(NotAccepted) as caught:
        analyse(lesion, unfit, infer)
    assert len(caught.value.reasons) == 2
    with pytest.raises(NotAccepted, match="values are in no known unit; the model needs HU"):
        analyse(lesion, given.volume(np.zeros((10, 8, 8)), units=""), infer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"other": np.zeros(1)}, "no output named 'labels'"),
        ({"labels": np.zeros((3, 1, 4, 5), dtype=np.uint8)}, "shape"),
        ({"labels": np.full((3, 1, 4, 4), 6, dtype=np.uint8)}, "label its manifest does not know"),
    ],
)
def test_a_label_map_that_was_not_promised_is_an_error(bands: Package, answer: Arrays, words: str) -> None:
    with pytest.raises(AnswerError, match=words):
        analyse(bands, given.volume(np.zeros((3, 4, 4))), lambda arrays: answer)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_field_that_is_not_finite_is_an_error(lesion: Package, bad: float) -> None:
    def infer(arrays: Arrays) -> Arrays:
        field = np.zeros_like(arrays["image"])
        field[0, 0, 3, 3, 3] = bad
        return {"probability": field}

    with pytest.raises(AnswerError, match="not finite"):
        analyse(lesion, given.volume(np.zeros((10, 8, 8))), infer)


def test_the_network_is_fed_what_the_manifest_says(lesion: Package) -> None:
    seen: list[npt.NDArray[Any]] = []

    def infer(arrays: Arrays) -> Arrays:
        seen.append(arrays["image"])
        return {"probability": np.zeros_like(arrays["image"])}

    hu = np.full((40, 60, 60), 60.0)
    hu[:, :30] = -1000.0
    valid = np.ones(hu.shape, dtype=np.bool_)
    valid[:, :30] = False
    hu[:, :30] = 3000.0
    analyse(lesion, given.volume(hu, spacing_mm=(2.0, 1.5, 1.5), valid=valid), infer)
    assert all(batch.dtype == np.float32 and batch.shape[2:] == (64, 64, 64) for batch in seen)
    assert seen[0].min() == 0.0
    assert seen[0].max() == pytest.approx(0.5)
