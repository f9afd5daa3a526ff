"""The measurement groups of a report (PS3.16 TID 1411, 1501): one subject each, drawn and numbered.

Promises: a group has its tracking UID before every other UID (R3), a name on every item (R5), a shape in the
group or under a number (R6), and the same shape under each number (R12).
Never: a group without coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    ContentSequence,
    CoordinatesForMeasurement,
    ImageContentItem,
    ImageRegion,
    MeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr import Measurement as NumericItem

from appliance.results import coding, wording
from appliance.results.context import Reference, ResultContext
from appliance.results.slices import SlicePlace
from appliance.results.subjects import Kind, Subject, tracking_uid
from models.findings import Measurement

# Ten significant digits: more than any measurement has, and always a valid DS.
_VALUE_FORMAT = ".10g"
# OHIF 3.13.2 puts "L: ", "W: " and nothing at all in the place of exactly these meanings: "L: : 25.27 mm".
_OTHERWISE = {"Long Axis": "Long axis", "Short Axis": "Short axis", "Length": "length"}

Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """Hold what all groups of one report share.

    Attributes:
        places: the image behind each slice of the volume.
        series_uid: the series of those images.
        seg: the segmentation object of this result; None when there is none.
        maps: heat maps by the label that they are of; by None those of no subject's label.
        prefix: what a viewer's vendor wants before each tracking identifier, its tool's name after it.
        algorithm: one for all: a thousand times the same items take longer to make than to write.
    """

    context: ResultContext
    places: Sequence[SlicePlace]
    series_uid: str
    seg: Reference | None
    prefix: str
    algorithm: AlgorithmIdentification
    maps: Mapping[str | None, Sequence[Reference]] = field(default_factory=dict)


def group(subject: Subject, setting: Setting) -> Group:
    """Write one measurement group; the tracking UID comes first of all UIDs (R3)."""
    made = _undrawn(subject, setting)
    # Here and not with the numbers: the encoder's ROI classes refuse a number that has its shape already.
    _draw(made, subject, setting.places[subject.slice_index])
    made[0].ContentSequence.extend(_map(one) for one in setting.maps.get(subject.label, ()))
    return made


def _undrawn(subject: Subject, setting: Setting) -> Group:
    shared: dict[str, Any] = {
        "tracking_identifier": _tracking(subject, setting),
        "finding_type": coding.concept(subject.finding) if subject.finding else None,
        "algorithm_id": setting.algorithm,
        "measurements": list(_numbers(subject, slices=len(setting.places))),
    }
    if subject.kind is Kind.ANALYSED:
        return MeasurementsAndQualitativeEvaluations(**shared, qualitative_evaluations=_evaluations(subject))
    if subject.segment is not None and setting.seg is not None:
        segment = ReferencedSegment(
            sop_class_uid=setting.seg.sop_class_uid,
            sop_instance_uid=setting.seg.sop_instance_uid,
            segment_number=subject.segment.number,
            source_series=SourceSeriesForSegmentation(setting.series_uid),
        )
        return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **shared)
    image = _source_image(setting.places[subject.slice_index])
    region = ImageRegion(_graphic_type(subject), subject.points, image)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=[region], **shared)


def _tracking(subject: Subject, setting: Setting) -> TrackingIdentifier:
    uid = tracking_uid(setting.context, subject.kind, subject.name)
    name = f"{setting.prefix}{subject.tool}:{subject.name}" if setting.prefix else subject.name
    return TrackingIdentifier(uid=uid, identifier=name)


def _evaluations(subject: Subject) -> list[QualitativeEvaluation] | None:
    """Write the model's yes or no about a label: what was asked, and whether it is there."""
    if subject.answer is None:
        return None
    name, value = coding.concept(subject.answer.finding), coding.VERDICTS[subject.answer.verdict]
    return [QualitativeEvaluation(name=name, value=value)]


def _numbers(subject: Subject, *, slices: int) -> Iterator[NumericItem]:
    """Write the measurements; where nothing was found, the number of images that were searched."""
    if not subject.measurements:
        if subject.kind is Kind.ANALYSED:
            yield NumericItem(coding.SEARCHED, slices, coding.IMAGES_UNIT)
        return
    first, *rest = subject.measurements
    yield _number(first, "" if subject.kind in (Kind.LESION, Kind.LOCATION) else f" of {subject.name}")
    for found in rest:
        yield _number(found)


def _map(reference: Reference) -> ImageContentItem:
    """Refer to a heat map; with a name, for viewers stumble over items without one (R5)."""
    return ImageContentItem(
        coding.HEAT_MAP,
        reference.sop_class_uid,
        reference.sop_instance_uid,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def _draw(made: Group, subject: Subject, place: SlicePlace) -> None:
    """Hang one shape under every number (R6, R12)."""
    shape = CoordinatesForMeasurement(_graphic_type(subject), subject.points, _source_image(place))
    for item in made[0].ContentSequence:
        if item.ValueType == "NUM":
            children = item.get("ContentSequence") or ContentSequence()
            children.append(shape)
            item.ContentSequence = children


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


def _graphic_type(subject: Subject) -> str:
    return "POINT" if len(subject.points) == 1 else "POLYLINE"


def _source_image(place: SlicePlace) -> SourceImageForRegion:
    """Point at the image a shape lies on (SELECTED FROM)."""
    return SourceImageForRegion(place.sop_class_uid, place.sop_instance_uid, place.frames)
