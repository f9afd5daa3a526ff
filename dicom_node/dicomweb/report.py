"""The Store Instances Response (PS3.18 10.5.3 and Annex I.2), as JSON and XML, both ways where it is read.

Promises: an instance is named by UIDs that are sound, or not at all (Other Failures Sequence).
Never: repeats a value of a data set beside its UIDs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from dicom_node.values import Uid

JSON_TYPE: Final = "application/dicom+json"
XML_TYPE: Final = "application/dicom+xml"

_WARNING_REASON, _FAILURE_REASON = "00081196", "00081197"
_FAILED_SEQUENCE, _STORED_SEQUENCE, _OTHER_SEQUENCE = "00081198", "00081199", "0008119A"
_CLASS_UID, _INSTANCE_UID, _RETRIEVE_URL = "00081150", "00081155", "00081190"
_KEYWORDS: Final = {
    _WARNING_REASON: "WarningReason",
    _FAILURE_REASON: "FailureReason",
    _FAILED_SEQUENCE: "FailedSOPSequence",
    _STORED_SEQUENCE: "ReferencedSOPSequence",
    _OTHER_SEQUENCE: "OtherFailuresSequence",
    _CLASS_UID: "ReferencedSOPClassUID",
    _INSTANCE_UID: "ReferencedSOPInstanceUID",
    _RETRIEVE_URL: "RetrieveURL",
}
_NATIVE_MODEL: Final = "http://dicom.nema.org/PS3.19/models/NativeDICOM"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What became of one instance; `reason` is 0 when it was kept, else a failure reason (PS3.18 I.2.2)."""

    sop_class_uid: str
    sop_instance_uid: str
    reason: int = 0


def json_of(outcomes: Sequence[Stored]) -> bytes:
    """Return a response as DICOM JSON (PS3.18 F)."""
    return json.dumps(_dataset(outcomes), separators=(",", ":")).encode()


def xml_of(outcomes: Sequence[Stored]) -> bytes:
    """Return a response as a Native DICOM Model (PS3.19 A.1)."""
    root = ElementTree.Element("NativeDicomModel", {"xmlns": _NATIVE_MODEL, "xml:space": "preserve"})
    _add(root, _dataset(outcomes))
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _dataset(outcomes: Sequence[Stored]) -> dict[str, Any]:
    """Return the attributes by tag, as DICOM JSON has them; this box serves no retrieval, so no URL."""
    sequences: dict[str, list[dict[str, Any]]] = {}
    for one in outcomes:
        if not (_is_uid(one.sop_class_uid) and _is_uid(one.sop_instance_uid)):
            sequences.setdefault(_OTHER_SEQUENCE, []).append(_reason(one))
        elif one.reason:
            sequences.setdefault(_FAILED_SEQUENCE, []).append(_reference(one) | _reason(one))
        else:
            item = _reference(one) | {_RETRIEVE_URL: {"vr": "UR"}}
            sequences.setdefault(_STORED_SEQUENCE, []).append(item)
    found: dict[str, Any] = {_RETRIEVE_URL: {"vr": "UR"}}
    return found | {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items()}


def _reference(one: Stored) -> dict[str, Any]:
    return {
        _CLASS_UID: {"vr": "UI", "Value": [one.sop_class_uid]},
        _INSTANCE_UID: {"vr": "UI", "Value": [one.sop_instance_uid]},
    }


def _reason(one: Stored) -> dict[str, Any]:
    return {_FAILURE_REASON: {"vr": "US", "Value": [one.reason]}}


def _is_uid(text: str) -> bool:
    try:
        return bool(Uid.parse(text))
    except ValueError:
        return False


def _add(parent: ElementTree.Element, dataset: dict[str, Any]) -> None:
    for tag, attribute in sorted(dataset.items()):
        described = {"tag": tag, "vr": attribute["vr"], "keyword": _KEYWORDS[tag]}
        element = ElementTree.SubElement(parent, "DicomAttribute", described)
        for number, value in enumerate(attribute.get("Value", ()), start=1):
            name = "Item" if attribute["vr"] == "SQ" else "Value"
            child = ElementTree.SubElement(element, name, {"number": str(number)})
            if attribute["vr"] == "SQ":
                _add(child, value)
            else:
                child.text = str(value)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a peer's answer says: instance -> 0 or a warning reason, and instance -> failure reason."""

    stored: dict[str, int]
    failed: dict[str, int]


def read_json(data: bytes) -> Said | None:
    """Read a peer's response in DICOM JSON; None when it is none.

    The answer is hostile until checked: what has another shape counts as not said.
    """
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(tree, list) and len(tree) == 1:
        tree = tree[0]
    if not isinstance(tree, dict):
        return None
    stored = {uid: _number(item, _WARNING_REASON) for uid, item in _items(tree, _STORED_SEQUENCE)}
    failed = {uid: _number(item, _FAILURE_REASON) for uid, item in _items(tree, _FAILED_SEQUENCE)}
    return Said(stored=stored, failed=failed)


def read_xml(data: bytes) -> Said | None:
    """Read a peer's response as a Native DICOM Model; None when it is none, or declares entities."""
    if b"<!" in data:
        return None
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    if root.tag.rpartition("}")[2] != "NativeDicomModel":
        return None
    tree = {_tag(child): {"Value": [_plain(item) for item in child]} for child in root}
    stored = {uid: _number(item, _WARNING_REASON) for uid, item in _items(tree, _STORED_SEQUENCE)}
    failed = {uid: _number(item, _FAILURE_REASON) for uid, item in _items(tree, _FAILED_SEQUENCE)}
    return Said(stored=stored, failed=failed)


def _tag(element: ElementTree.Element) -> str:
    return element.get("tag", "").upper()


def _plain(item: ElementTree.Element) -> dict[str, Any]:
    """Return an item's attributes that have values, as DICOM JSON has them."""
    return {_tag(one): {"Value": [(value.text or "").strip() for value in one]} for one in item}


def _items(tree: dict[str, Any], tag: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the items of a sequence with the instance that each refers to."""
    found = []
    for item in _values(tree, tag):
        if isinstance(item, dict):
            uids = _values(item, _INSTANCE_UID)
            if uids and isinstance(uids[0], str):
                found.append((uids[0].strip(), item))
    return found


def _values(tree: dict[str, Any], tag: str) -> list[Any]:
    attribute = tree.get(tag)
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values if isinstance(values, list) else []


def _number(item: dict[str, Any], tag: str) -> int:
    values = _values(item, tag)
    try:
        return int(values[0]) if values else 0
    except (TypeError, ValueError, OverflowError):
        return 0
