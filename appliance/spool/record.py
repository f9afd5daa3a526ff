"""The head of a spool file: preamble and file meta information that carry the box's record (PS3.10 7.1).

A spool file is an ordinary DICOM file, so a person can open it with any tool when the box is gone.
The record (length, digest, when, from whom) stands in Private Information (0002,0102),
so the ledger's rows can be made again from the files alone.
The head has a fixed size; the data set behind it lies exactly as it came.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dicom_node.values import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

HEAD_BYTES = 1024
# Names the layout of the record; a reader that does not know it must not guess.
RECORD_CREATOR_UID = "2.25.104287369871204917340298651420397245181"
_PREFIX = b"\0" * 128 + b"DICM"
_LONG_VRS = (b"OB",)
_KINDS_MAX = 64
_note_text = json.JSONEncoder(separators=(",", ":")).encode
_GROUP_LENGTH_ELEMENT_BYTES = 12


class RecordFault(Exception):
    """The head of a spool file is not what this box writes."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the box knows of an instance besides its bytes; `length` in bytes, times in epoch seconds."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    received_at: float
    length: int
    digest: str


def encode(record: Record, **more: str | int | bool) -> bytes:
    """Return the head of a spool file, `HEAD_BYTES` long; its note holds `more` besides the record."""
    note = {"length": record.length, "digest": record.digest, "received_at": record.received_at, **more}
    before, behind = _around(record.sop_class_uid, record.transfer_syntax_uid, record.calling_ae)
    elements = before + _element(0x0003, b"UI", _uid(record.sop_instance_uid)) + behind
    used = len(_PREFIX) + _GROUP_LENGTH_ELEMENT_BYTES + len(elements) + 12
    text = _note_text(note).encode()
    room = HEAD_BYTES - used
    assert len(text) <= room, "the record fits the head: UIDs and AE titles are bounded"
    elements += _element(0x0102, b"OB", text.ljust(room))
    head = _PREFIX + _element(0x0000, b"UL", struct.pack("<I", len(elements))) + elements
    assert len(head) == HEAD_BYTES
    return head


@lru_cache(maxsize=_KINDS_MAX)
def _around(sop_class_uid: str, transfer_syntax_uid: str, calling_ae: str) -> tuple[bytes, bytes]:
    """Return the elements before and behind the instance's UID: the same for all of an association."""
    before = [_element(0x0001, b"OB", b"\0\1"), _element(0x0002, b"UI", _uid(sop_class_uid))]
    behind = [
        _element(0x0010, b"UI", _uid(transfer_syntax_uid)),
        _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
        _element(0x0013, b"SH", _text(IMPLEMENTATION_VERSION_NAME)),
        _element(0x0016, b"AE", _text(calling_ae)),
        _element(0x0100, b"UI", _uid(RECORD_CREATOR_UID)),
    ]
    return b"".join(before), b"".join(behind)


def digest_of(data: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes as `sha256:` and hexadecimal digits, as the ledger holds it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def as_file(
    data: bytes,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    calling_ae: str,
    at: float,
) -> bytes:
    """Return an encoded data set as a whole DICOM file, with this box's record in front (PS3.10 7.1)."""
    record = Record(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        calling_ae=calling_ae,
        received_at=at,
        length=len(data),
        digest=digest_of(data),
    )
    return encode(record) + data


def decode(head: bytes) -> Record:
    """Read the head of a spool file.

    Raises:
        RecordFault: it is torn, or another program's.
    """
    return read_head(head)[0]


def read_head(head: bytes) -> tuple[Record, dict[str, Any]]:
    """Read the head of a spool file and all that its note holds.

    Raises:
        RecordFault: it is torn, or another program's.
    """
    if len(head) < HEAD_BYTES or not head.startswith(_PREFIX):
        raise RecordFault("the file has no head of this box")
    try:
        values = _elements(head[len(_PREFIX) : HEAD_BYTES])
        if _plain(values[0x0100]) != RECORD_CREATOR_UID:
            raise RecordFault("the record was written by another program")
        note = json.loads(values[0x0102])
        record = Record(
            sop_class_uid=_plain(values[0x0002]),
            sop_instance_uid=_plain(values[0x0003]),
            transfer_syntax_uid=_plain(values[0x0010]),
            calling_ae=_plain(values[0x0016]),
            received_at=float(note["received_at"]),
            length=int(note["length"]),
            digest=str(note["digest"]),
        )
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise RecordFault("the record cannot be read") from error
    return record, note


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if vr in _LONG_VRS:
        return struct.pack("<HH2sHI", 2, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def _elements(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 8 <= len(data):
        _, element, vr, length = struct.unpack_from("<HH2sH", data, at)
        at += 8
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
        found[element] = data[at : at + length]
        at += length
    return found


def _uid(value: str) -> bytes:
    return value.encode("ascii") + b"\0" * (len(value) % 2)


def _text(value: str) -> bytes:
    return value.encode("ascii", "replace") + b" " * (len(value) % 2)


def _plain(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")
