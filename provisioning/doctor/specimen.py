"""A marked object of no patient, that is stored in a PACS and has to find its way back.

Promises: every name in it says that it is a trial; its identifiers are new each time.
Never: looks like an image of somebody.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from appliance.core.clock import SYSTEM, as_datetime
from appliance.core.outputs import SOP_CLASSES
from dicom_node.send import Outgoing
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

PATIENT: Final = "READSIDE^TRIAL"
PATIENT_ID: Final = "READSIDE-DOCTOR"
_SAYS: Final = "READSIDE TRIAL OBJECT - MAY BE DELETED"
_PICTURE: Final = SOP_CLASSES["sc"]
# What it may be, the plainest first; each of these classes is also what results are sent as.
CLASSES: Final = (_PICTURE, SOP_CLASSES["text-sr"], SOP_CLASSES["sr"])
_SIDE: Final = 64


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One object, encoded, and what it is asked for by."""

    study_uid: str
    series_uid: str
    outgoing: Outgoing


def specimen(accepted: Collection[str]) -> Specimen | None:
    """Make an object of a class that a peer takes; None when it takes none of them."""
    sop_class = next((uid for uid in CLASSES if uid in accepted), None)
    if sop_class is None:
        return None
    study, series, instance = (_uid() for _ in range(3))
    data = _common(sop_class, (study, series, instance))
    data.update(_picture() if sop_class == _PICTURE else _report())
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, False
    write_dataset(encoded, data)
    outgoing = Outgoing(
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
        data=encoded.getvalue(),
    )
    return Specimen(study_uid=study, series_uid=series, outgoing=outgoing)


def _uid() -> str:
    """Return a new identifier (PS3.5 B.2)."""
    return f"2.25.{secrets.randbits(122)}"


def _common(sop_class: str, uids: tuple[str, str, str]) -> Dataset:
    """Return what every object has (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1, C.12.1)."""
    now = as_datetime(SYSTEM.now())
    data = Dataset()
    data.SOPClassUID = sop_class
    data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = uids
    data.PatientName, data.PatientID = PATIENT, PATIENT_ID
    data.PatientBirthDate = data.PatientSex = data.ReferringPhysicianName = ""
    data.StudyDate = data.ContentDate = f"{now:%Y%m%d}"
    data.StudyTime = data.ContentTime = f"{now:%H%M%S}"
    data.StudyID = data.AccessionNumber = ""
    data.StudyDescription = data.SeriesDescription = _SAYS
    data.Manufacturer = data.ManufacturerModelName = "Readside"
    data.SeriesNumber = data.InstanceNumber = 1
    return data


def _picture() -> Dataset:
    """Return a small chequered square (PS3.3 A.8.1)."""
    data = Dataset()
    data.Modality, data.ConversionType = "OT", "WSD"
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.PatientOrientation = ""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows = data.Columns = _SIDE
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.BurnedInAnnotation = "NO"
    data.PixelData = bytes(
        255 * ((row // 8 + column // 8) % 2) for row in range(_SIDE) for column in range(_SIDE)
    )
    return data


def _report() -> Dataset:
    """Return a report whose one sentence says what it is (PS3.3 A.35.2)."""
    data = Dataset()
    data.Modality = "SR"
    data.CompletionFlag, data.VerificationFlag = "COMPLETE", "UNVERIFIED"
    data.ReferencedPerformedProcedureStepSequence = data.PerformedProcedureCodeSequence = []
    data.ValueType, data.ContinuityOfContent = "CONTAINER", "SEPARATE"
    data.ConceptNameCodeSequence = [_coded("18748-4", "LN", "Diagnostic imaging report")]
    text = Dataset()
    text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
    text.ConceptNameCodeSequence = [_coded("121106", "DCM", "Comment")]
    text.TextValue = _SAYS
    data.ContentSequence = [text]
    return data


def _coded(value: str, scheme: str, meaning: str) -> Dataset:
    data = Dataset()
    data.CodeValue, data.CodingSchemeDesignator, data.CodeMeaning = value, scheme, meaning
    return data
