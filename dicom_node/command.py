"""The two command sets of C-STORE as bytes: read the request, write the response (PS3.7 9.3.1, 6.3.1, E.1).

Promises: a request that is not plainly a sound one is None, and the library's own reader judges it.
Never: raises for what a command holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, pack
from typing import Final

from dicom_node.receive import Answer
from dicom_node.status import Status

_ELEMENT: Final = Struct("<HHL")
_C_STORE_RQ: Final = b"\x01\x00"
_NO_DATA_SET: Final = b"\x01\x01"
_CLASS, _FIELD, _MESSAGE_ID = 0x0002, 0x0100, 0x0110
_PRIORITY, _DATA_SET_TYPE, _INSTANCE = 0x0700, 0x0800, 0x1000
# Those, the group length, and who moved what (PS3.7 9.3.1.1); any other element is for the library.
_ELEMENTS: Final = frozenset(
    {0x0000, _CLASS, _FIELD, _MESSAGE_ID, _PRIORITY, _DATA_SET_TYPE, _INSTANCE, 0x1030, 0x1031}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreCommand:
    """A C-STORE request without its data set; `message_id` is two bytes as they came."""

    message_id: bytes
    sop_class_uid: str
    sop_instance_uid: str


def read_store(command: bytes) -> StoreCommand | None:
    """Return the C-STORE request that `command` is, or None when the library must look at it."""
    values = _values(command)
    if values is None or values.get(_FIELD) != _C_STORE_RQ:
        return None
    message_id, priority, kind = values.get(_MESSAGE_ID), values.get(_PRIORITY), values.get(_DATA_SET_TYPE)
    sop_class_uid, instance_uid = _uid(values.get(_CLASS)), _uid(values.get(_INSTANCE))
    if not (sop_class_uid and instance_uid and message_id and priority and kind):
        return None
    if any(len(value) != 2 for value in (message_id, priority, kind)) or kind == _NO_DATA_SET:
        return None
    if priority not in (b"\0\0", b"\1\0", b"\2\0"):
        return None
    return StoreCommand(message_id=message_id, sop_class_uid=sop_class_uid, sop_instance_uid=instance_uid)


def _values(command: bytes) -> dict[int, bytes] | None:
    """Return the values of a command set by element number; None unless it is in order and complete."""
    values: dict[int, bytes] = {}
    position, end, last = 0, len(command), -1
    while position < end:
        if end - position < 8:
            return None
        group, element, length = _ELEMENT.unpack_from(command, position)
        position += 8
        if group or element <= last or element not in _ELEMENTS or length > end - position:
            return None
        values[element] = command[position : position + length]
        position += length
        last = element
    return values


def _uid(value: bytes | None) -> str:
    """Return a UID without its padding; none when it holds anything the library reads in its own way."""
    text = (value or b"").rstrip(b"\0 ")
    return "" if text.translate(None, b"0123456789.") else text.decode("ascii")


def store_response(command: StoreCommand, context_id: int, answer: Answer) -> bytes:
    """Return the P-DATA-TF PDU that answers `command` (PS3.7 9.3.1.2, PS3.8 9.3.5)."""
    elements = [
        _text(_CLASS, command.sop_class_uid, b"\0"),
        _word(_FIELD, b"\x01\x80"),
        _word(0x0120, command.message_id),
        _word(_DATA_SET_TYPE, _NO_DATA_SET),
        _word(0x0900, pack("<H", answer.status)),
    ]
    if answer.comment:
        elements.append(_text(0x0902, answer.comment, b" "))
    if answer.status is not Status.UID_INVALID:
        # A malformed UID is not echoed (PS3.7 9.1.1.1: optional).
        elements.append(_text(_INSTANCE, command.sop_instance_uid, b"\0"))
    body = b"".join(elements)
    length = len(body) + 12
    head = pack(">BxLLBB", 4, length + 6, length + 2, context_id, 3)
    return head + pack("<HHLL", 0, 0, 4, len(body)) + body


def _word(element: int, value: bytes) -> bytes:
    return _ELEMENT.pack(0, element, 2) + value


def _text(element: int, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += padding
    return _ELEMENT.pack(0, element, len(value)) + value
