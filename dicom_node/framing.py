"""Walk the framing of an encoded data set and judge it (PS3.5 7).

It promises: one pass, no recursion, nothing allocated from a length that was only claimed, no value read.
Every byte belongs to a header, a value or a delimiter when it returns; anything else is a Refusal.
It never repairs and never guesses another transfer syntax: readers that do are how two programs come to
see two patients in one file.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from pydicom._dicom_dict import DicomDictionary

from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.status import Status
from dicom_node.syntaxes import Encoding

UNDEFINED: Final = 0xFFFFFFFF
PIXEL_KEYWORDS: Final = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
# Group FFFE holds only delimiters; groups 0000 to 0003 belong to commands and file meta information.
_DELIMITERS: Final = 0xFFFE0000
_FIRST_TAG: Final = 0x00040000

_SHORT_VRS: Final = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"),
    *("LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
)
_LONG_VRS: Final = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
# PS3.5 7.1.2: these carry a 16-bit length, the others two reserved bytes and a 32-bit length.
_SHORT: Final = {vr.encode(): vr for vr in _SHORT_VRS}
_LONG: Final = {vr.encode(): vr for vr in _LONG_VRS}
_SEQUENCE_TAGS: Final = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")


class Span(NamedTuple):
    """Where the value of a top-level element lies: VR, byte offset in the data set, byte length.

    In Implicit VR the VR is "SQ" for sequences and "" otherwise: the bytes do not say it.
    """

    vr: str
    offset: int
    length: int


class PixelSpan(NamedTuple):
    """Where the value of the top-level pixel element lies (PS3.5 8, A.4).

    Encapsulated pixel data begins with its Basic Offset Table item and counts to the end of the data set.
    """

    keyword: str
    offset: int
    length: int
    encapsulated: bool


class _Frame(NamedTuple):
    """An open container: a sequence, an item, or the data set itself."""

    end: int  # its last byte + 1, or its parent's when it is closed by a delimiter
    open_ended: bool
    is_sequence: bool
    implicit: bool  # UN of undefined length holds Implicit VR Little Endian (PS3.5 6.2.2 note 2)
    little: bool


class _Reader(NamedTuple):
    """The two header layouts of one byte order."""

    explicit: Struct
    implicit: Struct
    long: Struct


_LITTLE: Final = _Reader(Struct("<HH2sH"), Struct("<HHL"), Struct("<L"))
_BIG: Final = _Reader(Struct(">HH2sH"), Struct(">HHL"), Struct(">L"))


class Walk:
    """One pass over one data set; `elements` and `pixel` are what it found at the top level."""

    def __init__(self, data: bytes | memoryview, encoding: Encoding, limits: Limits) -> None:
        """Hold the bytes; nothing is read yet."""
        self.elements: dict[int, Span] = {}
        self.pixel: PixelSpan | None = None
        self._data = data
        self._encoding = encoding
        self._limits = limits
        # One turn more than elements: the last one sees the end.
        self._elements_left = limits.elements_max + 1
        self._items_left = limits.items_max
        self._sequences = 0
        self._frames = [
            _Frame(len(data), False, False, encoding.implicit, not encoding.big_endian),
        ]

    def run(self) -> None:
        """Walk to the last byte.

        Raises:
            Refusal: NOT_READABLE when the framing is broken, BOUND_EXCEEDED when it is too deep or too wide.
        """
        self._check_syntax()
        frames = self._frames
        position = 0
        while frames:
            position = self._item(position) if frames[-1].is_sequence else self._elements(position)
        assert position == len(self._data)
        self._check_private_blocks()
        self._find_pixels()

    def fragments_fill(self, start: int) -> bool:
        """Tell whether the fragments from `start` on are whole and in order, and end with the last byte."""
        try:
            return self._fragments(start, len(self._data)) == len(self._data)
        except Refusal:
            return False

    # The hot loop. It is long because a call per element costs as much as the rest of the work.
    def _elements(self, position: int) -> int:
        """Read elements of the innermost data set until it ends or a sequence opens."""
        frame = self._frames[-1]
        data, end, implicit = self._data, frame.end, frame.implicit
        reader = _LITTLE if frame.little else _BIG
        header = reader.implicit.unpack_from if implicit else reader.explicit.unpack_from
        top = self.elements if len(self._frames) == 1 else None
        vr: str | None
        for left in range(self._elements_left, 0, -1):
            self._elements_left = left
            start = position + 8
            if start > end:
                return self._close(position)
            if implicit:
                group, element, length = header(data, position)
                tag = group << 16 | element
                vr = "SQ" if tag in _SEQUENCE_TAGS or length == UNDEFINED else ""
            else:
                group, element, code, length = header(data, position)
                tag = group << 16 | element
                vr = _SHORT.get(code)
            if not _FIRST_TAG <= tag < _DELIMITERS:
                return self._delimiter(tag, position)
            if vr is None:
                vr = _LONG.get(code)
                if vr is None:
                    raise _mismatch(position)
                if end - start < 4:
                    raise self._short(start, 4)
                (length,) = reader.long.unpack_from(data, start)
                start += 4
            if top is not None:
                if tag in top:
                    raise _doubled(position)
                top[tag] = Span(vr, start, length)
            if vr == "SQ" or length == UNDEFINED or (vr == "UN" and tag in _SEQUENCE_TAGS):
                position = self._open(tag, vr, start=start, length=length)
                if self._frames[-1] is not frame:
                    self._elements_left = left - 1
                    return position
                continue
            if length > end - start:
                raise self._short(start, length)
            position = start + length
        raise _too_many("elements", position)

    def _item(self, position: int) -> int:
        """Read one item header, or the end, of the innermost sequence (PS3.5 7.5)."""
        frame = self._frames[-1]
        if position == frame.end and not frame.open_ended:
            return self._pop(position)
        tag, length = self._item_header(position, frame)
        start = position + 8
        if tag == _SEQUENCE_END:
            if not frame.open_ended or length:
                raise _broken(position)
            return self._pop(start)
        if tag != _ITEM:
            raise _broken(position)
        self._items_left -= 1
        if self._items_left < 0:
            raise _too_many("items", position)
        open_ended = length == UNDEFINED
        if not open_ended and length > frame.end - start:
            raise self._short(start, length)
        end = frame.end if open_ended else start + length
        self._frames.append(frame._replace(end=end, open_ended=open_ended, is_sequence=False))
        return start

    def _item_header(self, position: int, frame: _Frame) -> tuple[int, int]:
        """Return tag and length of the item header at `position`."""
        if frame.end - position < 8:
            raise self._short(position, 8)
        reader = _LITTLE if frame.little else _BIG
        group, element, length = reader.implicit.unpack_from(self._data, position)
        return group << 16 | element, length

    def _delimiter(self, tag: int, position: int) -> int:
        """End an item of undefined length at its delimiter; no other delimiter may stand among elements."""
        if tag < _FIRST_TAG:
            raise Refusal(
                Status.NOT_READABLE,
                "receive.not_a_data_set",
                "Group 0000 or 0002 stands in the data set",
                offset=position,
            )
        frame = self._frames[-1]
        found, length = self._item_header(position, frame)
        assert found == tag
        if tag != _ITEM_END or not frame.open_ended or length:
            raise _broken(position)
        return self._pop(position + 8)

    def _close(self, position: int) -> int:
        """End a data set or item of defined length exactly at its last byte."""
        frame = self._frames[-1]
        if frame.open_ended or position != frame.end:
            raise self._short(position, 8)
        return self._pop(position)

    def _pop(self, position: int) -> int:
        """Close the innermost container; a top-level sequence only now knows its length."""
        if self._frames.pop().is_sequence:
            self._sequences -= 1
            if len(self._frames) == 1:
                tag = next(reversed(self.elements))
                span = self.elements[tag]
                self.elements[tag] = span._replace(length=position - span.offset)
        return position

    def _open(self, tag: int, vr: str, *, start: int, length: int) -> int:
        """Open a sequence, or step over a value in fragments; return where to read on."""
        frame = self._frames[-1]
        if vr in ("OB", "OW"):
            return self._fragmented(tag, vr, start)
        if vr not in ("SQ", "UN") or tag in PIXEL_KEYWORDS:
            raise _bad_length(start)
        open_ended = length == UNDEFINED
        if not open_ended and length > frame.end - start:
            raise self._short(start, length)
        if vr == "UN" and not open_ended and self._data[start : start + 4] != b"\xfe\xff\x00\xe0":
            return start + length
        self._sequences += 1
        if self._sequences > self._limits.sequence_depth_max:
            raise Refusal(
                Status.BOUND_EXCEEDED, "receive.too_deep", "Sequences are nested too deep", offset=start
            )
        unknown = vr == "UN"
        self._frames.append(
            _Frame(
                frame.end if open_ended else start + length,
                open_ended,
                True,
                frame.implicit or unknown,
                frame.little or unknown,
            )
        )
        return start

    def _fragmented(self, tag: int, vr: str, start: int) -> int:
        """Step over an encapsulated value and note it when it is at the top level."""
        end = self._fragments(start, self._frames[-1].end)
        if len(self._frames) == 1:
            self.elements[tag] = Span(vr, start, end - start)
            if tag in PIXEL_KEYWORDS:
                self.pixel = PixelSpan(PIXEL_KEYWORDS[tag], start, len(self._data) - start, True)
        return end

    def _fragments(self, start: int, end: int) -> int:
        """Walk the fragments of an encapsulated value and return where it ends (PS3.5 A.4)."""
        if not self._encoding.encapsulated:
            raise _bad_length(start)
        data, position, header = self._data, start, _LITTLE.implicit.unpack_from
        for _ in range(self._limits.fragments_max + 1):
            if end - position < 8:
                raise self._short(position, 8)
            group, element, length = header(data, position)
            found = group << 16 | element
            if found == _SEQUENCE_END and not length and position > start:
                return position + 8
            if found != _ITEM or length == UNDEFINED:
                raise _broken(position)
            if length > end - position - 8:
                raise self._short(position + 8, length)
            position += 8 + length
        raise _too_many("fragments", position)

    def _check_syntax(self) -> None:
        """Refuse bytes whose first element is written in another transfer syntax (PS3.5 7.1)."""
        data = self._data
        if len(data) < 8:
            raise self._short(0, 8)
        reader = _BIG if self._encoding.big_endian else _LITTLE
        group, _element, _length = reader.implicit.unpack_from(data, 0)
        if group > 0x00FF and group & 0x00FF == 0:
            raise _mismatch(0)
        code = bytes(data[4:6])
        looks_explicit = code in _SHORT or code in _LONG
        # An implicit length with two capital letters in it would be at least 16,705 bytes.
        # No element that may stand first is so long.
        if looks_explicit == self._encoding.implicit:
            raise _mismatch(0)

    def _find_pixels(self) -> None:
        """Note native pixels at the top level; at most one may be there (PS3.3 C.7.6.3, C.7.6.24)."""
        for tag, keyword in PIXEL_KEYWORDS.items():
            span = self.elements.get(tag)
            if span is not None and self.pixel is None:
                self.pixel = PixelSpan(keyword, span.offset, span.length, False)

    def _check_private_blocks(self) -> None:
        """Bound the private blocks reserved at the top level (PS3.5 7.8.1)."""
        if len(self.elements) <= self._limits.private_blocks_max:
            return
        blocks = sum(1 for tag in self.elements if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF)
        if blocks > self._limits.private_blocks_max:
            raise _too_many("private blocks", len(self._data))

    def _short(self, start: int, length: int) -> Refusal:
        """Name a value that does not fit: the data set was cut, or a length inside it lies."""
        plausible = length <= self._limits.instance_bytes_max
        if plausible and start + length > len(self._data):
            return Refusal(
                Status.NOT_READABLE, "receive.truncated", "Data set ends inside an element", offset=start
            )
        return _bad_length(start)


def _mismatch(position: int) -> Refusal:
    return Refusal(
        Status.NOT_READABLE,
        "receive.syntax_mismatch",
        "Data set is not in the negotiated transfer syntax",
        offset=position,
    )


def _broken(position: int) -> Refusal:
    return Refusal(
        Status.NOT_READABLE,
        "receive.bad_framing",
        "An item or delimiter is out of place",
        offset=position,
    )


def _bad_length(position: int) -> Refusal:
    return Refusal(
        Status.NOT_READABLE,
        "receive.bad_length",
        "An element claims an impossible length",
        offset=position,
    )


def _doubled(position: int) -> Refusal:
    return Refusal(Status.NOT_READABLE, "receive.doubled_element", "An element occurs twice", offset=position)


def _too_many(what: str, position: int) -> Refusal:
    return Refusal(
        Status.BOUND_EXCEEDED, "receive.too_many", f"Data set holds too many {what}", offset=position
    )
