"""The preview's page and data: what the objects hold is what a browser is told, to people who logged in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.appliance.console.filling import Console
from tests.appliance.console.previewing import Previewed, analysed
from tests.appliance.results.given import read
from tests.geometry.boxed import analysed as run
from tests.geometry.networks import COLOUR_RGB, package
from tests.geometry.phantom import Scan, written
from tests.geometry.reading import groups

AXIAL = Scan(row=(1, 0, 0), column=(0, 1, 0), slices=30)


@pytest.fixture
def console(console: Console) -> Iterator[Console]:
    """A console whose decoders end with the test."""
    yield console
    console.app.state.room.desk.close()


def folder_of(console: Console) -> Path:
    folder = console.root / "kept" / "1"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def axial(console: Console, tmp_path: Path) -> Previewed:
    """A result of 30 CT images with eight marks in one segment."""
    folder = folder_of(console)
    written(AXIAL, folder)
    return analysed(console, folder, run(package("regions", "CT", tmp_path), folder))


def mask_of(region: dict[str, Any], rows: int, columns: int) -> np.ndarray:
    """Lay a region's bits back onto its image."""
    width, height = region["width"], region["height"]
    packed = np.frombuffer(base64.b64decode(region["bits"]), np.uint8).reshape(height, -1)
    mask = np.zeros((rows, columns), np.bool_)
    across = slice(region["left"], region["left"] + width)
    mask[region["top"] : region["top"] + height, across] = np.unpackbits(packed, axis=1)[:, :width]
    return mask


def test_the_marks_are_those_of_the_report(axial):
    scene = axial.console.logged_in().get(axial.api).json()
    listed = groups(read(axial.object("sr")))
    assert [mark["label"] for mark in scene["marks"]] == [group.name for group in listed]
    order = {one.sop_instance_uid: n for n, one in enumerate(sorted_by_place(axial), start=1)}
    for mark, group in zip(scene["marks"], listed, strict=True):
        (shape,) = mark["shapes"]
        line = group.lines[0]
        assert shape["kind"] == "POLYLINE"
        assert shape["image"] == order[line.image[0]]
        assert shape["points"] == pytest.approx(line.points.ravel().tolist())
        assert mark["finding"] == "Lesion"
        assert [number["name"] for number in mark["numbers"]] == ["Volume", "Long axis", "Probability"]
    assert scene["first"] == scene["marks"][0]["shapes"][0]["image"]
    assert (scene["marks_left_out"], scene["notes"]) == (0, [])


def sorted_by_place(shown: Previewed) -> list[Any]:
    return sorted(shown.instances, key=lambda one: one.facts["ImagePositionPatient"][2])


def test_the_regions_are_the_frames_of_the_segmentation(axial):
    browser = axial.console.logged_in()
    scene = browser.get(axial.api).json()
    seg = read(axial.object("seg"))
    (segment,) = scene["segments"]
    assert (segment["number"], segment["label"]) == (1, "mark")
    assert segment["colour"] == pytest.approx(list(COLOUR_RGB), abs=2)
    assert len(segment["images"]) == seg.NumberOfFrames
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    order = {one.sop_instance_uid: n for n, one in enumerate(sorted_by_place(axial), start=1)}
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = order[source.ReferencedSOPInstanceUID]
        (region,) = browser.get(f"{axial.api}/{number}/regions").json()["regions"]
        assert region["segment"] == 1
        assert np.array_equal(mask_of(region, seg.Rows, seg.Columns), frame == 1)
    empty = next(n for n in range(1, 31) if n not in segment["images"])
    assert browser.get(f"{axial.api}/{empty}/regions").json() == {"regions": []}
