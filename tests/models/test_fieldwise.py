"""Networks that see a grid: classes, boxes and scores come back to the source, whichever way it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.analysis import AnswerError, analyse
from models.findings import Findings, Outcome
from models.manifest import ManifestError
from models.tensors import Volume
from tests.models import given, kinds

CLASSES = kinds.output("classes", kinds.labels("a", "b", first=1))
BOXES = kinds.output("boxes", 'coordinates = "zyxzyx"\nbox_scores = "s"\n' + kinds.labels("nodule"))
SHAPE = (12, 20, 16)


def halves() -> np.ndarray:
    """Two blocks, 100 and 200, in nothing."""
    voxels = np.zeros(SHAPE)
    voxels[2:6, 4:12, 2:8] = 100.0
    voxels[5:10, 10:18, 8:14] = 200.0
    return voxels


def by_value(fed: Any) -> dict[str, Any]:
    """Class 1 where the value is near 100, class 2 near 200: logits."""
    x = fed["x"][:, 0]
    return {"y": np.stack([-np.abs(x), -np.abs(x - 100), -np.abs(x - 200)], axis=1) / 10}


def mask(findings: Findings, label: str) -> Any:
    return next(one.mask for one in findings.segments if one.label == label)


def test_classes_by_patches_are_the_classes_of_the_voxels() -> None:
    package = kinds.package(
        "segmentation",
        kinds.REGULAR,
        kinds.PATCH + "overlap = 0.25\n",
        CLASSES,
        kinds.step("class-map"),
        kinds.step("label-statistics"),
    )
    series = given.volume(halves())
    findings = analyse(package, series, by_value)
    assert np.array_equal(mask(findings, "a"), series.voxels == 100)
    assert np.array_equal(mask(findings, "b"), series.voxels == 200)
    values = {(one.segment, one.name.meaning, one.derivation): one.value for one in findings.measurements}
    assert values["a", "Volume", None] == pytest.approx(4 * 8 * 6 * 2 / 1000)
    means = [
        one.value for one in findings.measurements if one.derivation and one.derivation.meaning == "Mean"
    ]
    assert means == [100.0, 200.0]
    assert findings.outcome is Outcome.MEASURED


@pytest.mark.parametrize("layout", ["patch", "volume"])
def test_a_coarser_grid_and_a_turned_series_come_back_in_place(layout: str) -> None:
    start = kinds.PATCH if layout == "patch" else kinds.VOLUME.replace('"source"', '"LPS"')
    package = kinds.package(
        "segmentation",
        kinds.REGULAR,
        start + "spacing_mm = [2.0, 2.0, 2.0]\n",
        '[[prepare]]\nstep = "resample"\n',
        CLASSES,
        kinds.step("class-map"),
    )
    big = halves().repeat(2, axis=0).repeat(3, axis=1).repeat(3, axis=2)
    # A sagittal series: slices go from left to right, rows down, columns to the back.
    sagittal = Volume(
        voxels=np.ascontiguousarray(big.transpose(2, 0, 1)[:, ::-1]).astype(np.float32),
        valid=np.ones((big.shape[2], big.shape[0], big.shape[1]), dtype=np.bool_),
        positions=np.array([[z * 1.0, 0.0, 0.0] for z in range(big.shape[2])]),
        row_cosines=np.array([0.0, 1.0, 0.0]),
        column_cosines=np.array([0.0, 0.0, -1.0]),
        pixel_spacing_mm=(1.0, 1.0),
        slice_spacing_mm=1.0,
        regular=True,
    )
    findings = analyse(package, sagittal, by_value)
    # Edges of the one block average to the value of the other, so that overlap is not whole.
    for label, value in (("a", 100), ("b", 200)):
        found, true = mask(findings, label), sagittal.voxels == value
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.85


def test_labels_that_overlap_each_have_their_mask() -> None:
    package = kinds.package(
        "segmentation",
        kinds.REGULAR,
        kinds.VOLUME,
        kinds.output("probability", kinds.labels("whole", "core")),
        kinds.step("class-map", 'findings = ["core"]\nvolume_ml_min = 1.0\nabstain_ml = [0.1, 1.0]'),
    )

    def infer(fed: Any) -> dict[str, Any]:
        x = fed["x"][:, 0]
        return {"y": np.stack([x > 50, x > 150], axis=1).astype(np.float32)}

    findings = analyse(package, given.volume(halves()), infer)
    assert mask(findings, "core").sum() < mask(findings, "whole").sum()
    assert not (mask(findings, "core") & ~mask(findings, "whole")).any()
    assert findings.outcome is Outcome.ABSTAINED
    assert findings.statement.startswith("Uncertain: core (0.5 mL)")


def test_a_whole_volume_of_one_size_gets_scores_and_solid_boxes() -> None:
    outputs = (
        '[[outputs]]\ntensor = "y"\nkind = "scores"\ndtype = "float32"\n'
        + kinds.labels("ill", within="outputs")
        + '[[outputs]]\ntensor = "b"\nkind = "boxes"\ndtype = "float32"\ncoordinates = "zyxzyx"\n'
        + 'box_scores = "s"\n'
        + kinds.labels("nodule", within="outputs")
    )
    package = kinds.package(
        "detection",
        kinds.REGULAR,
        kinds.VOLUME + "size = [6, 10, 8]\n",
        '[[prepare]]\nstep = "resample"\n',
        outputs,
        kinds.step("classify"),
        kinds.step("detect"),
    )

    def infer(fed: Any) -> dict[str, Any]:
        assert fed["x"].shape == (1, 1, 6, 10, 8)
        return {
            "y": np.array([[0.2]], np.float32),
            "b": np.array([[[1, 2, 3, 4, 5, 6]]], np.float32),
            "s": np.array([[0.8]], np.float32),
        }

    findings = analyse(package, given.volume(halves()), infer)
    (box,) = findings.detections
    assert box.box == (4.0, 6.0, 10.0, 12.0)
    assert box.slice_range == range(2, 8)
    assert box.slice_index in box.slice_range
    assert findings.outcome is Outcome.FINDING
    assert "Not found: ill" in findings.statement


def test_boxes_of_patches_lie_where_their_patch_lies() -> None:
    package = kinds.package(
        "detection", kinds.REGULAR, kinds.PATCH, BOXES, kinds.step("detect", "nms_iou = 0.3")
    )

    def infer(fed: Any) -> dict[str, Any]:
        """Draw a box around what is bright."""
        boxes = np.zeros((len(fed["x"]), 1, 6), np.float32)
        scores = np.zeros((len(fed["x"]), 1), np.float32)
        for n, (patch,) in enumerate(fed["x"]):
            where = np.argwhere(patch > 0)
            if len(where):
                boxes[n, 0] = [*where.min(axis=0), *(where.max(axis=0) + 1)]
                scores[n] = 0.9
        return {"y": boxes, "s": scores}

    voxels = np.zeros(SHAPE)
    voxels[9:11, 16:19, 10:13] = 1.0
    flipped = given.volume(voxels[:, :, ::-1], row_cosines=np.array([-1.0, 0.0, 0.0]))
    found = analyse(package, flipped, infer).detections
    assert (16.0, 3.0, 19.0, 6.0) in [one.box for one in found]
    assert all(set(one.slice_range) <= {9, 10} for one in found)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: {"y": np.zeros((len(x), 2, *x.shape[2:]), np.float32)}, "shape"),
        (lambda x: {"y": np.full((len(x), 3, *x.shape[2:]), np.nan, np.float32)}, "not finite"),
        (lambda x: {"z": x}, "no output named 'y'"),
    ],
)
def test_what_was_not_promised_is_an_error(answer: Any, words: str) -> None:
    package = kinds.package("segmentation", kinds.REGULAR, kinds.PATCH, CLASSES, kinds.step("class-map"))
    with pytest.raises(AnswerError, match=words):
        analyse(package, given.volume(halves()), lambda fed: answer(fed["x"]))


def test_classes_are_no_probabilities_before_softmax() -> None:
    steps = kinds.step("components", 'label = "a"')
    raw = kinds.package("segmentation", kinds.REGULAR, kinds.PATCH, CLASSES, steps)
    with pytest.raises(AnswerError, match="may need an activation"):
        analyse(raw, given.volume(halves()), by_value)
    softened = CLASSES.replace('dtype = "float32"', 'dtype = "float32"\nactivation = "softmax"')
    package = kinds.package("segmentation", kinds.REGULAR, kinds.PATCH, softened, steps)
    (lesion,) = analyse(package, given.volume(halves()), by_value).lesions
    assert lesion.origin == (2, 4, 2)
    assert lesion.probability > 0.99


def test_a_single_prediction_of_nothing_gives_no_segments_and_volumes_of_zero() -> None:
    package = kinds.package("segmentation", kinds.REGULAR, kinds.PATCH, CLASSES, kinds.step("class-map"))
    findings = analyse(package, given.volume(np.zeros(SHAPE)), by_value)
    assert findings.segments == ()
    assert [one.value for one in findings.measurements] == [0.0, 0.0]
    assert findings.statement == "Outlined: no a, no b. No finding is claimed."


def test_solid_boxes_are_not_linked_over_slices() -> None:
    with pytest.raises(ManifestError, match="are solid already"):
        kinds.package("detection", kinds.REGULAR, kinds.PATCH, BOXES, kinds.step("detect", "link_iou = 0.5"))
