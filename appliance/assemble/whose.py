"""Whose a study is, and when it was made: read from its bytes at the moment that it is needed.

Promises: two studies are of one patient only where Patient ID and issuer are the same, and neither birth date
nor sex contradicts it.
Never: keeps what it read, or writes it into a representation, a log or a row (P11).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from pydicom.dataset import Dataset

from appliance.assemble.attributes import read_header_at, text_of
from appliance.core.instance import Instance
from appliance.ledger.results import ResultObject
from appliance.spool.store import Spool
from dicom_node.earlier import Patient, day_of, time_of


@dataclass(frozen=True, kw_only=True)
class Whose:
    """The patient of a study, and its Study Date and Time; what cannot be read is None or empty."""

    patient: Patient = field(repr=False)
    born: str = field(repr=False)
    sex: str = field(repr=False)
    day: date | None
    time: str
    modality: str

    def same_patient(self, other: Whose) -> bool:
        """Tell whether two studies are surely of one patient; silence about the ID is none."""
        alike = self.patient == other.patient and bool(self.patient.patient_id)
        born_differently = bool(self.born and other.born) and self.born != other.born
        return alike and not born_differently and {self.sex, other.sex} != {"F", "M"}

    def later_than(self, day: date | None, time: str) -> bool:
        """Tell whether this study is surely later; on the same day by the times, where both are known."""
        if self.day is None or day is None or day != self.day:
            return self.day is not None and day is not None and day < self.day
        return bool(time and self.time) and time < self.time


def whose_images(instance: Instance, spool: Spool) -> Whose:
    """Read it from an image that is kept."""
    length = instance.location.length if instance.pixel_offset is None else instance.pixel_offset
    return _read(read_header_at(instance.location, length, spool))


def whose_result(made: ResultObject, spool: Spool) -> Whose:
    """Read it from an object of a result, which has it from its images byte for byte."""
    return _read(read_header_at(made.location, made.location.length, spool))


def _read(header: Dataset) -> Whose:
    patient = Patient(patient_id=text_of(header, "PatientID"), issuer=text_of(header, "IssuerOfPatientID"))
    return Whose(
        patient=patient,
        born=text_of(header, "PatientBirthDate"),
        sex=text_of(header, "PatientSex"),
        day=day_of(text_of(header, "StudyDate")),
        time=time_of(text_of(header, "StudyTime")),
        modality=text_of(header, "Modality"),
    )
