"""The usual P-DATA PDU in the middle of a data set, taken at a glance (PS3.8 9.3.5).

Nearly every PDU of an image has one item, the next fragment of the same data set.
Its two headers are twelve bytes, which come with the first byte read: so they are judged as one.

Promises: takes nothing unless all is as usual; then it takes the twelve bytes, no more.
Never: waits for anything but a first byte.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from dicom_node.reader import Reader

_HEADERS: Final = Struct(">BxLLBB")
_P_DATA: Final = 0x04
_COMMAND: Final = 1


class Broken(Exception):
    """The peer broke the protocol; carries the word for the log."""

    def __init__(self, word: str, **values: object) -> None:
        """Keep the word and what is said beside it."""
        super().__init__(word)
        self.word, self.values = word, values


def take_usual(reader: Reader, context_id: int, bytes_max: int) -> tuple[int, int] | None:
    """Return control header and length of the next fragment, or None when the headers want a closer look.

    Raises:
        Cut, Called: as the reader does.
    """
    head = reader.glance(_HEADERS.size)
    if head is None:
        return None
    kind, pdu, item, context, control = _HEADERS.unpack(head)
    if kind != _P_DATA or context != context_id or control & _COMMAND:
        return None
    if pdu > bytes_max or item != pdu - 4 or item < 2:
        return None
    reader.skip(_HEADERS.size)
    return control, item - 2
