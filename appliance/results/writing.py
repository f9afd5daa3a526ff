"""The bytes of a data set in Explicit VR Little Endian (PS3.5 7.1): those that pydicom writes, in less time.

pydicom opens a stream for each element, and looks through every item for ambiguous VRs once for each level
above it. Here texts, UIDs and sequences are put together as bytes; all that is rare is left to pydicom,
element by element or item by item.
Promises: byte for byte what pydicom writes; large values are copied once.
Never: decodes what was never decoded and can be written as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding, encode_string
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr_element, write_data_element, write_sequence_item
from pydicom.tag import BaseTag
from pydicom.valuerep import AMBIGUOUS_VR, EXPLICIT_VR_LENGTH_32

_UNDEFINED_LENGTH = 0xFFFFFFFF
_SHORT_LENGTH_MAX = 0xFFFF
# Tag, VR and length; with two reserved bytes for the VRs whose length has four (PS3.5 7.1.2).
_SHORT = Struct("<HH2sH")
_LONG = Struct("<HH2sxxI")
_ITEM = Struct("<HHI")
_US = Struct("<H")
_CHARACTERS = frozenset(("AE", "AS", "CS", "DA", "DT", "TM", "UI", "UR"))
# VRs whose bytes depend on the character set (PS3.5 6.1.2.3); names of people are left to pydicom.
_TEXTS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
_BYTES = frozenset(("OB", "OF", "OW"))


def written(made: Dataset) -> bytes:
    """Encode a data set without preamble and file meta information.

    Elements that were never decoded must be in Explicit VR Little Endian already.
    """
    charset = convert_encodings(made.get("SpecificCharacterSet", default_encoding))
    return b"".join(_Writer().elements(made, [], charset))


def item(data: bytes) -> bytes:
    """Make an item of a sequence of its elements' bytes (PS3.5 7.5)."""
    return _ITEM.pack(0xFFFE, 0xE000, len(data)) + data


def element(tag: BaseTag, vr: str, value: bytes) -> bytes:
    """Make an element of the bytes of its value, which is of even length."""
    return _head(tag, vr, len(value)) + value


def uid_element(tag: BaseTag, uid: str) -> bytes:
    """Make an element of a UID."""
    return element(tag, "UI", even(uid.encode(default_encoding), b"\0"))


def sequence(tag: BaseTag, items: Iterable[bytes]) -> RawDataElement:
    """Make a sequence of items that are encoded already, to be put into a data set."""
    value = b"".join(items)
    return RawDataElement(tag, "SQ", len(value), value, 0, is_implicit_VR=False, is_little_endian=True)


class _Writer:
    """Writes one data set; it keeps the texts that it has encoded, for most come many times."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], bytes] = {}

    def elements(self, made: Dataset, above: Sequence[Dataset], charset: list[str]) -> list[bytes]:
        """Encode the elements of a data set; `above` are those it is nested in, the nearest first."""
        ancestors = [made, *above]
        parts: list[bytes] = []
        for tag in sorted(made.keys(), key=int):
            # Group lengths are retired (PS3.5 7.2).
            if tag & 0xFFFF or tag >> 16 <= 6:
                parts += self._element(made.get_item(tag), ancestors, charset)
        return parts

    def _element(
        self, found: DataElement | RawDataElement, ancestors: list[Dataset], charset: list[str]
    ) -> Sequence[bytes]:
        if found.VR in AMBIGUOUS_VR:
            found = correct_ambiguous_vr_element(found, ancestors[0], True, ancestors)
        vr, value = found.VR or "", self._value(found, ancestors, charset)
        if value is None or (len(value) > _SHORT_LENGTH_MAX and vr not in EXPLICIT_VR_LENGTH_32):
            return [_by_pydicom(found, charset)]
        return _head(found.tag, vr, len(value)), value

    def _value(
        self, found: DataElement | RawDataElement, ancestors: list[Dataset], charset: list[str]
    ) -> bytes | None:
        """Encode the value of an element; None for what is left to pydicom."""
        if isinstance(found, RawDataElement):
            return None if found.length == _UNDEFINED_LENGTH else found.value
        if found.is_undefined_length:
            return None
        if found.VR == "SQ":
            return b"".join(self._item(one, ancestors, charset) for one in found.value)
        return self._plain(found.VR, found.value, charset)

    def _item(self, one: Dataset, above: list[Dataset], charset: list[str]) -> bytes:
        undefined = getattr(one, "is_undefined_length_sequence_item", False)
        if undefined or any(isinstance(found, RawDataElement) for found in one.values()):
            stream = _stream()
            write_sequence_item(stream, one, charset)
            return stream.getvalue()
        if "SpecificCharacterSet" in one:
            charset = convert_encodings(one.SpecificCharacterSet)
        return item(b"".join(self.elements(one, above, charset)))

    def _plain(self, vr: str, value: object, charset: list[str]) -> bytes | None:
        if isinstance(value, str):
            if vr in _CHARACTERS:
                return even(value.encode(default_encoding), b"\0" if vr == "UI" else b" ")
            return self._text(value, charset) if vr in _TEXTS else None
        if isinstance(value, bytes) and vr in _BYTES:
            return even(value, b"\0")
        return _US.pack(value) if vr == "US" and isinstance(value, int) else None

    def _text(self, text: str, charset: list[str]) -> bytes:
        key = text, "\\".join(charset)
        if key not in self._texts:
            self._texts[key] = even(encode_string(text, charset))
        return self._texts[key]


def _head(tag: BaseTag, vr: str, length: int) -> bytes:
    layout = _LONG if vr in EXPLICIT_VR_LENGTH_32 else _SHORT
    return layout.pack(tag >> 16, tag & 0xFFFF, vr.encode(), length)


def even(value: bytes, padding: bytes = b" ") -> bytes:
    """Pad a value to an even length (PS3.5 6.2)."""
    return value + padding if len(value) % 2 else value


def _by_pydicom(found: DataElement | RawDataElement, charset: list[str]) -> bytes:
    stream = _stream()
    write_data_element(stream, found, charset)
    return stream.getvalue()


def _stream() -> DicomBytesIO:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    return stream
