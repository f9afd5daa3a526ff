"""An SR or Key Object Selection document as far as an assessment needs it (PS3.3 C.17).

Promises: reading is bounded in bytes, items and depth; whatever the bytes are, a document or `Unreadable`.
Never: keeps who wrote or verified a document, or any text of it beyond a comparison.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as Items
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from appliance.assemble.limits import DEFAULT, ReadingLimits

# Scheme and value of a coded entry; meanings differ by language and are not compared (PS3.3 8.3).
Coded = tuple[str, str]
GROUP: Coded = ("DCM", "125007")
# Quoted from an earlier document (CID 7001): this one does not say it.
PREVIOUS_FINDINGS: Coded = ("DCM", "121068")
TRACKING_UID: Coded = ("DCM", "112040")
_UNREADABLE = (
    BytesLengthException, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError,
    AttributeError, NotImplementedError, RecursionError, struct.error, zlib.error,
)  # fmt: skip
# Not what a document says: who observed, and how it is to be understood.
_CONTEXT = ("HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT")
_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
_TEXT_MAX = 4_096


class Unreadable(Exception):
    """A document could not be read; the message says why, without anything of its content."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One SCOORD: its graphic type, the image it lies on, its points as (column, row, ...) in pixels."""

    graphic_type: str
    image_uid: str
    points: tuple[float, ...]


