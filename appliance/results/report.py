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

from collections.abc import Mapping, Sequence

from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.codedict import codes

from appliance.results import coding, earlier, wording
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.groups import Group, Setting, group
from appliance.results.headers import put_evidence, stub
from appliance.results.slices import SlicePlace, is_multiframe
from appliance.results.subjects import Subject
from appliance.results.uids import SOP_INSTANCE, uid
from models.findings import Findings

LABEL = Label(output="sr", title="sr")
CORNERSTONE_LABEL = Label(output="sr-cornerstone", title="sr-cornerstone")

# R11: what OHIF's measurement library wants before the name of one of its tools.
_PREFIXES = {LABEL.output: "", CORNERSTONE_LABEL.output: "Cornerstone3DTools@^0.1.0:"}

_SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
_LIBRARY_KEYWORDS = (
    "Rows", "Columns", "PixelSpacing", "SliceThickness", "ImagePositionPatient", "ImageOrientationPatient",
)  # fmt: skip


def report(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    places: Sequence[SlicePlace],
    findings: Findings,
    subjects: Sequence[Subject],
    seg: Reference | None,
    maps: Mapping[str, Reference] | None = None,
    label: Label = LABEL,
) -> EncodedObject:
    """Encode findings as a TID 1500 report.

    Groups come in the order of the subjects, the largest or likeliest lesion first: its number is its rank,
    and whoever stops reading early has seen what matters.

    Args:
        context: who made it, and its UIDs.
        sources: headers of the images the model saw.
        places: the image behind each slice of the volume.
        findings: what the model found.
        subjects: the groups to write, at least one.
        seg: the segmentation object of this result; None when there is none.
        maps: the heat maps of this result by label, those that are really made.
        label: LABEL, or CORNERSTONE_LABEL for the report whose contours become measurements of OHIF.
    """
    shown = {places[subject.slice_index].sop_instance_uid for subject in subjects}
    # The encoder wants a header of what the tree points at; all others are evidence by their UIDs alone.
    stubs = [stub(source) for source in sources if uid(source, SOP_INSTANCE) in shown]
    setting = Setting(
        context=context,
        places=places,
        series_uid=stubs[0].SeriesInstanceUID,
        seg=seg,
        prefix=_PREFIXES[label.output],
        algorithm=coding.algorithm(context),
        maps=_by_subject(maps or {}, subjects),
    )
    groups = [group(subject, setting) for subject in subjects]
    tree = MeasurementReport(
        observation_context=observation_context(context),
        procedure_reported=coding.procedure(stubs[0].Modality),
        imaging_measurements=groups[:1],
        referenced_images=_library(stubs),
    )
    tree[0].ContentSequence.append(_words(context, findings))
    quoted = earlier.previous_findings(context, subjects)
    tree[0].ContentSequence.extend(quoted)
    made_too = [header(one) for one in (*([seg] if seg else []), *(maps or {}).values())]
    made = Comprehensive3DSR(
        evidence=stubs[:1], content=without_content(tree[0]), is_complete=True, **common(context, label)
    )
    made.ContentSequence = tree[0].ContentSequence
    _add(made, groups[1:])
    coding.explain_schemes(made)
    put_evidence(made, [*sources, *made_too])
    if quoted:
        # Of another procedure (PS3.3 C.17.2.3); and not replaced by this one, as a predecessor would be.
        put_evidence(made, [header(one.report) for one in context.earlier], "PertinentOtherEvidenceSequence")
    predecessors(made, context)
    return finish(made, context, label, source=sources[0])


def without_content(root: Dataset) -> Dataset:
    """Give the root of a tree with its first item only, for an encoder to make a document of.

    It copies and searches a tree several times over, which takes longer than to write it, and changes nothing
    in it; the document gets its tree afterwards.
    """
    made = Dataset(dict(root.items()))
    # Taken out first: assigning would change the element of the tree.
    del made.ContentSequence
    made.ContentSequence = root.ContentSequence[:1]
    return made


def _by_subject(
    maps: Mapping[str, Reference], subjects: Sequence[Subject]
) -> Mapping[str | None, Sequence[Reference]]:
    """Give each label's map to its groups; a map of a label without one belongs to the whole series."""
    labels = {subject.label for subject in subjects}
    own: dict[str | None, Sequence[Reference]] = {
        label: [one] for label, one in maps.items() if label in labels
    }
    return own | {None: [one for label, one in maps.items() if label not in labels]}


def _add(made: Dataset, groups: Sequence[Group]) -> None:
    """Add groups to a report that was made with its first one.

    The encoder copies and searches its whole tree several times over, which for 500 groups takes longer than
    all the rest; what it writes is the same.
    """
    (measurements,) = [
        item
        for item in made.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.DCM.ImagingMeasurements.value
    ]
    more = [item for one in groups for item in one]
    measurements.ContentSequence = Items([*measurements.ContentSequence, *more])


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
    old = [header(one) for one in context.supersedes if one.sop_class_uid.startswith(_SR_CLASSES)]
    if old:
        put_evidence(made, old, "PredecessorDocumentsSequence")


def text_item(name: CodedConcept, text: str) -> TextContentItem:
    """Make a contained TEXT item."""
    return TextContentItem(name=name, value=text, relationship_type=RelationshipTypeValues.CONTAINS)


def header(reference: Reference) -> Dataset:
    """Make the header of an object that exists here as a reference only."""
    made = Dataset()
    made.SOPClassUID = reference.sop_class_uid
    made.SOPInstanceUID = reference.sop_instance_uid
    made.SeriesInstanceUID = reference.series_uid
    made.StudyInstanceUID = reference.study_uid
    return made


def _words(context: ResultContext, findings: Findings) -> ContainerContentItem:
    """Say the conclusion, the withheld measurements and the cautions in words (TID 1500 row 12)."""
    box = ContainerContentItem(
        name=coding.QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    box.ContentSequence = ContentSequence()
    box.ContentSequence.append(text_item(codes.DCM.Conclusion, wording.conclusion(findings)))
    for line in [
        *wording.standing(context),
        *wording.verdicts(findings),
        *earlier.lines(context, findings),
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
