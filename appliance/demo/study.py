"""A CT study of a made-up patient, encoded as a scanner would send it.

Also used by the benchmark and by tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_node.send import Outgoing

_INTERCEPT = -1024
_UID_ROOT = "2.25.3306131517"


@dataclass(frozen=True, kw_only=True)
class MadeStudy:
    """What was made: stored values int16 HU (z, y, x), spacing (z, y, x) in mm, and the study's own UID."""

    hu: npt.NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    number: int

    @property
    def study_uid(self) -> str:
        """Return the Study Instance UID."""
        return f"{_UID_ROOT}.{self.number}.1"

    @property
    def series_uid(self) -> str:
        """Return the Series Instance UID."""
        return f"{self.study_uid}.1"

    def instances(self) -> Iterator[Outgoing]:
        """Yield the study's instances, encoded in Explicit VR Little Endian, one slice at a time."""
        common = self._common()
        for index in range(len(self.hu)):
            slice_ = self._slice(common, index)
            yield Outgoing(
                sop_class_uid=CTImageStorage,
                sop_instance_uid=slice_.SOPInstanceUID,
                transfer_syntax_uid=ExplicitVRLittleEndian,
                data=encoded(slice_),
            )

    def _common(self) -> Dataset:
        header = Dataset()
        header.SpecificCharacterSet = "ISO_IR 192"
        header.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        header.SOPClassUID = CTImageStorage
        header.StudyDate = header.SeriesDate = header.ContentDate = "20261121"
        header.StudyTime = header.SeriesTime = header.ContentTime = "090000"
        header.AccessionNumber = f"DEMO{self.number}"
        header.Modality = "CT"
        header.Manufacturer = "Readside project"
        header.ReferringPhysicianName = ""
        header.StudyDescription = "Made-up head"
        header.SeriesDescription = "STD HEAD PHANTOM"
        header.PatientName = "Made-up^Patient"
        header.PatientID = f"DEMO-{self.number}"
        header.PatientBirthDate = "19500101"
        header.PatientSex = "O"
        header.BodyPartExamined = "HEAD"
        header.KVP = "120"
        header.PatientPosition = "HFS"
        header.StudyInstanceUID = self.study_uid
        header.SeriesInstanceUID = self.series_uid
        header.StudyID = str(self.number)
        header.SeriesNumber = 1
        header.AcquisitionNumber = 1
        header.FrameOfReferenceUID = f"{self.study_uid}.2"
        header.PositionReferenceIndicator = ""
        header.SliceThickness = f"{self.spacing_mm[0]:g}"
        return header

    def _slice(self, common: Dataset, index: int) -> Dataset:
        slice_ = Dataset(common)
        rows, columns = self.hu.shape[1:]
        z, y, x = self.spacing_mm
        slice_.SOPInstanceUID = f"{self.series_uid}.{index + 1}"
        slice_.InstanceNumber = index + 1
        corner = (-x * (columns - 1) / 2, -y * (rows - 1) / 2, z * index)
        slice_.ImagePositionPatient = [f"{value:.6g}" for value in corner]
        slice_.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
        slice_.PixelSpacing = [f"{y:g}", f"{x:g}"]
        slice_.SamplesPerPixel = 1
        slice_.PhotometricInterpretation = "MONOCHROME2"
        slice_.Rows, slice_.Columns = rows, columns
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
        slice_.PixelRepresentation = 0
        slice_.WindowCenter, slice_.WindowWidth = "40", "120"
        slice_.RescaleIntercept, slice_.RescaleSlope = str(_INTERCEPT), "1"
        slice_.RescaleType = "HU"
        stored = (self.hu[index].astype(np.int32) - _INTERCEPT).clip(0).astype("<u2")
        slice_.add_new("PixelData", "OW", stored.tobytes())
        return slice_


def encoded(dataset: Dataset) -> bytes:
    """Return a data set's bytes in Explicit VR Little Endian, without preamble and file meta information."""
    stream = BytesIO()
    writer = DicomIO(stream)
    writer.is_little_endian, writer.is_implicit_VR = True, False
    write_dataset(writer, dataset)
    return stream.getvalue()
