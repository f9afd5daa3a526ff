"""Findings and notices in, finished DICOM objects out.

Promises: equal input gives equal bytes under equal UIDs (P4, P5); an answer is always readable by a person,
and a missing answer never looks like a negative (P8).
Never: touches a disk, a clock or the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydicom import Dataset
from pydicom.config import disable_value_validation

from appliance.results.capture import findings_captures, notice_capture, preview
from appliance.results.context import EncodedObject, Notice, ResultContext
from appliance.results.document import findings_document, notice_document
from appliance.results.drawable import drawable
from appliance.results.page import findings_page, notice_page
from appliance.results.presentation import presentations
from appliance.results.report import report
from appliance.results.segmentation import seg_forms, seg_reference, segmentation
from appliance.results.slices import is_placed, slice_places
from appliance.results.subjects import subjects
from models.findings import Findings, Outcome
from models.tensors import Volume

__all__ = ["encode", "encode_notice"]


def encode(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    volume: Volume | None,
    findings: Findings,
    outputs: frozenset[str],
) -> list[EncodedObject]:
    """Encode what a model found; the object a reader should open comes first.

    A text page is added, whether asked for or not, when the answer is "no finding" or an abstention, and when
    nothing else would be readable: many viewers show a measurement report without a region as an empty
    viewport.

    Args:
        context: who made it, from what, and when.
        sources: headers without pixel data in slice order, or the one header of a multi-frame image.
        volume: the grid of the findings; None when the model saw no volume, then there are no regions.
        findings: what the model found.
        outputs: some of "sr", "seg", "gsps", "sc", "text-sr", "pdf".
    """
    assert sources, "a result has sources"
    # Identity is carried over as it came, however it was filled in: it is not ours to judge.
    with disable_value_validation():
        if volume is not None:
            findings = drawable(findings, volume.shape)
        page = findings_page(context, sources=sources, findings=findings)
        rest = _with_volume(context, sources, volume, findings=findings, outputs=outputs) if volume else []
        if "pdf" in outputs:
            rest.append(findings_document(context, sources=sources, volume=volume, findings=findings))
    unsure = findings.outcome in (Outcome.NO_FINDING, Outcome.ABSTAINED)
    readable = any(made.output in ("sr", "sc", "pdf") for made in rest)
    if unsure or not readable:
        return _previewed([page, *rest], context, sources, volume=volume, findings=findings)
    if "text-sr" in outputs:
        rest.append(page)
    return _previewed(rest, context, sources, volume=volume, findings=findings)


def encode_notice(
    context: ResultContext, *, sources: Sequence[Dataset], notice: Notice, outputs: frozenset[str]
) -> list[EncodedObject]:
    """Encode why there is no result: always a text page, and the same words as a picture or printed page.

    Args:
        context: who would have made it.
        sources: at least one header of the study.
        notice: the reason and what to do.
        outputs: some of "sr", "seg", "gsps", "sc", "text-sr", "pdf".
    """
    assert sources, "a notice names its study by a header"
    with disable_value_validation():
        made = [notice_page(context, sources=sources, notice=notice)]
        if "sc" in outputs:
            made.append(notice_capture(context, sources=sources, notice=notice))
        if "pdf" in outputs:
            made.append(notice_document(context, sources=sources, notice=notice))
    return made


def _with_volume(
    context: ResultContext,
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    findings: Findings,
    outputs: frozenset[str],
) -> list[EncodedObject]:
    """Encode everything that points into the images."""
    places = slice_places(sources, volume)
    forms = seg_forms(findings, volume.shape, outputs) if is_placed(sources[0]) else []
    found = subjects(findings, volume.shape, with_seg=bool(forms))
    made = []
    if "sr" in outputs and found:
        seg = seg_reference(context, forms[0]) if forms else None
        made.append(
            report(context, sources=sources, places=places, findings=findings, subjects=found, seg=seg)
        )
    made += [segmentation(context, form, sources=sources, volume=volume) for form in forms]
    if "gsps" in outputs:
        made += presentations(context, sources=sources, volume=volume, findings=findings, places=places)
    if "sc" in outputs:
        made += findings_captures(context, sources=sources, volume=volume, findings=findings, places=places)
    return made


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
    with disable_value_validation():
        picture = preview(context, sources=sources, volume=volume, findings=findings)
    return [replace(made[0], preview_png=picture), *made[1:]]
