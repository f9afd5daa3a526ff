"""Marks in the four quarters of a radiograph come back at their place, whatever it says of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.geometry.boxed import Boxed, analysed, boxed, mark_of
from tests.geometry.networks import Kind, package
from tests.geometry.phantom import quarters, radiograph
from tests.geometry.pictures import HALF_A_PIXEL, check_picture
from tests.geometry.reading import apart, box_of, extent, groups, image_of, marks

PROBABILITY = "122157"
SAID: dict[str, dict[str, Any]] = {
    "detector spacing": {"kind": "DX", "ImagerPixelSpacing": [0.2, 0.2]},
    "no spacing": {"kind": "DX"},
    "pixel spacing": {"kind": "CR", "PixelSpacing": [0.3, 0.3]},
    "anisotropic": {"kind": "DX", "ImagerPixelSpacing": [0.2, 0.3]},
    "turned over": {"kind": "DX", "PhotometricInterpretation": "MONOCHROME1"},
    "no orientation": {"kind": "CR", "PatientOrientation": None},
}


def of_radiograph(said: dict[str, Any], kind: Kind, folder: Path, *, rows: int, columns: int) -> Boxed:
    """Take a radiograph, and send it through the box."""
    (folder / "images").mkdir()
    header = radiograph(folder=folder / "images", rows=rows, columns=columns, **said)
    model = package(kind, header.Modality, folder)
    found = boxed(analysed(model, folder / "images"), [header])
    found.truth[str(header.SOPInstanceUID), None] = quarters(rows, columns)
    return found


@pytest.mark.parametrize("name", list(SAID))
def test_regions_lie_on_their_marks(name, tmp_path):
    found = of_radiograph(SAID[name], "regions", tmp_path, rows=240, columns=204)
    check(found, PROBABILITY)
    ((image, labels),) = found.truth.items()
    named = {group.name: mark_of(group.numbers[PROBABILITY]) for group in groups(found.one("sr"))}
    drawn = {line.name: line for line in marks(found.one("gsps"))}
    assert drawn.keys() == named.keys()
    for line_name, line in drawn.items():
        assert line.image == image
        assert apart([line.points], labels == named[line_name]) <= HALF_A_PIXEL
    (picture,) = found.objects["sc"]
    assert image_of(picture.SourceImageSequence[0]) == image
    check_picture(picture, labels, found.analysis.volume.pixel_spacing_mm)
    wanted = [] if name == "no orientation" else ["L", "F"]
    assert list(picture.PatientOrientation or ()) == wanted


def test_a_picture_smaller_than_the_radiograph_shows_the_marks_at_their_place(tmp_path):
    found = of_radiograph(SAID["detector spacing"], "regions", tmp_path, rows=1500, columns=1220)
    check(found, PROBABILITY)
    ((_, labels),) = found.truth.items()
    (picture,) = found.objects["sc"]
    assert picture.Columns < labels.shape[1]
    # Of the picture's pixels, which are the larger ones here.
    check_picture(picture, labels, found.analysis.volume.pixel_spacing_mm)


@pytest.mark.parametrize("name", ["detector spacing", "anisotropic", "no spacing"])
def test_boxes_of_a_network_that_sees_another_size_lie_on_their_marks(name, tmp_path):
    found = of_radiograph(SAID[name], "boxes", tmp_path, rows=240, columns=204)
    check(found, PROBABILITY)
    ((_, labels),) = found.truth.items()
    for line in marks(found.one("gsps")):
        across, down = extent(line.points)[:2] + 1
        mark = 1 + 2 * int(down > 120) + int(across > 102)
        assert np.abs(extent(line.points) - box_of(labels == mark)).max() <= HALF_A_PIXEL


def check(found: Boxed, probability: str) -> None:
    """The report has each mark once, in its quarter, and no object needs a place in the patient."""
    assert set(found.objects) == {"sr", "gsps", "sc"}
    ((image, labels),) = found.truth.items()
    seen = []
    for group in groups(found.one("sr")):
        mark = mark_of(group.numbers[probability])
        seen.append(mark)
        assert group.lines
        for line in group.lines:
            assert line.image == image
            assert np.abs(extent(line.points) - box_of(labels == mark)).max() <= HALF_A_PIXEL
    assert sorted(seen) == [1, 2, 3, 4]
