"""Radiographs and MR studies of made-up patients, encoded as a detector or a scanner would send them.

The pictures come from `models.phantom_radiograph` and `models.phantom_mr`; a CT is in `appliance.demo.study`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from appliance.demo.study import encoded
from dicom_node.send import Outgoing
from models.phantom_mr import Head
from models.phantom_radiograph import STORED_MAX, Radiograph

_UID_ROOT = "2.25.3306131518"
_CLASSES = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}


@dataclass(frozen=True, kw_only=True)
class MadeRadiograph:
    """One radiograph, without any place in the patient.

    `inverted` stores it as MONOCHROME1: other numbers, the same picture, and the same values for a model.
    """

    radiograph: Radiograph
    number: int
    modality: Literal["DX", "CR"] = "DX"
    inverted: bool = False

    def datasets(self) -> Iterator[Dataset]:
        """Yield the one image."""
        image = _common(self.number, "Made-up chest")
        image.Modality = self.modality
        image.SOPClassUID = _CLASSES[self.modality]
        image.SOPInstanceUID = f"{image.SeriesInstanceUID}.1"
        image.InstanceNumber = 1
        image.SeriesDescription = "CHEST PHANTOM"
        image.BodyPartExamined = "CHEST"
        image.ViewPosition = "PA"
        image.PatientOrientation = ["L", "F"]
        image.ImageType = ["ORIGINAL", "PRIMARY", ""]
        image.KVP = "120"
        rows_mm, columns_mm = self.radiograph.spacing_mm
        image.ImagerPixelSpacing = [f"{rows_mm:g}", f"{columns_mm:g}"]
        if self.modality == "DX":
            _add_detector(image, inverted=self.inverted)
        pixels = STORED_MAX - self.radiograph.pixels if self.inverted else self.radiograph.pixels
        _add_pixels(image, pixels, bits=12)
        image.PhotometricInterpretation = "MONOCHROME1" if self.inverted else "MONOCHROME2"
        yield image

    def instances(self) -> Iterator[Outgoing]:
        """Yield the study's instances, ready to be sent."""
        return map(_outgoing, self.datasets())


@dataclass(frozen=True, kw_only=True)
class MadeMr:
    """An axial T1-like series, one image per slice, lowest first, its middle at the origin."""

    head: Head
    number: int

    def datasets(self) -> Iterator[Dataset]:
        """Yield the images, one slice at a time."""
        common = self._series()
        values, (z, y, x) = self.head.values, self.head.spacing_mm
        slices, rows, columns = values.shape
        for index in range(slices):
            image = Dataset(common)
            image.SOPInstanceUID = f"{common.SeriesInstanceUID}.{index + 1}"
            image.InstanceNumber = index + 1
            corner = (-x * (columns - 1) / 2, -y * (rows - 1) / 2, z * (index - (slices - 1) / 2))
            image.ImagePositionPatient = [f"{value:.6g}" for value in corner]
            image.SliceLocation = f"{corner[2]:.6g}"
            _add_pixels(image, values[index].astype(np.uint16), bits=16)
            yield image

    def instances(self) -> Iterator[Outgoing]:
        """Yield the study's instances, ready to be sent."""
        return map(_outgoing, self.datasets())

    def _series(self) -> Dataset:
        """Make what all slices share (PS3.3 C.8.3.1)."""
        series = _common(self.number, "Made-up head")
        series.Modality = "MR"
        series.SOPClassUID = MRImageStorage
        series.SeriesDescription = "T1 HEAD PHANTOM"
        series.BodyPartExamined = "HEAD"
        series.PatientPosition = "HFS"
        series.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        series.ScanningSequence, series.SequenceVariant, series.ScanOptions = "SE", "NONE", ""
        series.MRAcquisitionType = "2D"
        series.RepetitionTime, series.EchoTime, series.EchoTrainLength = "500", "12", "1"
        series.MagneticFieldStrength = "1.5"
        series.FrameOfReferenceUID = f"{series.StudyInstanceUID}.2"
        series.PositionReferenceIndicator = ""
        z, y, x = self.head.spacing_mm
        series.SliceThickness = series.SpacingBetweenSlices = f"{z:g}"
        series.PixelSpacing = [f"{y:g}", f"{x:g}"]
        series.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        series.PhotometricInterpretation = "MONOCHROME2"
        bright = float(np.percentile(self.head.values, 99))
        series.WindowCenter, series.WindowWidth = f"{bright / 2:.0f}", f"{bright:.0f}"
        return series


def write(folder: Path, images: Iterator[Dataset] | Sequence[Dataset]) -> list[Path]:
    """Write images as DICOM files into an existing folder."""
    paths = []
    for number, image in enumerate(images, start=1):
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        paths.append(folder / f"{image.Modality.lower()}-{number:04}.dcm")
        image.save_as(paths[-1], enforce_file_format=True)
    return paths


def _outgoing(image: Dataset) -> Outgoing:
    return Outgoing(
        sop_class_uid=image.SOPClassUID,
        sop_instance_uid=image.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        data=encoded(image),
    )


def _common(number: int, description: str) -> Dataset:
    """Make the patient, study, series and equipment that every image names."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20261121"
    header.StudyTime = header.SeriesTime = header.AcquisitionTime = header.ContentTime = "090000"
    header.AccessionNumber = f"MADE{number}"
    header.Manufacturer = "Readside project"
    header.ReferringPhysicianName = ""
    header.StudyDescription = description
    header.PatientName = "Made-up^Patient"
    header.PatientID = f"MADE-{number}"
    header.PatientBirthDate = "19500101"
    header.PatientSex = "O"
    header.StudyInstanceUID = f"{_UID_ROOT}.{number}.1"
    header.SeriesInstanceUID = f"{header.StudyInstanceUID}.1"
    header.StudyID = str(number)
    header.SeriesNumber = header.AcquisitionNumber = 1
    return header


def _add_detector(image: Dataset, *, inverted: bool) -> None:
    """Add what a DX image says about its detector, anatomy and values (PS3.3 C.8.11)."""
    image.PresentationIntentType = "FOR PRESENTATION"
    image.ImageLaterality = "U"
    image.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]
    image.ViewCodeSequence = [_code("399348003", "SCT", "postero-anterior")]
    image.DetectorType = "SCINTILLATOR"
    image.PositionerType = "NONE"
    image.PixelIntensityRelationship = "LOG"
    image.PixelIntensityRelationshipSign = 1 if inverted else -1
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "0", "1", "US"
    image.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    image.LossyImageCompression = "00"
    image.BurnedInAnnotation = "NO"
    image.AcquisitionContextSequence = []
    image.WindowCenter, image.WindowWidth = "2048", "4096"


def _add_pixels(image: Dataset, pixels: npt.NDArray[Any], *, bits: int) -> None:
    image.SamplesPerPixel = 1
    image.Rows, image.Columns = pixels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, bits, bits - 1
    image.PixelRepresentation = 0
    image.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
