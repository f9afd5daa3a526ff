"""The attributes a route or a model may ask for, read out of a judged data set (PS3.6).

Values come in DICOM's own types, fit for JSON: IS, US and SS as int, DS as float, the rest as text.
An attribute whose value multiplicity may exceed one is always a list, however many values it holds.
One that is absent, empty, of a wrong VR or unreadable is an absent key: a fact is never half true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias, cast

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from dicom_node.framing import Span
from dicom_node.limits import Limits
from dicom_node.text import DEFAULT_ENCODINGS, decode, encodings_of, plain

Json: TypeAlias = str | int | float | list[str] | list[int] | list[float]

IDENTITY_KEYWORDS: Final = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
)
SERIES_KEYWORDS: Final = (
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "BodyPartExamined",
    "ProtocolName",
    "Manufacturer",
    "ManufacturerModelName",
    "ImageType",
    "FrameOfReferenceUID",
    "SpecificCharacterSet",
    "InstanceNumber",
    "ConvolutionKernel",
    "GantryDetectorTilt",
    "PatientPosition",
)
IMAGE_KEYWORDS: Final = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)
FACT_KEYWORDS: Final = frozenset((*IDENTITY_KEYWORDS, *SERIES_KEYWORDS, *IMAGE_KEYWORDS))

# PS3.5 6.2: a decimal string is 16 characters; longer ones are seen and read.
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NUMBER_CHARACTERS_MAX: Final = 64
# The sign of a padding value is not taken from its VR, so either VR will do.
_ALIKE: Final = {"US": ("SS",), "SS": ("US",)}
_WORDS: Final = {
    False: {"US": Struct("<H"), "SS": Struct("<h")},
    True: {"US": Struct(">H"), "SS": Struct(">h")},
}
# PS3.5 6.1.2.3: Specific Character Set speaks of these alone; all others are in the default repertoire.
_IN_CHARACTER_SET: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_PIXEL_REPRESENTATION: Final = 0x00280103
_SPECIFIC_CHARACTER_SET: Final = 0x00080005


@dataclass(frozen=True, kw_only=True)
class _Fact:
    """One attribute of the dictionary: PS3.6 6."""

    keyword: str
    tag: int
    vr: str
    is_list: bool


def _fact(keyword: str) -> _Fact:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr, vm = dictionary_VR(tag), dictionary_VM(tag)
    return _Fact(keyword=keyword, tag=tag, vr=vr, is_list=vm != "1")


_FACTS: Final = tuple(_fact(keyword) for keyword in sorted(FACT_KEYWORDS))
_BY_TAG: Final = {fact.tag: fact for fact in _FACTS}


def tags_of(keywords: Collection[str] = FACT_KEYWORDS) -> frozenset[int]:
    """Return the tags of attributes that may be asked for."""
    return frozenset(fact.tag for fact in _FACTS if fact.keyword in keywords)


class FactReader:
    """Reads values at known places of one judged data set; it never raises for what a value holds."""

    def __init__(
        self, data: bytes | memoryview, elements: Mapping[int, Span], *, limits: Limits, big_endian: bool
    ) -> None:
        """Read Specific Character Set and Pixel Representation, on which other values depend."""
        self._data = data
        self._elements = elements
        self._limits = limits
        self._words_of = _WORDS[big_endian]
        # What values were last, by tag: most of a series' are the same from slice to slice.
        self._last: dict[int, tuple[bytes, Json | None]] = {}
        self._encodings: tuple[str, ...] = ()
        self._encodings = encodings_of(self._texts(_SPECIFIC_CHARACTER_SET, "CS"))
        # PS3.3 C.7.5.1.1.2: the sign of a padding value follows the pixels, whatever VR it was written with.
        self._padding_vr = "SS" if self._words(_PIXEL_REPRESENTATION, "US") == [1] else "US"

    def again(self, data: bytes | memoryview) -> FactReader:
        """Return a reader of another data set whose elements lie at the same places.

        Its Specific Character Set and Pixel Representation have to be the same too.
        """
        other = FactReader.__new__(FactReader)
        # What copy() does, in a tenth of its time.
        other.__dict__.update(self.__dict__)
        other._data = data
        return other

    def refresh(self, tag: int, facts: dict[str, Json]) -> None:
        """Read one attribute anew into `facts`."""
        span = self._elements.get(tag)
        if span is None:
            return
        raw = bytes(self._data[span.offset : span.offset + span.length])
        last = self._last.get(tag)
        if last is None or last[0] != raw:
            last = self._last[tag] = (raw, self._value(_BY_TAG[tag]))
        value = last[1]
        if value is not None:
            facts[_BY_TAG[tag].keyword] = value.copy() if isinstance(value, list) else value
        else:
            facts.pop(_BY_TAG[tag].keyword, None)

    def facts(self) -> dict[str, Json]:
        """Return every readable attribute of `FACT_KEYWORDS` by keyword."""
        found: dict[str, Json] = {}
        for fact in _FACTS:
            if fact.tag in self._elements:
                value = self._value(fact)
                if value is not None:
                    found[fact.keyword] = value
        return found

    def text(self, tag: int, vr: str) -> str | None:
        """Return the text of `tag`, undivided, or None when it is absent or empty."""
        raw = self._raw(tag, vr)
        if vr == "UI":
            return _uid_text(raw) or None
        if vr in _IN_CHARACTER_SET:
            return decode(raw, self._encodings or DEFAULT_ENCODINGS).strip(" ") or None
        return plain(raw).strip(" ") or None

    def integer(self, tag: int) -> int | None:
        """Return the one IS value of `tag`, or None when it is absent or not a whole number."""
        return _integer(self.text(tag, "IS") or "")

    def _value(self, fact: _Fact) -> Json | None:
        """Return one attribute in its own type, or None."""
        if fact.vr in ("US", "US or SS"):
            return _shape(self._words(fact.tag, "US" if fact.vr == "US" else self._padding_vr), fact)
        if fact.vr == "DS":
            return _shape([_decimal(text) for text in self._texts(fact.tag, "DS")], fact)
        if fact.vr == "IS":
            return _shape([_integer(text) for text in self._texts(fact.tag, "IS")], fact)
        if not fact.is_list:
            return self.text(fact.tag, fact.vr)
        texts = self._texts(fact.tag, fact.vr)
        return texts if any(texts) else None

    def _texts(self, tag: int, vr: str) -> list[str]:
        """Return the values of a text element; split after decoding, as GB 18030 may hold 5CH."""
        text = self.text(tag, vr)
        if text is None:
            return []
        return [part.strip(" ") for part in text.split("\\", self._limits.fact_values_max)]

    def _words(self, tag: int, vr: str) -> list[int]:
        """Return the values of a US or SS element."""
        raw = self._raw(tag, vr)
        if len(raw) % 2:
            return []
        return [number for (number,) in self._words_of[vr].iter_unpack(raw)]

    def _raw(self, tag: int, vr: str) -> bytes:
        """Return the bytes of `tag`, cut to the bound, or none when its VR is not the one expected."""
        span = self._elements.get(tag)
        if span is None or span.vr not in (vr, "", "UN", *_ALIKE.get(vr, ())):
            return b""
        length = min(span.length, self._limits.fact_text_bytes_max)
        return bytes(self._data[span.offset : span.offset + length])


def _shape(values: Sequence[int | float | None], fact: _Fact) -> Json | None:
    """Return numbers as the dictionary shapes them: one, or a list; None unless every one was read."""
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) != len(values):
        return None
    if fact.is_list:
        return cast("Json", numbers)
    return numbers[0] if len(numbers) == 1 else None


def _uid_text(raw: bytes) -> str:
    """Return a UID without its padding (PS3.5 9.1).

    What cannot be in one is replaced and never dropped: with an escape sequence or a NUL left out, bytes
    that no other reader takes for a UID would become a good one.
    """
    return raw.rstrip(b" \0").decode("ascii", "replace").replace("\0", "\ufffd")


def _integer(text: str) -> int | None:
    """Return the whole number a text holds; "12.0" is one."""
    number = _decimal(text)
    return int(number) if number is not None and number.is_integer() else None


def _decimal(text: str) -> float | None:
    """Return the finite number a text holds, or None (PS3.5 6.2, VR DS)."""
    if len(text) > _NUMBER_CHARACTERS_MAX or not _DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
