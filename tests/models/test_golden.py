"""Golden cases reproduce on the engine that made them, and notice one that differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models import golden
from models.analysis import analyse
from models.findings import Findings, Outcome
from models.operations.patches import Infer
from models.package import Package
from tests.models import given, kinds

Arrays = Mapping[str, npt.NDArray[Any]]


def test_shipped_cases_reproduce(
    bands: Package, bands_engine: Infer, lesion: Package, lesion_engine: Infer
) -> None:
    for package, infer, cases in ((bands, bands_engine, 3), (lesion, lesion_engine, 3)):
        report = golden.check(package, infer)
        assert report.ok, report
        assert len(report.cases) == cases
        assert all(case.measures["decision_flips"] == 0 for case in report.cases)
        assert all(case.measures.get("dice_min", 1.0) >= 0.995 for case in report.cases)


def test_an_engine_that_is_one_label_off_is_noticed(bands: Package, bands_engine: Infer) -> None:
    def infer(arrays: Arrays) -> Arrays:
        labels = np.array(bands_engine(arrays)["labels"])
        labels[0, 0, -1, -1] = 5
        return {"labels": labels}

    report = golden.check(bands, infer)
    assert not report.ok
    (head,) = (case for case in report.cases if case.name == "head")
    assert any(difference.startswith("bone: Volume is") for difference in head.differences)
    assert any(difference.startswith("mask of bone: Dice") for difference in head.differences)


def test_an_engine_that_answers_nonsense_fails_every_case(lesion: Package) -> None:
    report = golden.check(lesion, lambda arrays: {"probability": np.full_like(arrays["image"], np.nan)})
    assert [case.ok for case in report.cases] == [False] * 3
    assert all("not finite" in case.differences[0] for case in report.cases)


def test_a_changed_outcome_is_noticed(lesion: Package) -> None:
    report = golden.check(lesion, lambda arrays: {"probability": np.zeros_like(arrays["image"])})
    assert {case.name: case.ok for case in report.cases} == {
        "no-lesion": True,
        "one-lesion": False,
        "two-lesions": False,
    }


def test_a_recorded_case_is_read_back_whole(bands: Package, bands_engine: Infer, tmp_path: Path) -> None:
    root = given.copy_package(given.BANDS, tmp_path / "copy")
    for path in (root / "golden").iterdir():
        path.unlink()
    hu = np.random.default_rng(3).integers(-1000, 1000, size=(5, 9, 11)).astype(float)
    volume = given.volume(
        hu,
        valid=hu > -900,
        regular=False,
        irregularity="one gap",
        gantry_tilt_degrees=3.0,
        spacing_mm=(3.3, 0.7, 0.9),
    )
    golden.record(root / "golden" / "mine.npz", volume, analyse(bands, volume, bands_engine))
    report = golden.check(replace(bands, root=root), bands_engine)
    assert report == golden.GoldenReport(
        ok=True, cases=(golden.GoldenCase(name="mine", ok=True, differences=()),)
    )


def test_no_cases_and_unreadable_cases_are_not_ok(
    bands: Package, bands_engine: Infer, tmp_path: Path
) -> None:
    assert not golden.check(replace(bands, root=tmp_path), bands_engine).ok
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "bad.npz").write_bytes(b"PK not a zip")
    np.savez(tmp_path / "golden" / "poor.npz", voxels=np.zeros((1, 1, 1), dtype=np.int16))
    np.savez(
        tmp_path / "golden" / "pickled.npz",
        allow_pickle=True,
        text=np.array([{"a": 1}], dtype=object),
    )
    report = golden.check(replace(bands, root=tmp_path), bands_engine)
    assert [case.name for case in report.cases] == ["bad", "pickled", "poor"]
    assert all("is not a golden case" in case.differences[0] for case in report.cases)


def test_values_are_kept_exactly_and_must_be_finite(
    bands: Package, bands_engine: Infer, tmp_path: Path
) -> None:
    root = given.copy_package(given.BANDS, tmp_path / "copy")
    for path in (root / "golden").iterdir():
        path.unlink()
    values = np.array([[[0.5, 70000.0, -3.25]]])
    volume = given.volume(values)
    golden.record(root / "golden" / "odd.npz", volume, analyse(bands, volume, bands_engine))
    ((name, kept),) = golden.cases(replace(bands, root=root))
    assert name == "odd"
    assert np.array_equal(kept.voxels, volume.voxels)
    with pytest.raises(ValueError, match="finite"):
        golden.record(
            tmp_path / "a.npz",
            given.volume(np.full((1, 1, 1), np.nan)),
            Findings(outcome=Outcome.MEASURED, statement=""),
        )


def test_inputs_of_shipped_cases_are_given_by_name(lesion: Package) -> None:
    names = {name: volume.shape for name, volume in golden.cases(lesion)}
    assert set(names) == {"no-lesion", "one-lesion", "two-lesions"}


def test_verdicts_and_boxes_are_recorded_and_a_flip_or_a_lost_box_is_noticed(tmp_path: Path) -> None:
    outputs = (
        '[[outputs]]\ntensor = "y"\nkind = "scores"\ndtype = "float32"\n'
        + kinds.labels("effusion", within="outputs")
        + '[[outputs]]\ntensor = "b"\nkind = "boxes"\ndtype = "float32"\ncoordinates = "yxyx"\n'
        + 'box_scores = "s"\n'
        + kinds.labels("nodule", within="outputs")
    )
    steps = kinds.step("classify", "abstain = [0.4, 0.6]") + kinds.step("detect")
    package = replace(kinds.package("detection", kinds.ANY, kinds.IMAGE, outputs, steps), root=tmp_path)
    answer = {
        "y": np.array([[0.61]], np.float32),
        "b": np.array([[[1, 1, 5, 5], [2, 6, 7, 9]]], np.float32),
        "s": np.array([[0.9, 0.7]], np.float32),
    }
    volume = given.volume(np.zeros((1, 16, 24)))
    golden.record(tmp_path / "golden" / "one.npz", volume, analyse(package, volume, lambda fed: answer))
    (same,) = golden.check(package, lambda fed: answer).cases
    assert same.ok
    assert same.measures["box_iou_min"] == 1.0
    flipped = answer | {"y": np.array([[0.59999]], np.float32)}
    (case,) = golden.check(package, lambda fed: flipped).cases
    assert case.measures["decision_flips"] == 1
    assert "verdict on effusion is abstained; recorded present" in case.differences
    lost = answer | {"s": np.array([[0.9, 0.4]], np.float32)}
    (case,) = golden.check(package, lambda fed: lost).cases
    assert case.measures["boxes_unmatched"] == 1
    nothing = answer | {"y": np.array([[np.nan]], np.float32)}
    (case,) = golden.check(package, lambda fed: nothing).cases
    assert "not finite" in case.differences[0]
