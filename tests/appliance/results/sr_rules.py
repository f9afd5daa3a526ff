"""The rules by which a viewer was measured (OHIF 3.13.2), over a decoded report: R1 to R7, R10 to R13.

R1   a report is titled (126000,DCM) and follows TID 1500; anything else is a page of text;
R2   groups lie under "Imaging Measurements", named in English by exactly these meanings;
R3   a group has a tracking identifier and UID, and that UID is its first;
R4   no two groups have one tracking UID;
R5   every item of a group has a concept name;
R6   every group has a shape, and a shape an image of the study;
R7   one shape in a group, one under a number;
R10  a shape in the group hydrates as a point or a rectangle of five points;
R11  any other needs a tool's name in front of its identifier;
R12  the first number of a group holds its shape;
R13  every other number holds the same one.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

CORNERSTONE = "Cornerstone3DTools@^0.1.0:"
_MEANINGS = {
    "126010": "Imaging Measurements",
    "125007": "Measurement Group",
    "112039": "Tracking Identifier",
    "112040": "Tracking Unique Identifier",
}
_SHAPES = ("SCOORD", "SCOORD3D")


def code(item: Dataset) -> str:
    """Give the code of an item's name; empty where it has none."""
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


def children(item: Dataset, wanted: str | None = None) -> list[Dataset]:
    """List the items in an item, those of one name only where one is given."""
    return [c for c in item.get("ContentSequence", []) if wanted in (None, code(c))]


def groups(report: Dataset) -> list[Dataset]:
    """List the measurement groups of a report."""
    return [g for part in children(report, "126010") for g in children(part, "125007")]


def shapes(item: Dataset) -> list[Dataset]:
    """List the shapes directly in an item."""
    return [c for c in children(item) if c.ValueType in _SHAPES]


def numbers(group: Dataset) -> list[Dataset]:
    """List the numbers of a group."""
    return [c for c in children(group) if c.ValueType == "NUM"]


def faults(report: Dataset) -> list[str]:
    """List what a viewer would stumble over; empty where a report is shown whole."""
    return [
        *_of_report(report),
        *(f for n, g in enumerate(groups(report), 1) for f in _numbered(n, g, report)),
    ]


def hydrates(group: Dataset) -> bool:
    """Say whether a group becomes a measurement of the viewer: R10 to R12."""
    found = numbers(group)
    if found and not shapes(found[0]):
        return False
    shape = next(iter([*shapes(group), *(s for n in found for s in shapes(n))]))
    identifier = children(group, "112039")[0].TextValue
    if identifier.startswith(CORNERSTONE):
        return True
    corners = len(shape.GraphicData) // 2
    generic = (shape.GraphicType, corners) in {("POINT", 1), ("POLYLINE", 4), ("POLYLINE", 5)}
    return bool(shapes(group)) and generic


def _of_report(report: Dataset) -> Iterator[str]:
    if code(report) != "126000":
        yield "R1: the title is not (126000,DCM)"
    templates = report.get("ContentTemplateSequence")
    if not templates or templates[0].TemplateIdentifier != "1500":
        yield "R1: the template is not 1500"
    if not groups(report):
        yield "R6: there is no group"
    uids = [str(uid.UID) for g in groups(report) for uid in children(g, "112040")]
    if len(uids) != len(set(uids)):
        yield "R4: a tracking UID twice"
    for item in report.iterall():
        if item.keyword == "ConceptNameCodeSequence":
            name = item.value[0]
            if _MEANINGS.get(str(name.CodeValue), name.CodeMeaning) != name.CodeMeaning:
                yield f"R2: {name.CodeValue} is called {name.CodeMeaning}"


def _numbered(number: int, group: Dataset, report: Dataset) -> Iterator[str]:
    for fault in (*_of_identity(group), *_of_shapes(group, report)):
        yield f"group {number}: {fault}"


def _of_identity(group: Dataset) -> Iterator[str]:
    if any(not code(item) for item in children(group)):
        yield "R5: an item without a name"
    if len(children(group, "112039")) != 1 or len(children(group, "112040")) != 1:
        yield "R3: not one tracking identifier and UID"
    first = next((item for item in children(group) if item.ValueType == "UIDREF"), None)
    if first is None or code(first) != "112040":
        yield "R3: the first UID is not the tracking UID"


def _of_shapes(group: Dataset, report: Dataset) -> Iterator[str]:
    own, under = shapes(group), [shapes(number) for number in numbers(group)]
    every = [*own, *(shape for one in under for shape in one)]
    if not every:
        yield "R6: no shape"
    if any(code(shape) != "111030" for shape in own):
        yield "R10: the shape of the group is not an Image Region"
    if len(own) > 1 or any(len(one) != 1 for one in under):
        yield "R7, R12, R13: not one shape in the group and one under each number"
    if len({(s.GraphicType, tuple(s.GraphicData)) for s in every if s.ValueType == "SCOORD"}) > 1:
        yield "R13: shapes of one group differ"
    for shape in every:
        yield from _of_shape(shape, report)
    for shape in (s for one in under for s in one):
        if shape.RelationshipType != "INFERRED FROM":
            yield "R12: a number is not inferred from its shape"


def _of_shape(shape: Dataset, report: Dataset) -> Iterator[str]:
    if shape.ValueType == "SCOORD3D":
        yield "R8: a shape in space"
    images = [c for c in children(shape) if c.ValueType == "IMAGE"]
    if [c.RelationshipType for c in images] != ["SELECTED FROM"]:
        yield "R6: a shape without its one image"
    evidence = {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    for image in images:
        if str(image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) not in evidence:
            yield "R6: an image that is no evidence of the study"
