"""A heat map is the model's own probability in its place, a byte per voxel, and changes nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.analysis import analyse
from models.findings import LEVELS, Findings
from models.manifest import ManifestError
from models.tensors import Volume
from tests.models import given, kinds

HALF_A_LEVEL = 0.5 / LEVELS + 1e-6
COMPONENTS = kinds.step("components", 'label = "lesion"\nthreshold = 0.5')
PROBABILITY = kinds.output("probability", kinds.labels("lesion"))


def by_value(fed: Any) -> dict[str, Any]:
    """A network that takes a thousandth of a value for its probability."""
    return {"y": np.clip(np.asarray(fed["x"][:, :1]) / 1000, 0, 1).astype(np.float32)}


def blobs(shape: tuple[int, int, int] = (6, 14, 18), **changed: Any) -> Volume:
    """Two smooth bright places, one stronger; far away nothing."""
    z, y, x = np.indices(shape)
    voxels = 900 * np.exp(-((z - 2) ** 2 + (y - 5) ** 2 + (x - 4) ** 2) / 4.0)
    voxels += 400 * np.exp(-((z - 4) ** 2 + (y - 9) ** 2 + (x - 13) ** 2) / 3.0)
    return given.volume(voxels, spacing_mm=(1.0, 1.0, 1.0), **changed)


def whole(findings: Findings, shape: tuple[int, int, int], label: str = "lesion") -> np.ndarray:
    """The probability of each voxel, (z, y, x)."""
    (found,) = [one for one in findings.maps if one.label == label]
    planes = [found.plane(z, rows=shape[1], columns=shape[2]) for z in range(shape[0])]
    return np.stack(planes) / LEVELS


@pytest.mark.parametrize("layout", ["slice", "patch", "volume"])
def test_a_map_is_the_probability_within_half_a_level(layout: str) -> None:
    start = {"slice": kinds.SLICE, "patch": kinds.PATCH, "volume": kinds.VOLUME}[layout]
    package = kinds.package(
        "segmentation", kinds.REGULAR, start, PROBABILITY, COMPONENTS, kinds.step("heat-map")
    )
    seen = blobs()
    findings = analyse(package, seen, by_value, maps=True)
    assert np.abs(whole(findings, seen.shape) - seen.voxels / 1000).max() <= HALF_A_LEVEL
    (found,) = findings.maps
    assert found.levels.dtype == np.uint8
    # Cropped: each face of the box holds something.
    for axis in range(3):
        for end in (0, -1):
            assert found.levels.take(end, axis=axis).any()
    assert found.levels.size < seen.voxels.size


def test_without_maps_all_else_is_the_same_and_no_map_is_made() -> None:
    package = kinds.package(
        "segmentation", kinds.REGULAR, kinds.PATCH, PROBABILITY, COMPONENTS, kinds.step("heat-map")
    )
    plain, mapped = (analyse(package, blobs(), by_value, maps=maps) for maps in (False, True))
    assert plain.maps == ()
    assert plain.statement == mapped.statement
    assert [one.mask.tolist() for one in plain.segments] == [one.mask.tolist() for one in mapped.segments]
    assert [one.measurements for one in plain.lesions] == [one.measurements for one in mapped.lesions]


def test_classes_before_softmax_are_found_alike_with_and_without_maps() -> None:
    package = kinds.package(
        "segmentation",
        kinds.REGULAR,
        kinds.VOLUME + "spacing_mm = [2.0, 2.0, 2.0]\n",
        '[[prepare]]\nstep = "resample"\n',
        kinds.output("classes", 'activation = "softmax"\n' + kinds.labels("a", first=1)),
        kinds.step("segments", 'labels = ["a"]'),
        kinds.step("heat-map", 'labels = ["a"]'),
    )

    def logits(fed: Any) -> dict[str, Any]:
        x = np.asarray(fed["x"][:, 0]) / 100
        return {"y": np.stack([np.full_like(x, 2.0), x], axis=1).astype(np.float32)}

    plain, mapped = (analyse(package, blobs(), logits, maps=maps) for maps in (False, True))
    assert (plain.segments[0].mask == mapped.segments[0].mask).all()
    assert plain.segments[0].mask.any()
    shares = whole(mapped, (6, 14, 18), "a")
    # Of two classes the one above a half wins; the grid is coarser, so a level around it is let be.
    sure = np.abs(shares - 0.5) > 0.01
    assert ((shares > 0.5) == mapped.segments[0].mask)[sure].all()


def test_a_turned_series_of_another_spacing_has_its_map_in_place() -> None:
    package = kinds.package(
        "segmentation",
        kinds.REGULAR,
        kinds.PATCH.replace("LPS", "RAS") + "spacing_mm = [2.0, 2.0, 2.0]\n",
        '[[prepare]]\nstep = "resample"\n',
        PROBABILITY,
        kinds.step("components", 'label = "lesion"\nthreshold = 0.2'),
        kinds.step("heat-map"),
    )
    made = blobs()
    # Sagittal, and slices from the back of the array: no axis is where the network has it.
    turned = Volume(
        voxels=np.ascontiguousarray(made.voxels.transpose(2, 0, 1)[:, ::-1]),
        valid=np.ones((18, 6, 14), dtype=np.bool_),
        positions=np.array([[z * 1.0, 0.0, 0.0] for z in range(18)]),
        row_cosines=np.array([0.0, 1.0, 0.0]),
        column_cosines=np.array([0.0, 0.0, -1.0]),
        pixel_spacing_mm=(1.0, 1.0),
        slice_spacing_mm=1.0,
        regular=True,
    )
    findings = analyse(package, turned, by_value, maps=True)
    shares, truth = whole(findings, turned.shape), turned.voxels / 1000
    assert np.corrcoef(shares.ravel(), truth.ravel())[0, 1] > 0.9
    for flipped in range(3):
        wrong = np.flip(truth, axis=flipped)
        assert np.corrcoef(shares.ravel(), wrong.ravel())[0, 1] < 0.8
    # The same numbers as the region is made of.
    sure = np.abs(shares - 0.2) > HALF_A_LEVEL
    (drawn,) = findings.segments
    assert ((shares > 0.2) == drawn.mask)[sure].all()


def test_padding_and_what_is_below_the_floor_are_nothing() -> None:
    step = kinds.step("heat-map", "floor = 0.3")
    package = kinds.package("segmentation", kinds.REGULAR, kinds.SLICE, PROBABILITY, COMPONENTS, step)
    valid = np.ones((6, 14, 18), dtype=np.bool_)
    valid[:, 5, 4] = False
    seen = blobs(valid=valid)
    shares = whole(analyse(package, seen, by_value, maps=True), seen.shape)
    assert not shares[:, 5, 4].any()
    assert ((shares > 0) == (seen.voxels >= 300) & valid).all()


def test_a_series_without_anything_has_no_map() -> None:
    for start in (kinds.SLICE, kinds.PATCH):
        package = kinds.package(
            "segmentation", kinds.REGULAR, start, PROBABILITY, COMPONENTS, kinds.step("heat-map")
        )
        dark = given.volume(np.zeros((6, 14, 18)))
        assert analyse(package, dark, by_value, maps=True).maps == ()


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("floor = 1.0", "interpret[2].floor is 1.0; it must be less than 1"),
        ("floor = 0.6", "interpret[2].floor is 0.6, but interpret[1] draws 'lesion' from 0.5 on"),
        ('labels = ["bone"]', "interpret[2] names the label 'bone'; output.labels has lesion"),
        ("labels = []", "interpret[2].labels"),
        ("high = 1", "interpret[2].high"),
        ('[[interpret]]\nstep = "heat-map"', "heat-map of the label 'lesion' is used more than once"),
    ],
)
def test_a_step_that_means_nothing_is_a_fault(step: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        kinds.package(
            "segmentation", kinds.REGULAR, kinds.SLICE, PROBABILITY, COMPONENTS, kinds.step("heat-map", step)
        )
    assert any(words in fault for fault in caught.value.faults), caught.value.faults


def test_labels_that_only_win_are_not_hidden_by_a_floor() -> None:
    classes = kinds.output("classes", 'activation = "softmax"\n' + kinds.labels("a", "b", "c", first=1))
    with pytest.raises(ManifestError, match=r"floor is 0\.3, but interpret\[1\] draws 'b' from 0\.25 on"):
        kinds.package(
            "segmentation",
            kinds.REGULAR,
            kinds.VOLUME,
            classes,
            kinds.step("segments", 'labels = ["b"]'),
            kinds.step("heat-map", "floor = 0.3"),
        )


def test_more_maps_than_a_box_can_hold_and_a_map_alone_are_faults() -> None:
    many = kinds.output("probability", kinds.labels(*(f"part {n}" for n in range(9))))
    with pytest.raises(ManifestError, match="interpret asks for 9 heat maps; at most 8 are made"):
        kinds.package(
            "segmentation", kinds.REGULAR, kinds.SLICE, many, kinds.step("class-map"), kinds.step("heat-map")
        )
    with pytest.raises(ManifestError, match='task is "segmentation", but no interpret step is'):
        kinds.package("segmentation", kinds.REGULAR, kinds.SLICE, PROBABILITY, kinds.step("heat-map"))
    with pytest.raises(ManifestError, match="heat-map reads probability or classes"):
        kinds.package(
            "measurement",
            kinds.ANY,
            kinds.SLICE,
            kinds.output("labels", kinds.labels("a", first=1), dtype="uint8"),
            kinds.step("label-statistics"),
            kinds.step("heat-map"),
        )
