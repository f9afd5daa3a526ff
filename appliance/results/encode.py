"""Findings and notices in, finished DICOM objects out.

Promises: equal input gives equal bytes under equal UIDs (P4, P5); an answer is always readable by a person,
and a missing answer never looks like a negative (P8).
Never: touches a disk, a clock or the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydicom import Dataset
from pydicom.config import disable_value_validation

from appliance.results import wording
from appliance.results.capture import findings_captures, notice_capture, preview
from appliance.results.context import EncodedObject, Notice, Reference, ResultContext
from appliance.results.document import findings_document, notice_document
from appliance.results.drawable import drawable
from appliance.results.headers import local_time
from appliance.results.keyobjects import key_images, key_objects
from appliance.results.lacking import lacking, unplaced
from appliance.results.page import findings_page, notice_page
from appliance.results.parametric import map_references, parametric_maps, too_large
from appliance.results.presentation import presentations
from appliance.results.rejection import rejections
from appliance.results.report import CORNERSTONE_LABEL, report
from appliance.results.segmentation import Form, replacements, seg_forms, seg_reference, segmentation
from appliance.results.slices import SlicePlace, is_placed, slice_places
from appliance.results.subjects import subjects
from models.findings import Findings, Outcome
from models.tensors import Volume

__all__ = ["encode", "encode_notice"]

# What a person can read without a viewer that knows its template.
_READABLE = ("sr", "sc", "pdf")


def encode(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    volume: Volume | None,
    findings: Findings,
    outputs: frozenset[str],
) -> list[EncodedObject]:
    """Encode what a model found; the object a reader should open comes first, a rejection note last.

    A text page is added, whether asked for or not, when the answer is "no finding" or an abstention, and when
    nothing else would be readable: many viewers show a measurement report without a region as an empty
    viewport. What is asked for and cannot be made of the findings is named in every readable object.

    Args:
        context: who made it, from what, and when.
        sources: headers without pixel data in slice order, or the one header of a multi-frame image.
        volume: the grid of the findings; None when the model saw no volume, then there are no regions.
        findings: what the model found.
        outputs: some of `appliance.core.outputs.OUTPUTS`.
    """
    assert sources, "a result has sources"
    # Identity is carried over as it came, however it was filled in: it is not ours to judge.
    with disable_value_validation():
        if volume is not None:
            findings = drawable(findings, volume.shape)
        missing = lacking(findings, volume=volume, source=sources[0], outputs=outputs)
        forms = seg_forms(findings, volume, source=sources[0], outputs=outputs) if volume is not None else []
        nowhere = unplaced(findings, volume=volume, source=sources[0], outputs=outputs)
        remarks = [*wording.not_made(missing, unplaced=nowhere), *replacements(forms)]
        if volume is not None and "pmap" in outputs:
            remarks += too_large(findings, volume)
        context = _remarked(context, sources[0], remarks)
        made = (
            _with_volume(context, sources, volume, findings=findings, forms=forms, outputs=outputs)
            if volume
            else []
        )
        if "pdf" in outputs:
            made.append(findings_document(context, sources=sources, volume=volume, findings=findings))
        made = _with_page(made, context, sources, findings=findings, outputs=outputs)
        if volume is not None and "kos" in outputs and "kos" not in missing:
            made.append(_key_objects(made, context, sources, volume=volume, findings=findings))
        if "iocm" in outputs:
            made += rejections(context, sources=sources)
        return _previewed(made, context, sources, volume=volume, findings=findings)


def encode_notice(
    context: ResultContext, *, sources: Sequence[Dataset], notice: Notice, outputs: frozenset[str]
) -> list[EncodedObject]:
    """Encode why there is no result: always a text page, and the same words as a picture or printed page.

    Args:
        context: who would have made it.
        sources: at least one header of the study.
        notice: the reason and what to do.
        outputs: some of `appliance.core.outputs.OUTPUTS`.
    """
    assert sources, "a notice names its study by a header"
    with disable_value_validation():
        context = _remarked(context, sources[0], [])
        made = [notice_page(context, sources=sources, notice=notice)]
        if "sc" in outputs:
            made.append(notice_capture(context, sources=sources, notice=notice))
        if "pdf" in outputs:
            made.append(notice_document(context, sources=sources, notice=notice))
        if "iocm" in outputs:
            made += rejections(context, sources=sources)
    return made


def _remarked(context: ResultContext, source: Dataset, remarks: Sequence[str]) -> ResultContext:
    """Add what all objects say; read the replaced result's time in the zone that its own objects have."""
    at = context.superseded_at
    return replace(
        context,
        superseded_at=None if at is None else local_time(at, source),
        remarks=(*context.remarks, *remarks),
    )


