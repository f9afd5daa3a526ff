"""UIDs and numbers of a source image, read off its header at little cost: a result asks for thousands.

Never: decodes another element of the header.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

SOP_CLASS, SOP_INSTANCE = Tag(0x00080016), Tag(0x00080018)
STUDY, SERIES = Tag(0x0020000D), Tag(0x0020000E)
FRAME_OF_REFERENCE = Tag(0x00200052)


def uid(source: Dataset, tag: BaseTag) -> str:
    """Read a UID, empty where there is none; one that was never decoded is read off its bytes (PS3.5 9.1).

    Decoding it as any other element takes a tenth of a millisecond.
    """
    if tag not in source:
        return ""
    element = source.get_item(tag)
    if isinstance(element, RawDataElement):
        return (element.value or b"").decode("ascii", "replace").strip("\0 ")
    return str(element.value or "")


def number(source: Dataset, tag: BaseTag) -> int | None:
    """Read an Integer String, None where there is none, off its bytes where it was never decoded."""
    element = source.get_item(tag) if tag in source else None
    if isinstance(element, RawDataElement) and (digits := (element.value or b"").strip()).isdigit():
        return int(digits)
    value = None if element is None else source[tag].value
    return None if value in (None, "") else int(value)
