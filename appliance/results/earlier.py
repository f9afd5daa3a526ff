"""What the same model measured in an earlier study of the patient, quoted in the report of the study at hand.

TID 1500 lets a report be extended, and PS3.16 has the parts: a section "Previous Findings" (CID 7001) whose
observation context is a quotation (TID 1000) with the earlier report as its source, the study of that
(TID 1005) and its date, and measurement groups (TID 1501) at their time point (TID 1502) under the tracking
UID of the group that they are compared with. It stands beside "Imaging Measurements" and not in it: what a
viewer draws there are numbers of this study (R2, R6).
Promises: only numbers of the same name, unit and label; lesions are not matched, for they are numbered by
size. Every number is that of the earlier report, with its date and the version of the model.
Never: a difference, or a judgement on one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CompositeContentItem,
    ContainerContentItem,
    ContentSequence,
    DateContentItem,
    MeasurementsAndQualitativeEvaluations,
    RelationshipTypeValues,
    TimePointContext,
    TrackingIdentifier,
    UIDRefContentItem,
)
from highdicom.sr import Measurement as NumericItem
from pydicom.sr.codedict import codes

from appliance.results import coding, wording
from appliance.results.context import Earlier, ResultContext
from appliance.results.subjects import WHOLE_SERIES, Kind, Subject, tracking_uid
from models.findings import Findings, Measurement, Withheld

# Ten significant digits, as the earlier report has them.
_VALUE_FORMAT = ".10g"
_OF_LABELS = (Kind.SEGMENT, Kind.ANALYSED)
_CONTEXT = RelationshipTypeValues.HAS_OBS_CONTEXT


def full_name(found: Measurement | Withheld) -> str:
    """Name a measurement with its derivation, as rows of results do."""
    if found.derivation is None:
        return found.name.meaning
    return f"{found.derivation.meaning} {found.name.meaning}"


def in_common(earlier: Earlier, measurements: Sequence[Measurement]) -> list[tuple[Measurement, float]]:
    """Return those measurements that the earlier result has too, each with its value there."""
    keyed = ((found, (found.segment, full_name(found), found.unit.value)) for found in measurements)
    return [(found, earlier.values[key]) for found, key in keyed if key in earlier.values]


def previous_findings(context: ResultContext, subjects: Sequence[Subject]) -> list[ContainerContentItem]:
    """Make a section for each earlier study that has numbers in common with the subjects of a report."""
    made = []
    for earlier in context.earlier:
        groups = [group for one in subjects for group in _groups(context, earlier, one)]
        if groups:
            made.append(_section(earlier, groups))
    return made


def lines(context: ResultContext, findings: Findings) -> list[str]:
    """Write the earlier numbers for a reader, a line for each study and label."""
    return [
        f"{_dated(earlier)}, {wording.plain(label or WHOLE_SERIES)}: {'; '.join(numbers)}"
        for earlier in context.earlier
        for label, found in wording.by_label(findings.measurements).items()
        if (numbers := [_number(one, value) for one, value in in_common(earlier, found)])
    ]


def standing(context: ResultContext, findings: Findings) -> list[str]:
    """Say with which earlier studies a result is compared, and which have nothing in common with it."""
    said = []
    for earlier in context.earlier:
        by = "the same version" if earlier.same_version else f"version {earlier.model_version}"
        if in_common(earlier, findings.measurements):
            said.append(f"Compared with the study of {earlier.day:%Y-%m-%d}, analysed by {by} of this model.")
        else:
            said.append(
                f"Nothing to compare with in the study of {earlier.day:%Y-%m-%d}, analysed by {by} of this"
                " model: no measurement is in both."
            )
    return [wording.plain(line) for line in said]


def _dated(earlier: Earlier) -> str:
    version = "" if earlier.same_version else f" by version {wording.plain(earlier.model_version)}"
    return f"On {earlier.day:%Y-%m-%d}{version}"


def _number(found: Measurement, value: float) -> str:
    name, _, unit = wording.measurement_cells(found)
    return f"{name}: {wording.number(value)} {unit}".rstrip()


def _section(
    earlier: Earlier, groups: Sequence[MeasurementsAndQualitativeEvaluations]
) -> ContainerContentItem:
    box = ContainerContentItem(
        name=codes.DCM.PreviousFindings, relationship_type=RelationshipTypeValues.CONTAINS
    )
    report = earlier.report
    box.ContentSequence = ContentSequence(
        [
            CodeContentItem(codes.DCM.QuotationMode, codes.DCM.Document, _CONTEXT),
            CompositeContentItem(
                codes.DCM.QuotedSource, report.sop_class_uid, report.sop_instance_uid, _CONTEXT
            ),
            UIDRefContentItem(codes.DCM.ProcedureStudyInstanceUID, earlier.study_uid, _CONTEXT),
            DateContentItem(codes.DCM.StudyDate, earlier.day, _CONTEXT),
            *(item for group in groups for item in group),
        ]
    )
    return box


def _groups(
    context: ResultContext, earlier: Earlier, subject: Subject
) -> Iterator[MeasurementsAndQualitativeEvaluations]:
    """Make the group of one subject; none where it is of a lesion, or has no number in common."""
    common = in_common(earlier, subject.measurements) if subject.kind in _OF_LABELS else []
    if not common:
        return
    who = context.provenance
    yield MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=tracking_uid(context, subject.kind, subject.name), identifier=subject.name
        ),
        time_point_context=TimePointContext(time_point=f"{earlier.day:%Y-%m-%d}"),
        finding_type=coding.concept(subject.finding) if subject.finding else None,
        algorithm_id=AlgorithmIdentification(
            name=wording.plain(who.model_name), version=wording.plain(earlier.model_version)
        ),
        measurements=[_numeric(found, value) for found, value in common],
    )


def _numeric(found: Measurement, value: float) -> NumericItem:
    return NumericItem(
        name=coding.concept(found.name),
        value=float(format(value, _VALUE_FORMAT)),
        unit=coding.concept(found.unit),
        derivation=coding.concept(found.derivation) if found.derivation else None,
        method=coding.concept(found.method) if found.method else None,
    )
