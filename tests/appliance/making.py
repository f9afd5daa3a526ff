"""Plausible rows and bytes for tests."""

from __future__ import annotations

import itertools
from typing import Any

from pydicom.dataset import Dataset

from appliance.core.instance import Instance, Location
from appliance.demo.study import encoded
from appliance.spool.record import Record
from appliance.spool.store import Spool
from dicom_node.limits import Limits
from dicom_node.memory import Held
from dicom_node.preflight import inspect, scan

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
_NUMBERS = itertools.count(1)


def data_set(**changes: Any) -> Dataset:
    """A small CT slice; every call gives another SOP Instance UID unless one is named."""
    number = next(_NUMBERS)
    header = Dataset()
    header.SOPClassUID = CT
    header.SOPInstanceUID = f"1.2.3.{number}"
    header.StudyInstanceUID = "1.2.3.0.1"
    header.SeriesInstanceUID = "1.2.3.0.1.1"
    header.PatientID = "P1"
    header.Modality = "CT"
    header.SeriesNumber = 1
    header.InstanceNumber = number
    header.Rows = header.Columns = 2
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = 0
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.PixelSpacing = ["1", "1"]
    header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    header.ImagePositionPatient = ["0", "0", str(number)]
    header.RescaleSlope, header.RescaleIntercept = "1", "0"
    for keyword, value in changes.items():
        setattr(header, keyword, value)
    header.add_new("PixelData", "OW", b"\1\0\2\0\3\0\4\0")
    return header


def arrival(**changes: Any) -> Held:
    """A small CT slice as the listener hands it over."""
    made = data_set(**changes)
    data = encoded(made)
    header = inspect(
        data,
        scan(data, EXPLICIT_LE, Limits()),
        sop_class_uid=made.SOPClassUID,
        sop_instance_uid=made.SOPInstanceUID,
    )
    return Held(data=data, header=header, calling_ae="PACS", called_ae="READSIDE", peer_name="pacs")


def instance(
    number: int, *, digest: str = "a", study: str = "1.9", series: str = "1.9.1", **facts: Any
) -> Instance:
    """An instance row without bytes behind it."""
    return Instance(
        sop_class_uid=CT,
        sop_instance_uid=f"{series}.{number}",
        study_uid=study,
        series_uid=series,
        transfer_syntax_uid=EXPLICIT_LE,
        location=Location(file=f"kept/0/{series}.{number}.{digest}", offset=1024, length=10),
        digest=f"sha256:{digest}",
        pixel_offset=4,
        pixel_bytes=6,
        facts={"PatientID": "P1", "Modality": "CT"} | facts,
    )


def kept(spool: Spool, arriving: Held, *, at: float) -> Location:
    """Put the bytes of an arrival into a spool; no row names them."""
    header = arriving.header
    with spool.begin() as writing:
        writing.write(arriving.data)
        return writing.commit(
            Record(
                sop_class_uid=header.sop_class_uid,
                sop_instance_uid=header.sop_instance_uid,
                transfer_syntax_uid=header.transfer_syntax_uid,
                calling_ae="PACS",
                received_at=at,
                length=writing.length,
                digest=writing.digest,
            )
        )
