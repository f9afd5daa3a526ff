"""The text page: an SR that every viewer shows as readable text (Enhanced SR, PS3.16 TID 2000).

Promises: the first line a reader sees is the answer, or that there is none and that this is no negative (P8).
Never: coordinates; a title that viewers take for a measurement report.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    RelationshipTypeValues,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from appliance.results import earlier, wording
from appliance.results.context import EncodedObject, Notice, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.headers import put_evidence, stub
from appliance.results.limits import DEFAULT
from appliance.results.report import observation_context, predecessors, text_item, without_content
from models.findings import Findings

LABEL = Label(output="text-sr", title="text-sr")
NOTICE_LABEL = Label(output="text-sr", title="notice")

_TITLE = CodedConcept("18748-4", "LN", "Diagnostic imaging report")
_ENGLISH = CodedConcept("en", "RFC5646", "English")


def findings_page(context: ResultContext, *, sources: Sequence[Dataset], findings: Findings) -> EncodedObject:
    """Encode findings as a page of text."""
    first = [wording.conclusion(findings), *_standing(context), wording.CAUTION]
    sections = [
        _section(codes.DCM.Conclusions, codes.DCM.Conclusion, first),
        _section(codes.DCM.Findings, codes.DCM.Finding, _lines(findings)),
        _section(codes.DCM.PreviousFindings, codes.DCM.PreviousFinding, _earlier(context, findings)),
        _procedure(context, sources),
    ]
    return _page(context, LABEL, sources=sources, sections=sections)


def notice_page(context: ResultContext, *, sources: Sequence[Dataset], notice: Notice) -> EncodedObject:
    """Encode a notice as a page of text whose heading cannot be read as a negative."""
    reason = f"Reason: {wording.plain(notice.reason)}"
    lines = [wording.notice_heading(notice), reason, *_standing(context)]
    sections = [
        _section(codes.DCM.Conclusions, codes.DCM.Conclusion, lines),
        _section(codes.DCM.Recommendations, codes.DCM.Recommendation, [wording.plain(notice.what_to_do)]),
        _procedure(context, sources),
    ]
    return _page(context, NOTICE_LABEL, sources=sources, sections=sections)


def _standing(context: ResultContext) -> list[str]:
    return [*wording.standing(context), *wording.stand_in(context, "text-sr")]


def _lines(findings: Findings) -> list[str]:
    """List what was found, reservations first of what a bound could cut off."""
    last = wording.reservations(findings)
    lines = [*wording.verdicts(findings), *wording.numbers(findings)]
    room = max(DEFAULT.text_lines_max - len(last) - 1, 0)
    if len(lines) > room:
        last = [f"{len(lines) - room} more lines are in the structured report.", *last]
    return [*lines[:room], *last]


def _earlier(context: ResultContext, findings: Findings) -> list[str]:
    said = earlier.lines(context, findings)
    more = len(said) - DEFAULT.text_lines_max
    return said if more <= 0 else [*said[:-more], f"{more} more lines are in the structured report."]


def _procedure(context: ResultContext, sources: Sequence[Dataset]) -> ContainerContentItem | None:
    series = wording.plain(str(sources[0].get("SeriesDescription") or "without a description"))
    used = f"Images: {len(sources)} of series {sources[0].get('SeriesNumber') or '?'}, {series}"
    lines = [*wording.made_by(context), used, wording.CAUTION]
    return _section(codes.DCM.CurrentProcedureDescriptions, codes.DCM.ProcedureDescription, lines)


def _section(heading: CodedConcept, name: CodedConcept, lines: Sequence[str]) -> ContainerContentItem | None:
    """Make one section; an empty one is left out.

    Each text ends with a full stop: viewers run the texts of a section together.
    """
    texts = [line if line.endswith(".") else f"{line}." for line in lines if line]
    if not texts:
        return None
    box = ContainerContentItem(name=heading, relationship_type=RelationshipTypeValues.CONTAINS)
    box.ContentSequence = ContentSequence([text_item(name, text) for text in texts])
    return box


def _page(
    context: ResultContext,
    label: Label,
    *,
    sources: Sequence[Dataset],
    sections: Sequence[ContainerContentItem | None],
) -> EncodedObject:
    root = ContainerContentItem(name=_TITLE, template_id="2000")
    root.ContentSequence = ContentSequence()
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(_ENGLISH))
    root.ContentSequence.extend(observation_context(context))
    root.ContentSequence.extend([section for section in sections if section is not None])
    made = EnhancedSR(
        evidence=[_encodable(sources[0])],
        content=without_content(root),
        is_complete=True,
        **common(context, label),
    )
    made.ContentSequence = root.ContentSequence
    put_evidence(made, sources)
    predecessors(made, context)
    return finish(made, context, label, source=sources[0])


def _encodable(source: Dataset) -> Dataset:
    """Make a header of a class the encoder knows: a notice may be about any object; evidence comes later."""
    header = stub(source)
    header.SOPClassUID = CTImageStorage
    return header