@dataclass(kw_only=True)
class Group:
    """What a measurement group says of one finding (PS3.16 TID 1410, 1411, 1501)."""

    tracking_uid: str = ""
    # (concept, unit, value) of every NUM, (concept, value) of every CODE.
    numbers: list[tuple[Coded, Coded, float]] = field(default_factory=list)
    codes: list[tuple[Coded, Coded]] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    # SOP Instance UIDs of segmentations and other objects it points at.
    objects: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document. References are SOP Instance UIDs."""

    sop_class_uid: str
    title: Coded
    complete: bool
    verified: bool
    predecessors: frozenset[str]
    referenced: frozenset[str]
    groups: Mapping[str, Group]
    # Concept and value of everything that is said outside of groups, and the coded values among it.
    statements: tuple[tuple[str, Coded, str], ...]
    values: frozenset[Coded]


def read_document(data: bytes, transfer_syntax_uid: str, limits: ReadingLimits = DEFAULT) -> Document:
    """Read an encoded data set.

    Args:
        data: the data set, without preamble and file meta information.
        transfer_syntax_uid: how it is encoded (PS3.5 10).
        limits: bounds of the reading.

    Raises:
        Unreadable: it is too large, too deep, has too many items, or is no data set at all.
    """
    try:
        # What the library warns of, others wrote and nobody here can mend.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _document(_parsed(data, transfer_syntax_uid, limits), limits)
    except _UNREADABLE as error:
        raise Unreadable(f"its encoding is damaged ({type(error).__name__})") from None


def _parsed(data: bytes, transfer_syntax_uid: str, limits: ReadingLimits) -> Dataset:
    if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        data = inflating.decompress(data, limits.document_bytes_max + 1)
    if len(data) > limits.document_bytes_max:
        raise Unreadable(f"it is larger than {limits.document_bytes_max} bytes")
    return read_dataset(
        BytesIO(data),
        is_implicit_VR=transfer_syntax_uid == ImplicitVRLittleEndian,
        is_little_endian=transfer_syntax_uid != ExplicitVRBigEndian,
    )


def _document(header: Dataset, limits: ReadingLimits) -> Document:
    if not _text(header, "SOPClassUID"):
        raise Unreadable("its encoding is damaged (it names no SOP class)")
    tree = _Tree(limits)
    tree.walk(header)
    found = {_text(header, "ReferencedSOPInstanceUID")}
    for keyword in _EVIDENCE:
        found |= _evidence(header, keyword, limits)
    found |= {_text(item, "ReferencedSOPInstanceUID") for item in _items(header, "ReferencedSOPSequence")}
    found |= {
        _text(item, "ReferencedSOPInstanceUID") for item in _items(header, "AssessedSOPInstanceSequence")
    }
    return Document(
        sop_class_uid=_text(header, "SOPClassUID"),
        title=_coded(header, "ConceptNameCodeSequence"),
        complete=_text(header, "CompletionFlag") == "COMPLETE",
        verified=_text(header, "VerificationFlag") == "VERIFIED" and _signed(header),
        predecessors=_evidence(header, "PredecessorDocumentsSequence", limits),
        referenced=frozenset(found | tree.referenced) - {""},
        groups={group.tracking_uid: group for group in tree.groups if group.tracking_uid},
        statements=tuple(sorted(tree.statements)),
        values=frozenset(tree.values),
    )


def _signed(header: Dataset) -> bool:
    """Say whether anybody is named as the one who verified (PS3.3 C.17.2, Type 1C); not who."""
    return bool(_items(header, "VerifyingObserverSequence"))


class _Tree:
    """What is collected on one walk through the content items; the walk needs no stack of calls."""

    def __init__(self, limits: ReadingLimits) -> None:
        self._limits = limits
        self.groups: list[Group] = []
        self.referenced: set[str] = set()
        self.statements: list[tuple[str, Coded, str]] = []
        self.values: set[Coded] = set()

    def walk(self, root: Dataset) -> None:
        waiting: list[tuple[Dataset, int, Group | None]] = [(root, 0, None)]
        seen = 0
        while waiting:
            parent, depth, group = waiting.pop()
            for item in _items(parent, "ContentSequence"):
                seen += 1
                if seen > self._limits.items_max or depth >= self._limits.item_depth_max:
                    raise Unreadable("it has more content items, or deeper ones, than are read")
                if _coded(item, "ConceptNameCodeSequence") == PREVIOUS_FINDINGS:
                    continue
                inside = self._take(item, group)
                waiting.append((item, depth + 1, inside))

    def _take(self, item: Dataset, group: Group | None) -> Group | None:
        """Note what one item says; return the group that its children belong to."""
        kind, name = _text(item, "ValueType"), _coded(item, "ConceptNameCodeSequence")
        if kind == "CONTAINER" and name == GROUP:
            return self._begin()
        if kind in ("IMAGE", "COMPOSITE", "WAVEFORM"):
            self._refer(item, group)
        elif group is not None:
            _add(group, item, kind, name)
        elif _text(item, "RelationshipType") not in _CONTEXT:
            self._state(item, kind, name)
        return group

    def _begin(self) -> Group:
        if len(self.groups) >= self._limits.groups_max:
            raise Unreadable("it has more measurement groups than are read")
        self.groups.append(Group())
        return self.groups[-1]

    def _refer(self, item: Dataset, group: Group | None) -> None:
        uids = {_text(entry, "ReferencedSOPInstanceUID") for entry in _items(item, "ReferencedSOPSequence")}
        self.referenced |= uids
        if len(self.referenced) > self._limits.references_max:
            raise Unreadable("it refers to more objects than are read")
        # A direct child of the group points at a segmentation; one of a SCOORD at the image it lies on.
        if group is not None and _text(item, "RelationshipType") == "CONTAINS":
            group.objects += sorted(uids)

    def _state(self, item: Dataset, kind: str, name: Coded) -> None:
        if kind == "CODE":
            value = _coded(item, "ConceptCodeSequence")
            self.values.add(value)
            self.statements.append((kind, name, f"{value[0]} {value[1]}"))
        elif kind == "TEXT":
            self.statements.append((kind, name, _text(item, "TextValue")[:_TEXT_MAX]))
        elif kind == "NUM":
            self.statements += [(kind, name, f"{value:.6g} {unit[1]}") for unit, value in _measured(item)]


def _add(group: Group, item: Dataset, kind: str, name: Coded) -> None:
    """Note what an item inside of a group says; its labels and its algorithm are not what it found."""
    if kind == "UIDREF" and name == TRACKING_UID and not group.tracking_uid:
        group.tracking_uid = _text(item, "UID")
    elif kind == "NUM":
        group.numbers += [(name, unit, value) for unit, value in _measured(item)]
    elif kind == "CODE" and _text(item, "RelationshipType") == "CONTAINS":
        group.codes.append((name, _coded(item, "ConceptCodeSequence")))
    elif kind == "SCOORD":
        group.shapes.append(_shape(item))


def _measured(item: Dataset) -> Iterator[tuple[Coded, float]]:
    for entry in _items(item, "MeasuredValueSequence"):
        yield _coded(entry, "MeasurementUnitsCodeSequence"), float(_text(entry, "NumericValue"))


def _shape(item: Dataset) -> Shape:
    found = item.get("GraphicData")
    points = found if isinstance(found, MultiValue | list) else []
    images = [
        _text(entry, "ReferencedSOPInstanceUID")
        for child in _items(item, "ContentSequence")
        for entry in _items(child, "ReferencedSOPSequence")
    ]
    return Shape(
        graphic_type=_text(item, "GraphicType"),
        image_uid=images[0] if images else "",
        points=tuple(float(value) for value in points),
    )


def _evidence(header: Dataset, keyword: str, limits: ReadingLimits) -> frozenset[str]:
    """Collect the instances of a hierarchical reference (PS3.3 C.17.2.1)."""
    found: set[str] = set()
    for study in _items(header, keyword):
        for series in _items(study, "ReferencedSeriesSequence"):
            found |= {
                _text(entry, "ReferencedSOPInstanceUID") for entry in _items(series, "ReferencedSOPSequence")
            }
            if len(found) > limits.references_max:
                raise Unreadable("it refers to more objects than are read")
    return frozenset(found) - {""}


def _items(holder: Dataset, keyword: str) -> list[Dataset]:
    value = holder.get(keyword)
    return list(value) if isinstance(value, Items) else []


def _text(holder: Dataset, keyword: str) -> str:
    value: Any = holder.get(keyword)
    return "" if value is None or isinstance(value, Items | MultiValue) else str(value).strip()


def _coded(holder: Dataset, keyword: str) -> Coded:
    entry = next(iter(_items(holder, keyword)), None)
    if entry is None:
        return ("", "")
    value = _text(entry, "CodeValue") or _text(entry, "LongCodeValue") or _text(entry, "URNCodeValue")
    return (_text(entry, "CodingSchemeDesignator"), value)
