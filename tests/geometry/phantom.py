"""An asymmetric body with a distinct mark in each octant of the patient, and the ways to image it.

The body is a function of places in the patient (LPS, mm), so that the truth about a pixel needs nothing of
the code under test: put the pixel's centre into the patient by its own header, and ask the body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
)

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]
Triple = tuple[float, float, float]

CENTRE_MM = np.array([12.0, -31.0, 47.0])
APART_MM = np.array([22.0, 18.0, 16.0])
# Octant n + 1 is (left?, posterior?, superior?) counted in this order: 1 is right, anterior, inferior.
SIGNS = np.array(list(product((-1, 1), repeat=3)), dtype=np.float64)
RADII_MM = tuple(4.6 + 0.45 * n for n in range(8))
_BUMP = np.array([0.8, 0.5, 0.3])
UID_ROOT = "2.25.41873"


def mark_at(places: Doubles) -> Labels:
    """Say which mark lies at each place (..., 3), LPS mm: 1 to 8 by octant, or 0."""
    marks = np.zeros(places.shape[:-1], dtype=np.uint8)
    for number, (signs, radius) in enumerate(zip(SIGNS, RADII_MM, strict=True), start=1):
        centre = CENTRE_MM + signs * APART_MM
        inside = np.linalg.norm(places - centre, axis=-1) <= radius
        # A bump, so that a mark which is mirrored in its place shows too.
        inside |= np.linalg.norm(places - centre - _BUMP * radius, axis=-1) <= 0.45 * radius
        marks[inside] = number
    return marks


def octant_of(place: Doubles) -> int:
    """Give the number of the octant of the body in which a place lies."""
    left, posterior, superior = (int(value > 0) for value in place - CENTRE_MM)
    return 1 + 4 * left + 2 * posterior + superior


def values(marks: Labels) -> npt.NDArray[np.uint16]:
    """Give each mark a value of its own: 640 to 920; all else is 100, a soft tissue."""
    return np.where(marks > 0, 600 + 40 * marks.astype(np.uint16), 100).astype(np.uint16)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One way to image the body: how rows, columns and slices lie, and how the files say so.

    Attributes:
        row, column: Image Orientation (Patient), the ways columns and rows count up.
        step: direction and length from one slice to the next in mm; along the normal when None.
        order: "up", "down" or "shuffled": how instance numbers, files and frames run against the step.
        frames: one multi-frame object of this class, or single images.
    """

    row: Triple
    column: Triple
    spacing_mm: tuple[float, float] = (1.25, 1.25)
    apart_mm: float = 2.5
    step: Triple | None = None
    rows: int = 72
    columns: int = 80
    slices: int = 30
    order: str = "up"
    position: str = "HFS"
    frames: str | None = None

    @property
    def stride(self) -> Doubles:
        """Give the step from one slice to the next, mm."""
        if self.step is not None:
            return np.array(self.step)
        return np.cross(self.row, self.column) * self.apart_mm

    def corners(self) -> Doubles:
        """Give Image Position (Patient) of each slice, (slices, 3), so that the body is in the middle."""
        right, down = np.array(self.row) * self.spacing_mm[1], np.array(self.column) * self.spacing_mm[0]
        # Odd shares of a pixel: nothing falls on a pixel's centre or edge by chance.
        middle = right * (self.columns / 2 - 0.63) + down * (self.rows / 2 - 0.38)
        first = CENTRE_MM - middle - self.stride * (self.slices / 2 - 0.41)
        return np.array([first + self.stride * index for index in range(self.slices)])


def pixel_places(header: Dataset, frame: int | None = None) -> Doubles:
    """Put the centre of every pixel of an image or frame into the patient (PS3.3 C.7.6.2.1.1)."""
    corner, cosines, spacing = header, header, header
    if frame is not None:
        shared = header.SharedFunctionalGroupsSequence[0]
        own = header.PerFrameFunctionalGroupsSequence[frame - 1]
        corner, cosines, spacing = (
            (own if name in own else shared)[name][0]
            for name in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
        )
    orientation = np.array(cosines.ImageOrientationPatient, dtype=np.float64)
    rows_mm, columns_mm = (float(value) for value in spacing.PixelSpacing)
    right, down = orientation[:3] * columns_mm, orientation[3:] * rows_mm
    row, column = np.mgrid[: header.Rows, : header.Columns]
    first = np.array(corner.ImagePositionPatient, dtype=np.float64)
    places: Doubles = first + column[..., None] * right + row[..., None] * down
    return places


