"""What a document says of the box's results: accepted, modified or rejected; or why that cannot be told.

Promises: a verdict only where a person's word for it is in the document: a verified successor of a report
(PS3.3 C.17.2), verified groups under the box's own tracking UIDs, a rejection note (PS3.16 CID 7010), or a
coded verdict that is listed here.
Never: a guess. A document that names a result and says none of this is `Unclear`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.assemble.document import Coded, Document, Group, Shape
from appliance.ledger.assessments import Judgement

_KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
# PS3.16 CID 7011: rejected for quality or for patient safety reasons.
_REJECTING: frozenset[Coded] = frozenset((("DCM", "113001"), ("DCM", "113037")))
# PS3.16 CID 7010 and 7011: of interest, for somebody or something, a manifest; filed under the wrong patient,
# older than the site keeps. None of them says whether the result is right.
_SILENT: frozenset[Coded] = frozenset(
    ("DCM", value)
    for value in (
        "113000", "113002", "113003", "113004", "113005", "113006", "113007", "113008", "113009", "113013",
        "113018", "113020", "113021", "113030", "113031", "113038", "113039",
    )
)  # fmt: skip
# The codes of IHE's own profile could not be read; these are what one open implementation of it writes.
VERDICT_CODES: Mapping[Coded, Judgement] = {
    ("99PACS", "AIRA-ACCEPT"): Judgement.ACCEPTED,
    ("99PACS", "AIRA-MODIFY"): Judgement.MODIFIED,
    ("99PACS", "AIRA-REJECT"): Judgement.REJECTED,
}
# Relative for numbers, which some workstations write anew; in pixels for points.
_SAME_VALUE = 1e-6
_SAME_POINT_PX = 0.05


class Unclear(Exception):
    """A document names a result and says nothing of it that can be told; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """One object of one of the box's results; `document` is there for a report that could be read."""

    result_id: int
    sop_instance_uid: str
    document: Document | None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a document says of one result, or of one finding of it by tracking UID."""

    result_id: int
    judgement: Judgement
    tracking_uid: str = ""


def judge(paper: Document, own: Sequence[Own]) -> list[Said]:
    """Tell what a document says of some results; nothing if it names none of them.

    Raises:
        Unclear: it names one and gives no verdict that is listed above.
    """
    named = paper.referenced | paper.predecessors
    mentioned = sorted({item.result_id for item in own if item.sop_instance_uid in named})
    if paper.sop_class_uid == _KEY_OBJECT_SELECTION:
        return _selected(paper, mentioned)
    tracked = _tracked(paper, own)
    if not mentioned and not tracked:
        return []
    coded = {VERDICT_CODES[value] for value in paper.values if value in VERDICT_CODES}
    if coded:
        return _coded(coded, mentioned)
    if not (paper.verified and paper.complete):
        raise Unclear("it is not a complete document that somebody verified")
    succeeded = _succeeded(paper, own)
    said = [entry for former in succeeded for entry in _compare(former, paper)]
    followed = {former.result_id for former in succeeded}
    said += [entry for entry in tracked if entry.result_id not in followed]
    if not said:
        raise Unclear("it refers to the result, but neither follows its report nor repeats its findings")
    return said


def _selected(paper: Document, mentioned: Sequence[int]) -> list[Said]:
    if not mentioned or paper.title in _SILENT:
        return []
    if paper.title not in _REJECTING:
        raise Unclear("it is a selection of objects, and its title is none that is known to reject them")
    return [Said(result_id=result_id, judgement=Judgement.REJECTED) for result_id in mentioned]


def _coded(coded: set[Judgement], mentioned: Sequence[int]) -> list[Said]:
    if len(coded) > 1:
        raise Unclear("it holds more than one coded verdict")
    if not mentioned:
        raise Unclear("it holds a coded verdict and names no object of a result")
    (judgement,) = coded
    return [Said(result_id=result_id, judgement=judgement) for result_id in mentioned]


def _succeeded(paper: Document, own: Iterable[Own]) -> list[Own]:
    """Return the report of each result that the document follows; of several that which says most."""
    followed: dict[int, Own] = {}
    for item in own:
        if item.sop_instance_uid not in paper.predecessors:
            continue
        if item.document is None:
            raise Unclear("it follows an object of the result whose content cannot be compared")
        best = followed.get(item.result_id)
        if best is None or _says(item) > _says(best):
            followed[item.result_id] = item
    return list(followed.values())


def _says(item: Own) -> tuple[int, int]:
    assert item.document is not None, "only reports are compared"
    return len(item.document.groups), len(item.document.statements)


def _compare(former: Own, paper: Document) -> list[Said]:
    """Compare a verified document with the report that it follows."""
    assert former.document is not None, "only reports are compared"
    mine, theirs = former.document.groups, paper.groups
    if not mine:
        same = former.document.statements == paper.statements and not theirs
        return [Said(result_id=former.result_id, judgement=_kept(same))]
    findings = {
        uid: (_kept(_same(group, theirs[uid])) if uid in theirs else Judgement.REJECTED)
        for uid, group in mine.items()
    }
    untouched = theirs.keys() <= mine.keys() and set(findings.values()) == {Judgement.ACCEPTED}
    whole = Said(result_id=former.result_id, judgement=_kept(untouched))
    if untouched:
        return [whole]
    each = [
        Said(result_id=former.result_id, judgement=judgement, tracking_uid=uid)
        for uid, judgement in sorted(findings.items())
    ]
    return [whole, *each]


def _tracked(paper: Document, own: Iterable[Own]) -> list[Said]:
    """Judge findings by their tracking UIDs alone, as a report that cites them does."""
    found: dict[tuple[int, str], bool] = {}
    for item in own:
        groups = {} if item.document is None else item.document.groups
        for uid in groups.keys() & paper.groups.keys():
            key = (item.result_id, uid)
            found[key] = found.get(key, False) or _same(groups[uid], paper.groups[uid])
    return [
        Said(result_id=result_id, judgement=_kept(same), tracking_uid=uid)
        for (result_id, uid), same in sorted(found.items())
    ]


def _kept(same: bool) -> Judgement:
    return Judgement.ACCEPTED if same else Judgement.MODIFIED


def _same(mine: Group, theirs: Group) -> bool:
    """Say whether two groups state the same numbers, codes, places and segments."""
    return (
        _same_numbers(mine, theirs)
        and sorted(mine.codes) == sorted(theirs.codes)
        and sorted(mine.objects) == sorted(theirs.objects)
        and _same_shapes(mine.shapes, theirs.shapes)
    )


def _same_numbers(mine: Group, theirs: Group) -> bool:
    pairs = list(zip(sorted(mine.numbers), sorted(theirs.numbers), strict=False))
    return len(mine.numbers) == len(theirs.numbers) and all(
        a[:2] == b[:2] and abs(a[2] - b[2]) <= _SAME_VALUE * max(1.0, abs(a[2])) for a, b in pairs
    )


def _same_shapes(mine: Sequence[Shape], theirs: Sequence[Shape]) -> bool:
    """Compare places; a workstation may hang one shape under fewer or more numbers than the box did."""
    return all(any(_same_shape(a, b) for b in theirs) for a in mine) and all(
        any(_same_shape(a, b) for a in mine) for b in theirs
    )


def _same_shape(a: Shape, b: Shape) -> bool:
    return (
        (a.graphic_type, a.image_uid, len(a.points)) == (b.graphic_type, b.image_uid, len(b.points))
    ) and all(abs(x - y) <= _SAME_POINT_PX for x, y in zip(a.points, b.points, strict=True))
