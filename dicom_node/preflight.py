"""Judge an encoded data set before anything else touches it, then read its header.

`scan` says whether the bytes are one whole data set in the transfer syntax they came under.
`inspect` says whether they are the instance the command announced, and reads the attributes routes ask for.
Both refuse with a status and never raise anything else for what the bytes hold; no pixel is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from dicom_node.errors import Refusal
from dicom_node.facts import FACT_KEYWORDS, FactReader, Json
from dicom_node.framing import PixelSpan, Span, Walk
from dicom_node.limits import Limits
from dicom_node.status import Status
from dicom_node.syntaxes import encoding_of
from dicom_node.values import Uid

__all__ = ["FACT_KEYWORDS", "Header", "PixelSpan", "Scan", "Span", "inspect", "scan", "study_uid_of"]

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Where things lie in a data set that was judged whole; `elements` holds the top level by tag."""

    transfer_syntax_uid: str
    elements: Mapping[int, Span]
    pixel: PixelSpan | None
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class Header:
    """Who an instance is and what its header says (PS3.3 C.12.1, C.7).

    `pixel_offset` counts bytes from the start of the data set to the value of the pixel element;
    `pixel_bytes` is its length, or what is left of the data set when the pixels are encapsulated.
    `facts` maps the keywords of `FACT_KEYWORDS` to values in DICOM's own types, fit for JSON; an attribute
    that may hold several values is always a list; absent, empty or unreadable is an absent key.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax_uid: str
    pixel_offset: int | None
    pixel_bytes: int | None
    facts: dict[str, Json] = field(default_factory=dict)


def scan(data: bytes | memoryview, transfer_syntax_uid: str, limits: Limits) -> Scan:
    """Judge the framing of an encoded data set (PS3.5 7 and A.4).

    Time and memory grow with the number of elements, which is bounded, and not with any claimed length.

    Raises:
        Refusal: NOT_READABLE (truncated, wrongly framed, in another transfer syntax, an element twice) or
            BOUND_EXCEEDED (nested deeper or holding more than `limits` allow).
    """
    if len(data) > limits.instance_bytes_max:
        raise Refusal(
            Status.BOUND_EXCEEDED, "receive.instance_too_large", "Instance is larger than kept here"
        )
    walk = Walk(data, encoding_of(transfer_syntax_uid), limits)
    walk.run()
    return Scan(
        transfer_syntax_uid=transfer_syntax_uid, elements=walk.elements, pixel=walk.pixel, limits=limits
    )


def inspect(data: bytes | memoryview, scan: Scan, *, sop_class_uid: str, sop_instance_uid: str) -> Header:
    """Compare a judged data set with the command that brought it and read its header (PS3.4 B.2.3).

    Raises:
        Refusal: UID_INVALID (a UID of the command or the data set is missing or malformed), UID_MISMATCH
            (another instance than announced) or CLASS_MISMATCH (another SOP class than announced).
    """
    big_endian = encoding_of(scan.transfer_syntax_uid).big_endian
    reader = FactReader(data, scan.elements, limits=scan.limits, big_endian=big_endian)
    announced_class, announced_instance = announced(
        reader, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid
    )
    return Header(
        sop_class_uid=announced_class,
        sop_instance_uid=announced_instance,
        study_uid=_uid(reader.text(_STUDY_INSTANCE_UID, "UI"), "Study Instance UID"),
        series_uid=_uid(reader.text(_SERIES_INSTANCE_UID, "UI"), "Series Instance UID"),
        transfer_syntax_uid=scan.transfer_syntax_uid,
        pixel_offset=scan.pixel.offset if scan.pixel else None,
        pixel_bytes=scan.pixel.length if scan.pixel else None,
        facts=reader.facts(),
    )


def announced(reader: FactReader, *, sop_class_uid: str, sop_instance_uid: str) -> tuple[Uid, Uid]:
    """Return SOP Class and Instance UID of a data set that is the one its command announced.

    Raises:
        Refusal: UID_INVALID, UID_MISMATCH or CLASS_MISMATCH.
    """
    announced_class = _uid(sop_class_uid, "SOP Class UID of the command")
    announced_instance = _uid(sop_instance_uid, "SOP Instance UID of the command")
    found = reader.text(_SOP_INSTANCE_UID, "UI")
    if found != announced_instance:
        _uid(found, "SOP Instance UID")
        raise Refusal(
            Status.UID_MISMATCH, "receive.uid_mismatch", "SOP Instance UID of command and data set differ"
        )
    found = reader.text(_SOP_CLASS_UID, "UI")
    if found != announced_class:
        _uid(found, "SOP Class UID")
        raise Refusal(
            Status.CLASS_MISMATCH, "receive.class_mismatch", "SOP Class UID of command and data set differ"
        )
    return announced_class, announced_instance


def study_uid_of(data: bytes | memoryview, transfer_syntax_uid: str, limits: Limits) -> Uid | None:
    """Return the Study Instance UID of a refused data set, as far as its bytes can be read.

    Only to tell people which study is short of an image; nothing else may be believed of such bytes.
    """
    try:
        encoding = encoding_of(transfer_syntax_uid)
        walk = Walk(data, encoding, limits)
        with suppress(Refusal):
            walk.run()
        reader = FactReader(data, walk.elements, limits=limits, big_endian=encoding.big_endian)
        return _uid(reader.text(_STUDY_INSTANCE_UID, "UI"), "Study Instance UID")
    except Refusal:
        return None


def _uid(text: str | None, name: str) -> Uid:
    """Return `text` as a UID or refuse, naming the attribute and never the value."""
    try:
        return Uid.parse(text or "")
    except ValueError:
        what = "is malformed" if text else "is missing"
        raise Refusal(Status.UID_INVALID, "receive.bad_uid", f"{name} {what}") from None
