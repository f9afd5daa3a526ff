"""UIDs of a source image, read off its header at little cost: a result asks for thousands of them.

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
