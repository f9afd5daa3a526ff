"""The primary object: a Comprehensive 3D SR after TID 1500 (PS3.16 TID 1500).

Promises: every group can be drawn by a viewer that knows SCOORD only; PRELIMINARY and UNVERIFIED; every
number has its model; what was not measured is said in words.
Never: a number for a withheld measurement; a group without coordinates.

What was measured in a viewer (OHIF 3.13.2), by the numbers this room uses:
R3   a group has a tracking identifier and UID, and that UID stands before every other UID;
R4   groups with one tracking UID are merged;
R6   one group without a SCOORD on an image of the study, and the whole report is an empty viewport;
R7   only the first SCOORD of a group is drawn;
R9   of a NUM only meaning, value and unit are drawn (0 as nothing), of a group not even its finding;
R11  any identifier will do for a point or a rectangle, so it can be a human one;
R12  a group becomes a measurement of the viewer only when its first NUM holds the shape;
R13  best shown is a rectangle of five points in the group and again under each NUM;
R16  the Image Library may be short: only images that are drawn on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr import Measurement as NumericItem
from pydicom import Dataset
from pydicom.sr.codedict import codes

from appliance.results import coding, wording
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.headers import evidence, stub
from appliance.results.slices import SlicePlace, is_multiframe
from appliance.results.subjects import Kind, Subject, tracking_uid
from models.findings import Findings, Measurement

LABEL = Label(output="sr", title="sr")

_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
# Ten significant digits: more than any measurement has, and always a valid DS.
_VALUE_FORMAT = ".10g"
# OHIF 3.13.2 puts "L: ", "W: " and nothing at all in the place of exactly these meanings: "L: : 25.27 mm".
_OTHERWISE = {"Long Axis": "Long axis", "Short Axis": "Short axis", "Length": "length"}
_LIBRARY_KEYWORDS = (
    "Rows", "Columns", "PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip

Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations


def report(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    places: Sequence[SlicePlace],
    findings: Findings,
    subjects: Sequence[Subject],
    seg: Reference | None,
) -> EncodedObject:
    """Encode findings as a TID 1500 report.

    Args:
        context: who made it, and its UIDs.
        sources: headers of the images the model saw.
        places: the image behind each slice of the volume.
        findings: what the model found.
        subjects: the groups to write, at least one.
        seg: the segmentation object of this result; None when there is none.
    """
    stubs = [stub(source) for source in sources]
    groups = [_group(context, subject, places=places, source=stubs[0], seg=seg) for subject in subjects]
    shown = {places[subject.slice_index].sop_instance_uid for subject in subjects}
    tree = MeasurementReport(
        observation_context=observation_context(context),
        procedure_reported=coding.procedure(stubs[0].Modality),
        imaging_measurements=groups,
        referenced_images=_library([header for header in stubs if header.SOPInstanceUID in shown]),
    )
    tree[0].ContentSequence.append(_words(context, findings))
    made = Comprehensive3DSR(
        evidence=[*stubs, *([_header(seg)] if seg else [])],
        content=tree[0],
        is_complete=True,
        **common(context, LABEL),
    )
    predecessors(made, context)
    coding.explain_schemes(made)
    return finish(made, context, LABEL, source=sources[0])


def observation_context(context: ResultContext) -> ObservationContext:
    """Name the box as the observer (TID 1001, 1004)."""
    who = context.provenance
    device = DeviceObserverIdentifyingAttributes(
        uid=who.device_uid,
        name=wording.plain(wording.at_site(who.product, who)),
        manufacturer_name=wording.plain(who.manufacturer),
        model_name=wording.plain(f"{who.product} {who.product_version}"),
    )
    return ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device))


def predecessors(made: Dataset, context: ResultContext) -> None:
    """Name the superseded reports as predecessor documents (PS3.3 C.17.2.2)."""
    old = []
    for reference in context.supersedes:
        if reference.sop_class_uid.startswith(_SR_CLASSES):
            old.append(_header(reference))
    if old:
        made.PredecessorDocumentsSequence = evidence(old)


def text_item(name: CodedConcept, text: str) -> TextContentItem:
    """Make a contained TEXT item."""
    return TextContentItem(name=name, value=text, relationship_type=RelationshipTypeValues.CONTAINS)


def _group(
    context: ResultContext,
    subject: Subject,
    *,
    places: Sequence[SlicePlace],
    source: Dataset,
    seg: Reference | None,
) -> Group:
    """Write one measurement group; the tracking UID comes first of all UIDs (R3)."""
    place = places[subject.slice_index]
    shared: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=tracking_uid(context, subject.kind, subject.name), identifier=subject.name
        ),
        "finding_type": coding.concept(subject.finding) if subject.finding else None,
        "algorithm_id": coding.algorithm(context),
        "measurements": _numbers(subject, slices=len(places)),
    }
    if subject.kind is Kind.ANALYSED:
        made: Group = MeasurementsAndQualitativeEvaluations(
            **shared, qualitative_evaluations=_evaluations(subject)
        )
    elif subject.segment is not None and seg is not None:
        segment = ReferencedSegment(
            sop_class_uid=seg.sop_class_uid,
            sop_instance_uid=seg.sop_instance_uid,
            segment_number=subject.segment.number,
            source_series=SourceSeriesForSegmentation(source.SeriesInstanceUID),
        )
        made = VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **shared)
    else:
        region = ImageRegion("POLYLINE", subject.points, _source_image(place))
        made = VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=[region], **shared)
    _draw(made, subject, place)
    return made


def _evaluations(subject: Subject) -> list[QualitativeEvaluation] | None:
    """Write the model's yes or no about a label: what was asked, and whether it is there."""
    if subject.answer is None:
        return None
    name, value = coding.concept(subject.answer.finding), coding.VERDICTS[subject.answer.verdict]
    return [QualitativeEvaluation(name=name, value=value)]