def written(scan: Scan, folder: Path) -> list[Dataset]:
    """Image the body, write the files, and read the headers back."""
    images = list(_frames(scan) if scan.frames else _images(scan))
    for number, image in enumerate(images, start=1):
        _save(image, folder / f"{number:04}.dcm")
    return [dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def radiograph(kind: str, folder: Path, *, rows: int, columns: int, **said: Any) -> Dataset:
    """Write a radiograph of four marks, one in each quarter, and what it says about its pixels.

    MONOCHROME1 turns the stored numbers over: other numbers, the same picture.
    """
    image = _header("DX" if kind == "DX" else "CR")
    classes = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}
    image.SOPClassUID, image.SOPInstanceUID = classes[kind], f"{image.SeriesInstanceUID}.1"
    image.InstanceNumber = 1
    image.PatientOrientation = ["L", "F"]
    _add_pixels(image, values(quarters(rows, columns)))
    for keyword, value in said.items():
        setattr(image, keyword, value)
    if image.PhotometricInterpretation == "MONOCHROME1":
        image.PixelData = (4095 - values(quarters(rows, columns))).astype("<u2").tobytes()
    _save(image, folder / "0001.dcm")
    return dcmread(folder / "0001.dcm")


def quarters(rows: int, columns: int) -> Labels:
    """Draw a mark into each quarter, no two alike and none in the middle of its quarter: 1 to 4, as read."""
    marks = np.zeros((rows, columns), dtype=np.uint8)
    places = [(0.17, 0.21), (0.31, 0.68), (0.62, 0.33), (0.81, 0.86)]
    row, column = np.mgrid[:rows, :columns]
    for number, (down, across) in enumerate(places, start=1):
        high, wide = rows * (0.03 + 0.01 * number), columns * (0.08 - 0.01 * number)
        inside = ((row - rows * down) / high) ** 2 + ((column - columns * across) / wide) ** 2 <= 1
        marks[inside] = number
    return marks


def _images(scan: Scan) -> Iterator[Dataset]:
    corners = scan.corners()
    for number, index in enumerate(_order(scan), start=1):
        image = _header("CT")
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"{image.SeriesInstanceUID}.{index + 1}"
        image.InstanceNumber = number
        image.PatientPosition = scan.position
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = f"{UID_ROOT}.9", ""
        image.ImagePositionPatient = [f"{value:.6f}" for value in corners[index]]
        image.ImageOrientationPatient = [f"{value:.8f}" for value in (*scan.row, *scan.column)]
        image.PixelSpacing = list(scan.spacing_mm)
        image.SliceThickness = scan.apart_mm
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -24, "HU"
        image.Rows, image.Columns = scan.rows, scan.columns
        _add_pixels(image, values(mark_at(pixel_places(image))) + 24)
        yield image


def _frames(scan: Scan) -> Iterator[Dataset]:
    is_ct = scan.frames == "CT"
    image = _header("CT" if is_ct else "MR")
    image.SOPClassUID = EnhancedCTImageStorage if is_ct else EnhancedMRImageStorage
    image.SOPInstanceUID = f"{image.SeriesInstanceUID}.1"
    image.InstanceNumber, image.NumberOfFrames = 1, scan.slices
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = f"{UID_ROOT}.9", ""
    image.PatientPosition = scan.position
    image.Rows, image.Columns = scan.rows, scan.columns
    shared = Dataset()
    shared.PixelMeasuresSequence = [_item(PixelSpacing=list(scan.spacing_mm), SliceThickness=scan.apart_mm)]
    orientation = [f"{value:.8f}" for value in (*scan.row, *scan.column)]
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=orientation)]
    rescale = {"RescaleSlope": 1, "RescaleIntercept": -24 if is_ct else 0}
    shared.PixelValueTransformationSequence = [_item(**rescale, RescaleType="HU" if is_ct else "US")]
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [
        _item(
            PlanePositionSequence=[_item(ImagePositionPatient=[f"{v:.6f}" for v in scan.corners()[index]])],
            FrameContentSequence=[_item(StackID="1", InStackPositionNumber=index + 1)],
        )
        for index in _order(scan)
    ]
    marks = [mark_at(pixel_places(image, frame)) for frame in range(1, scan.slices + 1)]
    _add_pixels(image, values(np.stack(marks)) + (24 if is_ct else 0))
    yield image


