"""The report as it was sent: its measurement groups with their shapes, numbers and names (PS3.16 TID 1500).

A shape stands in its group, or under each of its numbers, for the viewers' sake; here it is listed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.tag import Tag

from appliance.console.limits import Limits
from appliance.console.preview.stack import Stack
from appliance.console.text import number, one_line, unit

_MEASUREMENTS, _GROUP, _TRACKING, _FINDING = "126010", "125007", "112039", "121071"
_TAGS = {
    keyword: Tag(keyword) for keyword in ("ValueType", "CodeValue", "GraphicType", "ReferencedSOPInstanceUID")
}
CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.34"})


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One drawing (PS3.3 C.18.6): `points` are x, y, x, y ... in pixels, 0 at the corner of the first one."""

    image: int
    kind: str
    points: tuple[float, ...]


@dataclass(kw_only=True)
class Mark:
    """One measurement group."""

    label: str = ""
    finding: str = ""
    numbers: list[dict[str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    segment: int | None = None

    @property
    def encloses(self) -> bool:
        """Say whether it marks a region; a lone point may only carry numbers."""
        return any(shape.kind != "POINT" for shape in self.shapes)


def marks_of(report: Dataset, stack: Stack, limits: Limits) -> tuple[list[Mark], int]:
    """Return the groups of a report in its order, and how many were left out."""
    groups = [
        group
        for listed in _children(report)
        if _name(listed) == _MEASUREMENTS
        for group in _children(listed)
        if _name(group) == _GROUP
    ]
    left_over = limits.preview_points_max
    marks: list[Mark] = []
    for group in groups[: limits.preview_marks_max]:
        mark = _mark(group, stack)
        left_over -= sum(len(shape.points) // 2 for shape in mark.shapes)
        if left_over < 0:
            break
        marks.append(mark)
    return marks, len(groups) - len(marks)


def _mark(group: Dataset, stack: Stack) -> Mark:
    mark = Mark()
    for item in _children(group):
        _take(mark, item)
    mark.shapes = _shapes(group, stack)
    return mark


def _take(mark: Mark, item: Dataset) -> None:
    """Read one item of a group."""
    kind, name = _ascii(item, "ValueType"), _name(item)
    if kind == "TEXT" and name == _TRACKING:
        mark.label = one_line(item.get("TextValue"), chars_max=200)
    elif kind == "CODE" and name == _FINDING:
        mark.finding = _meaning(item.get("ConceptCodeSequence"))
    elif kind == "CODE" and item.get("RelationshipType") == "CONTAINS" and name != "276214006":
        mark.words.append(f"{_meaning(item.get('ConceptNameCodeSequence'))}: {_code(item)}")
    elif kind == "NUM":
        mark.numbers.append(_number(item))
    elif kind == "IMAGE" and mark.segment is None:
        mark.segment = _segment(item)


def _number(item: Dataset) -> dict[str, str]:
    measured = item.get("MeasuredValueSequence") or []
    value = measured[0].get("NumericValue") if measured else None
    units = measured[0].get("MeasurementUnitsCodeSequence") if measured else None
    return {
        "name": _meaning(item.get("ConceptNameCodeSequence")),
        "value": "no value" if value is None else number(float(value)),
        "unit": unit(units[0].get("CodeValue")) if units else "",
    }


def _shapes(group: Dataset, stack: Stack) -> list[Shape]:
    """Return the drawings of a group, else those of the first of its numbers that has any."""
    items = _children(group)
    own = [shape for item in items for shape in _drawn(item, stack)]
    below = (list(_below(item, stack)) for item in items if not own and _ascii(item, "ValueType") == "NUM")
    return own or next((shapes for shapes in below if shapes), [])


def _below(item: Dataset, stack: Stack) -> Iterator[Shape]:
    for child in _children(item):
        yield from _drawn(child, stack)


def _drawn(item: Dataset, stack: Stack) -> Iterator[Shape]:
    """Yield the drawing of one item for each image of ours that it lies on."""
    if _ascii(item, "ValueType") != "SCOORD":
        return
    points = tuple(float(value) for value in item.get("GraphicData") or ())
    for image in _images(item, stack):
        yield Shape(image=image, kind=_ascii(item, "GraphicType"), points=points)


def _images(scoord: Dataset, stack: Stack) -> Iterator[int]:
    for child in _children(scoord):
        for reference in child.get("ReferencedSOPSequence") or ():
            uid = _ascii(reference, "ReferencedSOPInstanceUID")
            for frame in _frames(reference.get("ReferencedFrameNumber")):
                at = stack.find(uid, frame)
                if at is not None:
                    yield at


def _frames(value: Any) -> Sequence[int | None]:
    if value is None:
        return (None,)
    return (int(value),) if isinstance(value, int | str) else tuple(int(frame) for frame in value)


def _segment(item: Dataset) -> int | None:
    for reference in item.get("ReferencedSOPSequence") or ():
        segment = reference.get("ReferencedSegmentNumber")
        if segment is not None:
            return int(segment if isinstance(segment, int) else segment[0])
    return None


def _children(item: Dataset) -> Sequence[Dataset]:
    return item.get("ContentSequence") or ()


def _name(item: Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    return _ascii(names[0], "CodeValue") if names else ""


def _ascii(item: Dataset, keyword: str) -> str:
    """Read a code or a UID; hundreds of groups hold ten thousands, so nothing is converted for them."""
    tag = _TAGS[keyword]
    found = item.get_item(tag) if tag in item else None
    value = None if found is None else found.value
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value or "")


def _meaning(codes: Any) -> str:
    return one_line(codes[0].get("CodeMeaning"), chars_max=120) if codes else ""


def _code(item: Dataset) -> str:
    return _meaning(item.get("ConceptCodeSequence"))
