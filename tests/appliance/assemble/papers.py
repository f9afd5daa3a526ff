"""Documents as workstations make them of the box's reports: successors, citations, rejection notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import Comprehensive3DSR
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from appliance.results.context import EncodedObject, ResultContext
from appliance.results.encode import encode
from tests.appliance.results import given

# Must be found nowhere but in the documents themselves.
READER = "READER^ANNA"
ORGANIZATION = "Reading Room East"


def our_result(
    context: ResultContext | None = None,
    *,
    outputs: Sequence[str] = ("sr", "seg", "sc"),
    findings=given.lesions,
) -> list[EncodedObject]:
    """Encode a result with two lesions, as the box sends it."""
    made = given.series()
    return encode(
        context or given.context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings(made.volume),
        outputs=frozenset(outputs),
    )


@cache
def two_lesions() -> tuple[EncodedObject, ...]:
    """Encode the result that most tests start from, once."""
    return tuple(our_result())


def report_of(made: Sequence[EncodedObject]) -> Dataset:
    """Read the report of a result."""
    return given.read(given.only(made, "sr")[0])


def evidence_of(report: Dataset) -> list[Dataset]:
    """Make a header for every instance that a report lists as its evidence."""
    found = []
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            found += [
                header(
                    str(item.ReferencedSOPInstanceUID),
                    str(item.ReferencedSOPClassUID),
                    report=report,
                    series_uid=str(series.SeriesInstanceUID),
                )
                for item in series.ReferencedSOPSequence
            ]
    return found


def header(instance_uid: str, class_uid: str, *, report: Dataset, series_uid: str = "") -> Dataset:
    """Make the header of an object of the report's study."""
    made = Dataset()
    made.SOPInstanceUID, made.SOPClassUID = instance_uid, class_uid
    made.SeriesInstanceUID = series_uid or str(report.SeriesInstanceUID)
    made.StudyInstanceUID = report.StudyInstanceUID
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"):
        setattr(made, keyword, report.get(keyword))
    for keyword in ("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        setattr(made, keyword, report.get(keyword))
    return made


def content_of(report: Dataset) -> Dataset:
    """Copy a report's content tree, root item first."""
    root = Dataset()
    for keyword in (
        "ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence",
        "ContentSequence",
    ):  # fmt: skip
        root[keyword] = deepcopy(report[keyword])
    return root


def groups(root: Dataset) -> list[Dataset]:
    """Return the measurement groups of a content tree."""
    (measurements,) = [item for item in root.ContentSequence if code_of(item) == "126010"]
    return list(measurements.ContentSequence)


def keep_groups(root: Dataset, kept: Sequence[Dataset]) -> None:
    """Put other measurement groups into a content tree."""
    (measurements,) = [item for item in root.ContentSequence if code_of(item) == "126010"]
    measurements.ContentSequence = list(kept)


def code_of(item: Dataset) -> str:
    """Return the value of an item's concept name."""
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def tracking_uid(group: Dataset) -> str:
    """Return the Tracking Unique Identifier of a group."""
    return str(next(item.UID for item in group.ContentSequence if code_of(item) == "112040"))


def change_a_number(group: Dataset, factor: float = 1.5) -> None:
    """Measure anew, as a reader who draws the outline differently does."""
    number = next(item for item in group.ContentSequence if item.ValueType == "NUM")
    measured = number.MeasuredValueSequence[0]
    measured.NumericValue = format(float(measured.NumericValue) * factor, ".8g")
    measured.pop("FloatingPointValue", None)


def reviewed(
    report: Dataset,
    root: Dataset | None = None,
    *,
    verified: bool = True,
    follows: bool = True,
    cites: Sequence[Dataset] = (),
) -> Dataset:
    """Make the document a workstation stores when its reader is done with a report, by highdicom."""
    made = Comprehensive3DSR(
        evidence=[*evidence_of(report), *cites],
        content=root or content_of(report),
        series_instance_uid=generate_uid(),
        series_number=77,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Workstation maker",
        is_complete=True,
        is_final=verified,
        is_verified=verified,
        institution_name="A hospital",
        verifying_observer_name=READER if verified else None,
        verifying_organization=ORGANIZATION if verified else None,
        performed_procedure_codes=None,
    )
    if follows:
        made.PredecessorDocumentsSequence = _reference(report)
    if verified:
        made.VerifyingObserverSequence[0].VerificationDateTime = datetime(2026, 11, 21, 10, tzinfo=UTC)
    return made


def _reference(report: Dataset) -> list[Dataset]:
    item, series, study = Dataset(), Dataset(), Dataset()
    item.ReferencedSOPClassUID = report.SOPClassUID
    item.ReferencedSOPInstanceUID = report.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = report.SeriesInstanceUID, [item]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = report.StudyInstanceUID, [series]
    return [study]


def selection(report: Dataset, title=codes.DCM.RejectedForQualityReasons) -> Dataset:
    """Make a Key Object Selection that names a report, by highdicom."""
    named = header(str(report.SOPInstanceUID), str(report.SOPClassUID), report=report)
    content = KeyObjectSelection(document_title=title, referenced_objects=[named])
    return KeyObjectSelectionDocument(
        evidence=[named],
        content=content,
        series_instance_uid=generate_uid(),
        series_number=78,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="Workstation maker",
    )


def walk(item: Dataset) -> Iterator[Dataset]:
    """Yield every content item below an item."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def encoded(made: Dataset) -> bytes:
    """Encode a data set as the wire carries it, in Explicit VR Little Endian."""
    target = DicomBytesIO()
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, made)
    return target.getvalue()