def _order(scan: Scan) -> Sequence[int]:
    if scan.order == "shuffled":
        return [int(index) for index in np.random.default_rng(3).permutation(scan.slices)]
    return range(scan.slices) if scan.order == "up" else range(scan.slices - 1, -1, -1)


def _header(modality: str) -> Dataset:
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyDate, header.StudyTime = "20261121", "090000"
    header.AccessionNumber, header.StudyID, header.ReferringPhysicianName = "GEO1", "1", ""
    header.Modality, header.ImageType = modality, ["ORIGINAL", "PRIMARY", "AXIAL"]
    header.PatientName, header.PatientID = "Phantom^Octants", "OCTANTS"
    header.PatientBirthDate, header.PatientSex = "", "O"
    header.StudyInstanceUID, header.SeriesInstanceUID = f"{UID_ROOT}.1", f"{UID_ROOT}.1.2"
    header.SeriesNumber = 1
    return header


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _add_pixels(image: Dataset, pixels: npt.NDArray[np.uint16]) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = pixels.shape[-2:]
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())


def _save(image: Dataset, path: Path) -> None:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(path, enforce_file_format=True)


def _turned(degrees: Triple) -> tuple[Triple, Triple]:
    """Turn the axial cosines about x, y and z, in this order."""
    a, b, c = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = about_z @ about_y @ about_x
    x, y = turn[:, 0], turn[:, 1]
    return (float(x[0]), float(x[1]), float(x[2])), (float(y[0]), float(y[1]), float(y[2]))


_OBLIQUE = _turned((25.0, 35.0, -20.0))
_TILTED = _turned((18.0, 0.0, 0.0))
_X: Triple = (1.0, 0.0, 0.0)
_Y: Triple = (0.0, 1.0, 0.0)
_LEFTWARDS: Triple = (-1.0, 0.0, 0.0)
_FORWARDS: Triple = (0.0, -1.0, 0.0)
_DOWN: Triple = (0.0, 0.0, -1.0)

SCANS: dict[str, Scan] = {
    "axial": Scan(row=_X, column=_Y),
    "sagittal": Scan(row=_Y, column=_DOWN, slices=34),
    "coronal": Scan(row=_X, column=_DOWN),
    "oblique": Scan(row=_OBLIQUE[0], column=_OBLIQUE[1], slices=38, rows=84, columns=88),
    "reversed": Scan(row=_X, column=_Y, order="down"),
    "shuffled": Scan(row=_X, column=_Y, order="shuffled"),
    "tilted": Scan(row=_TILTED[0], column=_TILTED[1], step=(0.0, 0.0, 2.75), rows=84, slices=34),
    "left-handed row": Scan(row=_LEFTWARDS, column=_Y),
    "left-handed column": Scan(row=_X, column=_FORWARDS, order="down"),
    "anisotropic": Scan(row=_X, column=_Y, spacing_mm=(0.8, 1.9), rows=112, columns=54, apart_mm=3.1),
    "feet first": Scan(row=_LEFTWARDS, column=_Y, position="FFS", order="down"),
    "prone": Scan(row=_LEFTWARDS, column=_FORWARDS, position="HFP"),
    "feet first, prone": Scan(row=_X, column=_FORWARDS, position="FFP"),
    "enhanced CT": Scan(row=_X, column=_Y, frames="CT", order="shuffled"),
    "enhanced CT, oblique": Scan(
        row=_OBLIQUE[0], column=_OBLIQUE[1], frames="CT", order="down", slices=38, rows=84, columns=88
    ),
    "enhanced MR": Scan(row=_Y, column=_DOWN, frames="MR", order="shuffled", slices=34),
}
