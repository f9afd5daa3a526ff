"""The head of a DICOM file: preamble, prefix and file meta information (PS3.10 7.1), read as it comes.

Promises: the data set behind it is not touched. What the preamble holds is not looked at and not kept.
Never: guesses: a file without its prefix, or without the three UIDs that say what it is, is none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from dicom_node.errors import Refusal
from dicom_node.status import Status
from dicom_node.values import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, UID_CHARACTERS_MAX

_PREAMBLE_BYTES: Final = 128
_PREFIX: Final = b"DICM"
_START: Final = _PREAMBLE_BYTES + len(_PREFIX)
_GROUP: Final = 0x0002
_CLASS, _INSTANCE, _SYNTAX = 0x0002, 0x0003, 0x0010
_WANTED: Final = frozenset((_CLASS, _INSTANCE, _SYNTAX))
# PS3.5 7.1.2: these have two reserved bytes and a length of four.
_LONG: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV")
)
_SHORT: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What a file says that it holds (PS3.10 Table 7.1-1); UIDs as they stand there, unchecked."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


class MetaReader:
    """Reads the head of one file from the pieces that it comes in."""

    def __init__(self, bytes_max: int) -> None:
        """Expect a preamble."""
        self._bytes_max = bytes_max
        self._head = bytearray()
        self._at = _START
        self._found: dict[int, str] = {}
        self.meta: Meta | None = None

    def feed(self, piece: memoryview) -> memoryview | None:
        """Take the next bytes; return what of them belongs to the data set once the head is through.

        Raises:
            Refusal: NOT_READABLE, this is no DICOM file; UID_INVALID, it lacks a UID.
        """
        taken = self._bytes_max - len(self._head)
        self._head += piece[:taken]
        if len(self._head) >= _START and self._head[_PREAMBLE_BYTES:_START] != _PREFIX:
            raise _not_a_file("no DICM behind the preamble")
        if not self._walk():
            if len(self._head) >= self._bytes_max:
                raise _not_a_file("file meta information without end")
            return None
        self.meta = self._made()
        # The first bytes of the data set may have come with an earlier piece.
        return memoryview(bytes(self._head[self._at :]) + piece[taken:])

    def _walk(self) -> bool:
        """Step over whole elements of the group; tell whether another group's begins."""
        head = self._head
        while len(head) >= self._at + 8:
            group, element, vr, length = struct.unpack_from("<HH2sH", head, self._at)
            if group != _GROUP:
                return True
            value_at = self._at + 8
            if vr in _LONG:
                if len(head) < value_at + 4:
                    return False
                (length,) = struct.unpack_from("<L", head, value_at)
                value_at += 4
            elif vr not in _SHORT:
                raise _not_a_file("file meta information in another encoding")
            if value_at + length > self._bytes_max:
                raise _not_a_file("file meta information without end")
            if len(head) < value_at + length:
                return False
            if element in _WANTED:
                self._take(element, bytes(head[value_at : value_at + length]))
            self._at = value_at + length
        return False

    def _take(self, element: int, value: bytes) -> None:
        if element in self._found:
            raise _not_a_file("file meta information says something twice")
        text = value.rstrip(b"\0 ")
        if len(text) > UID_CHARACTERS_MAX or not text.isascii():
            raise Refusal(
                Status.UID_INVALID, "receive.bad_uid", "UID of the file meta information is malformed"
            )
        self._found[element] = text.decode("ascii")

    def _made(self) -> Meta:
        if missing := _WANTED - self._found.keys():
            raise Refusal(
                Status.UID_INVALID,
                "receive.bad_uid",
                f"UID (0002,{min(missing):04X}) of the file meta information is missing",
            )
        return Meta(
            sop_class_uid=self._found[_CLASS],
            sop_instance_uid=self._found[_INSTANCE],
            transfer_syntax_uid=self._found[_SYNTAX],
        )


def head_of(meta: Meta) -> bytes:
    """Return the head of a file that holds an encoded data set of ours (PS3.10 7.1)."""
    elements = b"".join(
        (
            struct.pack("<HH2sHL", _GROUP, 0x0001, b"OB", 0, 2) + b"\0\1",
            _short(_CLASS, b"UI", meta.sop_class_uid),
            _short(_INSTANCE, b"UI", meta.sop_instance_uid),
            _short(_SYNTAX, b"UI", meta.transfer_syntax_uid),
            _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    group_length = struct.pack("<HH2sHL", _GROUP, 0x0000, b"UL", 4, len(elements))
    return bytes(_PREAMBLE_BYTES) + _PREFIX + group_length + elements


def _short(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", _GROUP, element, vr, len(value)) + value


def _not_a_file(why: str) -> Refusal:
    return Refusal(Status.NOT_READABLE, "receive.not_part10", f"Not a DICOM file: {why}")
