"""Series on disk for the worker's tests: made up, or the real objects inside pydicom."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from appliance.core.instance import Instance
from appliance.worker.folder import FolderContent, instances_from_folder
from models.catalogue import shipped
from models.package import Package, open_package

CT = UID("1.2.840.10008.5.1.4.1.1.2")
ENHANCED_CT = UID("1.2.840.10008.5.1.4.1.1.2.1")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def ct(
    cells: np.ndarray, *, z_mm: float = 0.0, syntax: UID = ExplicitVRLittleEndian, **changes: Any
) -> Dataset:
    """A CT slice of these cells (rows, columns), 16 bits in the sign of their type."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = CT
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    made.Modality = "CT"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.Rows, made.Columns = cells.shape[-2:]
    made.BitsAllocated = made.BitsStored = 8 * cells.dtype.itemsize
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(cells.dtype.kind == "i")
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelSpacing = [0.5, 0.5]
    made.SliceThickness = 2.5
    made.ImageOrientationPatient = list(AXIAL)
    made.ImagePositionPatient = [0.0, 0.0, z_mm]
    made.RescaleSlope, made.RescaleIntercept = 1, -1024
    order = cells.astype(cells.dtype.newbyteorder(">" if syntax == "1.2.840.10008.1.2.2" else "<"))
    made.add_new("PixelData", "OW", order.tobytes() + b"\0" * (order.nbytes % 2))
    for keyword, value in changes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def enhanced(cells: np.ndarray, heights_mm: Sequence[float], intercepts: Sequence[float]) -> Dataset:
    """An enhanced CT: frames (z, rows, columns), each with its own place and rescale."""
    made = ct(cells[0], RescaleSlope=None, RescaleIntercept=None)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(made, keyword)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    made.NumberOfFrames = len(cells)
    made.PixelData = cells.astype(cells.dtype.newbyteorder("<")).tobytes()
    made.SharedFunctionalGroupsSequence = [
        _group(
            PixelMeasuresSequence={"PixelSpacing": [0.5, 0.5], "SliceThickness": 2.5},
            PlaneOrientationSequence={"ImageOrientationPatient": list(AXIAL)},
        )
    ]
    made.PerFrameFunctionalGroupsSequence = [
        _group(
            PlanePositionSequence={"ImagePositionPatient": [0.0, 0.0, height]},
            PixelValueTransformationSequence={
                "RescaleSlope": 2,
                "RescaleIntercept": intercept,
                "RescaleType": "HU",
            },
        )
        for height, intercept in zip(heights_mm, intercepts, strict=True)
    ]
    return made


def _group(**macros: dict[str, Any]) -> Dataset:
    group = Dataset()
    for keyword, attributes in macros.items():
        item = Dataset()
        for name, value in attributes.items():
            setattr(item, name, value)
        setattr(group, keyword, [item])
    return group


def content(folder: Path, *made: Dataset) -> FolderContent:
    """Write data sets as files, in the order given, and read them back as a folder."""
    for number, one in enumerate(made):
        one.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    found = instances_from_folder(folder)
    assert not found.unreadable
    return found


def real(folder: Path, name: str) -> tuple[Instance, FolderContent]:
    """Read one of the objects that ship inside pydicom."""
    source = get_testdata_file(name, download=False)
    assert source is not None, f"{name} ships inside pydicom"
    shutil.copy(source, folder / name)
    found = instances_from_folder(folder)
    assert len(found.instances) == 1
    return found.instances[0], found


def ramp(rows: int = 4, columns: int = 6, *, dtype: str = "u2", start: int = 0) -> np.ndarray:
    """Cells that all differ, so that a swapped axis shows."""
    return (np.arange(rows * columns).reshape(rows, columns) + start).astype(dtype)


def package(name: str) -> Package:
    """Open one of the packages that ship."""
    return open_package(next(path for path in shipped() if path.name == name))