def _with_page(
    made: Sequence[EncodedObject],
    context: ResultContext,
    sources: Sequence[Dataset],
    *,
    findings: Findings,
    outputs: frozenset[str],
) -> list[EncodedObject]:
    """Put what a reader should open first in front; that is a text page where nothing else would do."""
    readable = [item for item in made if item.output in _READABLE]
    in_front = not readable or findings.outcome in (Outcome.NO_FINDING, Outcome.ABSTAINED)
    page = []
    if in_front or "text-sr" in outputs:
        page = [findings_page(context, sources=sources, findings=findings)]
    if in_front:
        return [*page, *made]
    first = readable[0]
    return [first, *(item for item in made if item is not first), *page]


def _key_objects(
    made: Sequence[EncodedObject],
    context: ResultContext,
    sources: Sequence[Dataset],
    *,
    volume: Volume,
    findings: Findings,
) -> EncodedObject:
    """Select the key images and the report of this result, or its page where no report was asked for."""
    read = sorted((item for item in made if item.output in ("sr", "text-sr")), key=lambda item: item.output)
    return key_objects(
        context,
        sources=sources,
        places=slice_places(sources, volume),
        findings=findings,
        images=key_images(findings, volume),
        read=_reference(read[0] if read else made[0], context),
    )


def _reference(item: EncodedObject, context: ResultContext) -> Reference:
    return Reference(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        series_uid=item.series_uid,
        study_uid=context.study_uid,
        output=item.output,
    )


def _with_volume(
    context: ResultContext,
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    findings: Findings,
    forms: Sequence[Form],
    outputs: frozenset[str],
) -> list[EncodedObject]:
    """Encode everything that points into the images."""
    places = slice_places(sources, volume)
    found = subjects(findings, volume.shape, with_seg=bool(forms))
    mapped = "pmap" in outputs and is_placed(sources[0])
    maps = map_references(context, volume=volume, findings=findings) if mapped else {}
    made = []
    if "sr" in outputs and found:
        seg = seg_reference(context, _referred(context, forms)) if forms else None
        made.append(
            report(
                context,
                sources=sources,
                places=places,
                findings=findings,
                subjects=found,
                seg=seg,
                maps=maps,
            )
        )
    if CORNERSTONE_LABEL.output in outputs and found:
        made.append(_contours(context, sources, volume, findings=findings, places=places, maps=maps))
    made += [segmentation(context, form, sources=sources, volume=volume) for form in forms]
    if mapped:
        made += parametric_maps(context, sources=sources, volume=volume, findings=findings)
    if "gsps" in outputs:
        made += presentations(context, sources=sources, volume=volume, findings=findings, places=places)
    if "sc" in outputs:
        made += findings_captures(context, sources=sources, volume=volume, findings=findings, places=places)
    return made


def _referred(context: ResultContext, forms: Sequence[Form]) -> Form:
    return next((form for form in forms if form.output == context.refers_to), forms[0])


def _contours(
    context: ResultContext,
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    findings: Findings,
    places: Sequence[SlicePlace],
    maps: Mapping[str, Reference],
) -> EncodedObject:
    """Encode the report whose contours become measurements of OHIF (R11)."""
    return report(
        context,
        sources=sources,
        places=places,
        findings=findings,
        subjects=subjects(findings, volume.shape, with_seg=False, contours=True),
        seg=None,
        maps=maps,
        label=CORNERSTONE_LABEL,
    )


def _previewed(
    made: list[EncodedObject],
    context: ResultContext,
    sources: Sequence[Dataset],
    *,
    volume: Volume | None,
    findings: Findings,
) -> list[EncodedObject]:
    """Give the first object the console's picture when no Secondary Capture carries one."""
    if volume is None or any(item.preview_png for item in made):
        return made
    picture = preview(context, sources=sources, volume=volume, findings=findings)
    return [replace(made[0], preview_png=picture), *made[1:]]
