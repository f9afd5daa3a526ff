"""Slices become an order, a spacing and a sentence: checked on made-up stacks and on real patients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from appliance.core.geometry import (
    SliceGeometry,
    facts_for_routes,
    frame_geometries,
    measure,
    planes_of,
    slice_geometry,
)
from appliance.core.instance import Instance, Location

Numbers = Sequence[float] | np.ndarray
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
KEYWORDS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def facts_of(dataset: Dataset) -> dict[str, Any]:
    facts: dict[str, Any] = {k: [float(v) for v in dataset[k].value] for k in KEYWORDS if k in dataset}
    return {**facts, "Rows": dataset.Rows, "Columns": dataset.Columns}


def plane(
    position: Numbers, orientation: Sequence[float] = AXIAL, *, rows: int = 4, spacing: float = 0.5
) -> SliceGeometry:
    found = slice_geometry(
        {
            "ImagePositionPatient": list(position),
            "ImageOrientationPatient": list(orientation),
            "PixelSpacing": [spacing, spacing],
            "Rows": rows,
            "Columns": 4,
        }
    )
    assert found is not None
    return found


def stack(heights_mm: Numbers, orientation: Sequence[float] = AXIAL) -> list[SliceGeometry]:
    normal = np.cross(orientation[:3], orientation[3:])
    return [plane(tuple(height * normal), orientation) for height in heights_mm]


def instance(facts: dict[str, Any]) -> Instance:
    return Instance(
        sop_class_uid="1.2",
        sop_instance_uid="1.2.3",
        study_uid="1.2.4",
        series_uid="1.2.5",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        location=Location(file="a", offset=0, length=0),
        digest="",
        pixel_offset=None,
        pixel_bytes=None,
        facts=facts,
    )


rotations = st.tuples(
    *[st.floats(-math.pi, math.pi, allow_nan=False) for _ in range(3)],
).map(lambda angles: _rotation(*angles))


def _rotation(a: float, b: float, c: float) -> np.ndarray:
    x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


@given(
    rotation=rotations,
    count=st.integers(3, 40),
    spacing_mm=st.floats(0.5, 10),
    tilt=st.floats(0, 30),
    data=st.data(),
)
def test_any_rotated_shuffled_tilted_stack_is_ordered_and_regular(
    rotation: np.ndarray, count: int, spacing_mm: float, tilt: float, data: st.DataObject
) -> None:
    orientation = [*rotation[:, 0], *rotation[:, 1]]
    step = rotation[:, 2] * spacing_mm + rotation[:, 1] * spacing_mm * math.tan(math.radians(tilt))
    places = data.draw(st.permutations(range(count)))
    found = measure([plane(step * place + 7, orientation) for place in places])
    assert [places[index] for index in found.order] == list(range(count))
    assert (found.slices, found.frames, found.duplicates) == (count, count, 0)
    assert found.regular, found.irregularity
    assert found.slice_spacing_mm == pytest.approx(spacing_mm)
    assert found.gantry_tilt_degrees == pytest.approx(tilt if tilt >= 0.1 else 0.0, abs=0.1)


@given(count=st.integers(5, 30), missing=st.integers(1, 3), data=st.data())
def test_a_hole_is_counted_in_slices(count: int, missing: int, data: st.DataObject) -> None:
    before = data.draw(st.integers(2, count - 2))
    heights = [place * 2.0 for place in range(count + missing) if not before <= place < before + missing]
    found = measure(stack(heights))
    lack = "1 slice is missing" if missing == 1 else f"{missing} slices are missing"
    assert (
        found.irregularity == f"{lack}: one gap is {2.0 * (missing + 1):.1f} mm where slices are 2.0 mm apart"
    )
    assert not found.obstacles
    assert found.slice_spacing_mm == pytest.approx(2.0)


@given(count=st.integers(2, 20), data=st.data())
def test_doubled_positions_are_counted_and_are_an_obstacle(count: int, data: st.DataObject) -> None:
    doubled = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5))
    found = measure(stack([float(place) for place in [*range(count), *doubled]]))
    assert (found.duplicates, found.slices, found.frames) == (len(doubled), count, count + len(doubled))
    assert found.obstacles == (
        f"{len(doubled)} of {count + len(doubled)} images lie at a position that another image already has",
    )
    assert found.slice_spacing_mm == pytest.approx(1.0)


@given(offset=st.floats(-500, 500), decimals=st.just(1), spacing_mm=st.sampled_from([0.625, 1.25, 2.5, 3.33]))
def test_positions_rounded_to_a_decimal_are_still_regular(
    offset: float, decimals: int, spacing_mm: float
) -> None:
    assert measure(stack([round(offset + place * spacing_mm, decimals) for place in range(30)])).regular


def test_direction_is_told_for_a_reversed_stack() -> None:
    assert measure(stack([0, 1, 2])).direction == "ascending"
    reversed_stack = measure(stack([2, 1, 0]))
    assert (reversed_stack.direction, reversed_stack.order) == ("descending", (2, 1, 0))
    assert measure(stack([1, 2, 0])).direction == "shuffled"


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        (AXIAL, "axial"),
        ((0, 1, 0, 0, 0, -1), "sagittal"),
        ((1, 0, 0, 0, 0, -1), "coronal"),
        ((-1, 0, 0, 0, 1, 0), "axial"),
        ((math.sqrt(0.5), math.sqrt(0.5), 0, 0, 0, 1), "oblique"),
    ],
)
def test_orientation_is_named_by_the_normal(orientation: Sequence[float], name: str) -> None:
    assert measure(stack([0, 1, 2], orientation)).orientation == name


def test_mixed_spacing_is_said_with_numbers() -> None:
    heights = np.cumsum([0, *[4.0] * 5, 1.1, *[7.0] * 5])
    assert measure(stack(heights)).irregularity == (
        "slice distance changes from 4.0 to 7.0 mm and one gap is 1.1 mm"
    )
    heights = np.cumsum([0, 1, 2, 3, 4, 5])
    assert measure(stack(heights)).irregularity == "slice distance varies from 1.0 to 5.0 mm"
    heights = np.cumsum([0, 2, 2, 3.1, 2, 2, 2.7, 2, 2])
    assert measure(stack(heights)).irregularity == "2 gaps are 2.7 to 3.1 mm where slices are 2.0 mm apart"


def test_a_localiser_inside_is_an_obstacle_and_does_not_disturb_the_order() -> None:
    found = measure([plane((0, 0, 55), (1, 0, 0, 0, 0, -1)), *stack([3, 2, 1, 0])])
    assert found.mixed_orientation
    assert found.orientation == "axial"
    assert found.slice_spacing_mm == pytest.approx(1)
    assert found.obstacles == ("1 of 5 images lie in another plane than the rest (a localiser?)",)
    assert [index for index in found.order if index] == [4, 3, 2, 1]


def test_images_of_another_size_or_pixel_spacing_are_obstacles() -> None:
    found = measure([plane((0, 0, 0)), plane((0, 0, 1), rows=8), plane((0, 0, 2), spacing=0.7)])
    assert found.obstacles == (
        "images differ in size: 4 x 4 and 8 x 4 pixels",
        "images differ in pixel spacing: 0.5 x 0.5 and 0.7 x 0.7 mm",
    )


def test_a_sideways_jump_is_irregular_but_no_obstacle() -> None:
    found = measure([plane((0, 0, 0)), plane((3, 0, 1)), plane((0, 0, 2))])
    assert found.irregularity == "slices shift sideways by up to 3.0 mm"
    assert not found.obstacles


def test_missing_positions_are_counted() -> None:
    found = measure([None, *stack([1, 0]), None])
    assert found.order == (2, 1, 0, 3)
    assert found.obstacles[0].startswith("2 of 4 images carry no usable position")
    assert measure([None, None]).obstacles[0].startswith("2 of 2 images carry no usable position")
    assert measure([]).irregularity == "the series holds no image"


@pytest.mark.parametrize(
    "change",
    [
        {"ImagePositionPatient": [0.0, 0.0]},
        {"ImagePositionPatient": [0.0, math.nan, 0.0]},
        {"ImageOrientationPatient": [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]},
        {"ImageOrientationPatient": [0.0] * 6},
        {"PixelSpacing": [0.0, 1.0]},
        {"PixelSpacing": None},
        {"ImagePositionPatient": "0/0/0"},
        {"ImagePositionPatient": ["a", "b", "c"]},
        {"Rows": 0},
        {"Rows": None},
    ],
)
def test_impossible_planes_are_no_planes(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"ImagePositionPatient": [0.0] * 3, "ImageOrientationPatient": list(AXIAL)}
    good |= {"PixelSpacing": [1.0, 1.0], "Rows": 4, "Columns": 4}
    assert slice_geometry(good) is not None
    assert slice_geometry({**good, **change}) is None


def test_a_projection_is_one_frame_without_geometry() -> None:
    facts = facts_for_routes([instance({"Rows": 10, "Columns": 10})])
    assert facts == {
        "slices": 1,
        "slice_spacing_mm": None,
        "regular": False,
        "gantry_tilt_degrees": 0.0,
        "orientation": None,
        "frames": 1,
        "irregularity": "the image carries no position in the patient",
    }


def test_a_claim_of_two_billion_frames_allocates_nothing() -> None:
    planes = planes_of([instance({"Rows": 10, "Columns": 10, "NumberOfFrames": 2**31 - 1})])
    assert len(planes) == 20_000


def test_an_enhanced_object_is_measured_through_its_functional_groups() -> None:
    header = enhanced_header([4.0, 0.0, 2.0])
    assert frame_geometries(header)[1] == plane((0, 0, 0))
    multi = instance({"Rows": 4, "Columns": 4, "NumberOfFrames": 3})
    facts = facts_for_routes([multi], header_of=lambda _: header)
    assert (facts["slices"], facts["slice_spacing_mm"], facts["regular"]) == (3, 2.0, True)
    unread = facts_for_routes([multi])
    assert (unread["frames"], unread["regular"], unread["orientation"]) == (3, False, None)


def enhanced_header(heights_mm: Sequence[float]) -> Dataset:
    header, shared = Dataset(), Dataset()
    header.Rows = header.Columns = 4
    measures, axes = Dataset(), Dataset()
    measures.PixelSpacing = [0.5, 0.5]
    axes.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [axes]
    header.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for height in heights_mm:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0.0, 0.0, height]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    header.PerFrameFunctionalGroupsSequence = frames
    return header


def test_a_real_mr_slice_is_read() -> None:
    found = slice_geometry(facts_of(pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))))
    assert found is not None
    assert measure([found]).slices == 1
    assert measure([found]).regular


def real(folder: Path) -> list[SliceGeometry | None]:
    files = sorted(folder.iterdir())
    return [slice_geometry(facts_of(pydicom.dcmread(file, stop_before_pixels=True))) for file in files]


def test_the_tilted_head_is_described(shared_studies: Path) -> None:
    found = measure(real(shared_studies / "ct-head-tilted"))
    assert found.slices == 28
    assert found.gantry_tilt_degrees == pytest.approx(18.5, abs=0.01)
    assert found.irregularity == "slice distance changes from 4.0 to 7.0 mm and one gap is 1.1 mm"
    assert found.orientation == "axial"
    assert not found.obstacles


def test_the_phantom_is_regular(shared_studies: Path) -> None:
    found = measure(real(shared_studies / "ct-phantom-5mm"))
    assert (found.slices, found.regular, found.gantry_tilt_degrees) == (28, True, 0.0)
    assert found.slice_spacing_mm == pytest.approx(5.0)


@pytest.mark.parametrize("heights_mm", [(0, 1, 101), (0, 5, 55), (0, 1, 101, 102, 202)])
def test_gaps_of_which_none_is_near_the_middle_are_uneven_and_nothing_worse(heights_mm):
    geometry = measure(stack([float(height) for height in heights_mm]))
    assert not geometry.regular
    assert geometry.irregularity


@pytest.mark.parametrize("far", [1e300, -1.7e308])
def test_a_place_beyond_every_patient_is_no_place(far):
    facts = {
        "ImagePositionPatient": [far, 0.0, 0.0],
        "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        "PixelSpacing": [1.0, 1.0],
        "Rows": 2,
        "Columns": 2,
    }
    assert slice_geometry(facts) is None
