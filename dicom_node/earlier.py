"""Ask a peer which studies of one patient it has from some days: C-FIND by Patient ID (PS3.4 C.6.2.1).

Promises: an answer is whole or there is none. A study is the patient's only where the peer says the same
Patient ID, and no other issuer of it; what a peer adds that was not asked for is left out.
Never: writes who the patient is into a log, an error or a representation; decides which study is of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import structlog
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation
from dicom_node.facts import FactReader
from dicom_node.find import NoAnswer, find_contexts, matches
from dicom_node.limits import Limits
from dicom_node.values import Peer, Uid

log = structlog.get_logger(__name__)

_STUDY_DATE: Final = 0x00080020
_STUDY_TIME: Final = 0x00080030
_MODALITIES_IN_STUDY: Final = 0x00080061
_STUDY_DESCRIPTION: Final = 0x00081030
_PATIENT_ID: Final = 0x00100020
_ISSUER_OF_PATIENT_ID: Final = 0x00100021
_STUDY_INSTANCE_UID: Final = 0x0020000D
_NUMBER_OF_STUDY_SERIES: Final = 0x00201206
_NUMBER_OF_STUDY_INSTANCES: Final = 0x00201208
# PS3.4 C.2.2.2: a wildcard would ask for other patients, and a backslash for several at once.
_NOT_ASKED_FOR: Final = frozenset("*?\\")
_UTF_8: Final = "ISO_IR 192"


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Who a study is of: Patient ID (0010,0020) and its issuer (0010,0021), empty where that is not known."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)

    @property
    def can_be_asked_for(self) -> bool:
        """Tell whether a query by this ID could mean nobody else."""
        return bool(self.patient_id) and _NOT_ASKED_FOR.isdisjoint(self.patient_id + self.issuer)


@dataclass(frozen=True, kw_only=True)
class EarlierStudy:
    """A study of the patient that a peer has.

    Attributes:
        day: Study Date (0008,0020).
        time: Study Time (0008,0030) as HHMMSS; empty where the peer does not say.
        issuer: of the Patient ID, as the peer says; empty where it does not.
        said: what else it says of the study, by keyword.
    """

    study_uid: str
    day: date
    time: str
    issuer: str = field(repr=False)
    said: Mapping[str, Any] = field(repr=False)


def find_earlier(
    peer: Peer, *, calling_ae: str, patient: Patient, first: date, last: date, modality: str, limits: Limits
) -> list[EarlierStudy] | None:
    """Return the patient's studies of one modality between two days, both included; None without an answer.

    Where the issuer is known it is asked for; a peer that has nothing under it may not know issuers at all,
    and is asked once more without. A study of which the peer does not say the modalities is among them.
    """
    assert patient.can_be_asked_for, "who can be meant by it is looked at before"
    wanted = _wanted(patient, f"{first:%Y%m%d}-{last:%Y%m%d}", modality)
    try:
        with dial(peer, calling_ae=calling_ae, contexts=find_contexts(), limits=limits) as line:
            found = _found(line, wanted, patient, modality, limits)
            if not found and patient.issuer:
                wanted.IssuerOfPatientID = ""
                found = _found(line, wanted, patient, modality, limits)
    except (NoAssociation, NoAnswer) as failure:
        reason = failure.reason if isinstance(failure, NoAssociation) else str(failure)
        log.warning(f"find.{reason}", peer=peer.name)
        return None
    within = [study for study in found.values() if first <= study.day <= last]
    log.info("find.earlier", peer=peer.name, studies=len(within))
    return within


def _wanted(patient: Patient, days: str, modality: str) -> Dataset:
    """Return the identifier of a query at the level of studies."""
    wanted = Dataset()
    if not (patient.patient_id + patient.issuer).isascii():
        wanted.SpecificCharacterSet = _UTF_8
    wanted.QueryRetrieveLevel = "STUDY"
    # As the images have it, however odd: a judgement on it would quote it.
    with disable_value_validation():
        wanted.PatientID = patient.patient_id
        wanted.IssuerOfPatientID = patient.issuer
    wanted.StudyDate = days
    wanted.StudyTime = ""
    wanted.StudyInstanceUID = ""
    wanted.StudyDescription = ""
    wanted.ModalitiesInStudy = modality
    wanted.add_new(_NUMBER_OF_STUDY_SERIES, "IS", None)
    wanted.add_new(_NUMBER_OF_STUDY_INSTANCES, "IS", None)
    return wanted


def _found(
    line: Line, wanted: Dataset, patient: Patient, modality: str, limits: Limits
) -> dict[str, EarlierStudy]:
    studies = (_study(reader, patient) for reader in matches(line, wanted, limits=limits))
    return {study.study_uid: study for study in studies if study is not None and _is_of(study, modality)}


def _is_of(study: EarlierStudy, modality: str) -> bool:
    kinds = study.said.get("ModalitiesInStudy")
    return not modality or not kinds or modality in kinds


def _study(reader: FactReader, patient: Patient) -> EarlierStudy | None:
    """Return the study of one response; None where it is of somebody else, or nobody can tell when it was."""
    issuer = reader.text(_ISSUER_OF_PATIENT_ID, "LO") or ""
    if reader.text(_PATIENT_ID, "LO") != patient.patient_id:
        return None
    if issuer and patient.issuer and issuer != patient.issuer:
        return None
    day = day_of(reader.text(_STUDY_DATE, "DA"))
    try:
        uid = str(Uid.parse(reader.text(_STUDY_INSTANCE_UID, "UI") or ""))
    except ValueError:
        return None
    if day is None:
        return None
    return EarlierStudy(
        study_uid=uid,
        day=day,
        time=time_of(reader.text(_STUDY_TIME, "TM")),
        issuer=issuer,
        said=_said(reader),
    )


def _said(reader: FactReader) -> dict[str, Any]:
    """Return what a condition may ask of a study; a missing attribute is a missing key."""
    kinds = [kind.strip() for kind in (reader.text(_MODALITIES_IN_STUDY, "CS") or "").split("\\")]
    said = {
        "ModalitiesInStudy": [kind for kind in kinds if kind] or None,
        "StudyDescription": reader.text(_STUDY_DESCRIPTION, "LO"),
        "NumberOfStudyRelatedSeries": reader.integer(_NUMBER_OF_STUDY_SERIES),
        "NumberOfStudyRelatedInstances": reader.integer(_NUMBER_OF_STUDY_INSTANCES),
    }
    return {keyword: value for keyword, value in said.items() if value is not None}


def day_of(text: str | None) -> date | None:
    """Return the day that a DA value names (PS3.5 6.2), or None."""
    if text is None or len(text) != 8 or not (text.isascii() and text.isdigit()):
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def time_of(text: str | None) -> str:
    """Return a TM value as HHMMSS (PS3.5 6.2), what is left out as zero; empty where it cannot be read."""
    digits = (text or "").split(".")[0].replace(":", "")
    if len(digits) not in (2, 4, 6) or not (digits.isascii() and digits.isdigit()):
        return ""
    return digits.ljust(6, "0")