def _numbers(subject: Subject, *, slices: int) -> list[NumericItem]:
    """Write the measurements; where nothing was found, the number of images that were searched."""
    if not subject.measurements:
        nothing = subject.kind is Kind.ANALYSED
        return [NumericItem(coding.SEARCHED, slices, coding.IMAGES_UNIT)] if nothing else []
    first, *rest = subject.measurements
    named = "" if subject.kind is Kind.LESION else f" of {subject.name}"
    return [_number(first, named), *(_number(found) for found in rest)]


def _number(found: Measurement, named: str = "") -> NumericItem:
    return NumericItem(
        name=_shown_name(found, named),
        value=float(format(found.value, _VALUE_FORMAT)),
        unit=coding.concept(found.unit),
        derivation=coding.concept(found.derivation) if found.derivation else None,
        method=coding.concept(found.method) if found.method else None,
    )


def _shown_name(found: Measurement, named: str) -> CodedConcept:
    """Put into the Code Meaning what a reader must see: derivation, and whose number it is.

    Viewers draw the meaning of a NUM, but neither its modifiers nor the finding of its group (R9).
    Machines compare value and scheme, which stay the model's (PS3.3 8.3).
    """
    name = coding.concept(found.name)
    meaning = wording.derived_name(found) + named
    meaning = _OTHERWISE.get(meaning, meaning)
    return CodedConcept(name.value, name.scheme_designator, wording.long_string(meaning))


def _draw(group: Group, subject: Subject, place: SlicePlace) -> None:
    """Hang the shape under each NUM (R6, R12); the encoder's ROI classes do not take it."""
    for item in group[0].ContentSequence:
        if item.ValueType == "NUM":
            shape = CoordinatesForMeasurement(_graphic_type(subject), subject.points, _source_image(place))
            children = item.get("ContentSequence") or ContentSequence()
            children.append(shape)
            item.ContentSequence = children


def _graphic_type(subject: Subject) -> str:
    return "POINT" if subject.kind is Kind.ANALYSED else "POLYLINE"


def _source_image(place: SlicePlace) -> SourceImageForRegion:
    """Point at the image a shape lies on (SELECTED FROM)."""
    return SourceImageForRegion(place.sop_class_uid, place.sop_instance_uid, place.frames)


def _words(context: ResultContext, findings: Findings) -> ContainerContentItem:
    """Say the conclusion, the withheld measurements and the cautions in words (TID 1500 row 12)."""
    box = ContainerContentItem(
        name=coding.QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    box.ContentSequence = ContentSequence()
    box.ContentSequence.append(text_item(codes.DCM.Conclusion, wording.conclusion(findings)))
    for line in [
        *wording.verdicts(findings),
        *wording.reservations(findings),
        wording.CAUTION,
        *wording.made_by(context),
    ]:
        box.ContentSequence.append(text_item(codes.DCM.Comment, line))
    return box


def _library(headers: Sequence[Dataset]) -> list[Dataset] | None:
    """Give the images for the Image Library, where their headers say all it asks for (R16)."""
    complete = all(keyword in header for header in headers for keyword in _LIBRARY_KEYWORDS)
    return list(headers) if complete and not any(map(is_multiframe, headers)) else None


def _header(reference: Reference) -> Dataset:
    """Make the header of an object that exists as a reference only."""
    made = Dataset()
    made.SOPClassUID = reference.sop_class_uid
    made.SOPInstanceUID = reference.sop_instance_uid
    made.SeriesInstanceUID = reference.series_uid
    made.StudyInstanceUID = reference.study_uid
    return made
