"""DCMTK's own presentation state, the one behind DICOMscope, applied to the images: what it reads and shows.

It tells the graphics and draws the greys, but not both: the drawing of the graphics is DICOMscope's own.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy import ndimage

from appliance.results.encode import encode
from models.findings import Findings
from tests.appliance.results.given import Series, bands, context, lesions, only, series, write
from tests.appliance.results.test_validators import run

_INTERCEPT = -1024
_CENTRE, _WIDTH = 40, 80


def shown(findings: Findings, made: Series, index: int, folder: Path) -> tuple[str, np.ndarray]:
    """Give what the tool tells of one image under the presentation state, and its greys."""
    for source in made.sources:
        source.WindowCenter, source.WindowWidth = _CENTRE, _WIDTH
        source.RescaleSlope, source.RescaleIntercept = 1, _INTERCEPT
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset({"gsps"}),
    )
    state = write(only(objects, "gsps")[0], folder, "state")
    image, rendered = folder / "image.dcm", folder / "image.pgm"
    stored(made.sources[index], made.volume.voxels[index]).save_as(image, enforce_file_format=True)
    done = run("dcmp2pgm", "-v", "-p", str(state), str(image), str(rendered))
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr, np.array(Image.open(rendered))


def stored(source: Dataset, voxels: np.ndarray) -> Dataset:
    """Make a whole image of a header and its values."""
    values = np.rint(voxels) - _INTERCEPT
    source.PixelData = values.astype("<u2").tobytes()
    source["PixelData"].VR = "OW"
    source.BitsAllocated, source.BitsStored, source.HighBit, source.PixelRepresentation = 16, 12, 11, 0
    for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
        source.pop(keyword, None)
    source.file_meta = FileMetaDataset()
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source.file_meta.MediaStorageSOPClassUID = source.SOPClassUID
    source.file_meta.MediaStorageSOPInstanceUID = source.SOPInstanceUID
    return source


def lines(told: str) -> list[np.ndarray]:
    """Read the graphics that the tool found for the attached image, each (n, 2), (column, row)."""
    found = re.findall(r"coordinates: (.*)", told)
    return [np.array([p.split("\\") for p in one.split(", ") if p.strip()], dtype=float) for one in found]


def filled(line: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Fill an outline: a pixel is in where its centre, at (.5, .5), is."""
    image = Image.new("1", (shape[1] * 8, shape[0] * 8))
    ImageDraw.Draw(image).polygon([tuple(point) for point in line * 8], fill=1)
    return np.array(image)[4::8, 4::8]


@pytest.mark.parametrize("orientation", ["axial", "oblique"])
@pytest.mark.parametrize("index", [2, 4])
def test_another_reader_finds_the_outlines_of_each_image_on_its_masks(
    orientation: str, index: int, tmp_path: Path
) -> None:
    made = series(orientation)
    findings = lesions(made.volume)
    told, _ = shown(findings, made, index, tmp_path)
    here = [lesion for lesion in findings.lesions if index in lesion.slice_range]
    drawn = lines(told)
    assert len(drawn) == len(here)
    for line, lesion in zip(drawn, here, strict=True):
        mask = lesion.plane(index, rows=48, columns=40)
        # Thinning may move an edge by half a pixel.
        assert (filled(line, mask.shape) ^ ndimage.binary_fill_holes(mask)).sum() <= 0.1 * mask.sum()
    assert "units=pixel" in told
    assert '"Lesion 1"' in told
    assert "NOT FOR PRIMARY DIAGNOSIS" in told


def test_another_reader_shows_the_image_in_its_own_window(tmp_path: Path) -> None:
    made = series()
    _, grey = shown(bands(made.volume), made, 3, tmp_path)
    values = np.rint(made.volume.voxels[3])
    # PS3.3 C.11.2.1.2: linear, with half a step taken off.
    share = (values - (_CENTRE - 0.5)) / (_WIDTH - 1) + 0.5
    assert grey.shape == values.shape
    assert np.abs(grey - np.clip(share, 0, 1) * 255).max() <= 1
