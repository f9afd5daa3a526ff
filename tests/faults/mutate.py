"""Malformed data sets and command sets, each made from a number: the same number makes the same bytes again.

The mutations know the framing they break: lengths, VRs, tags, delimiters, nesting, cuts and splices, besides
plain noise. `mutant(n)` is all that is needed to see a failure again.
"""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from dicom_node.syntaxes import encoding_of
from tests.dicom_node import raw
from tests.dicom_node.samples import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    REAL_FILES,
    Sample,
    element,
    encoded,
    header,
    item,
    nested,
    real,
    sample,
)

ENCAPSULATED: Final = "1.2.840.10008.1.2.5"
_BYTES_MAX: Final = 48 * 1024
_LONG: Final = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_VRS: Final = (*_LONG, b"AE", b"AT", b"CS", b"DS", b"FD", b"IS", b"LO", b"PN", b"SS", b"UI", b"UL", b"US")
_TAGS: Final = (
    *(0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFEE0FF, 0x00000000, 0x00020010, 0x00080005, 0x00080016),
    *(0x00080018, 0x0020000D, 0x00091010, 0x00081140, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0xFFFFFFFF),
)
_LENGTHS: Final = (0, 1, 2, 7, 8, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_TEXTS: Final = (
    *(
        b"../../etc/x",
        b"\x1b$B\x1b(J",
        b"\x1b$)C\xb1\xe8",
        b"\\" * 70,
        b"nan",
        b"1e999",
        b"-1\\2\\x",
        b"\xff\xfe",
    ),
    *(b"\0" * 9, b"ISO 2022 IR 87\\ISO 2022 IR 149", b"GB18030", b"ISO_IR 192", b"'\"<>&\r\n", b"9" * 80),
)


class Place(NamedTuple):
    """Where one header of a sound data set lies: of an element, an item or a delimiter."""

    start: int
    vr: int | None
    length_at: int
    length_bytes: int
    value: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A sound data set and the places where it can be broken."""

    sample: Sample
    places: tuple[Place, ...]

    @property
    def big(self) -> bool:
        return encoding_of(self.sample.transfer_syntax_uid).big_endian


def _places(data: bytes, syntax: str) -> Iterator[Place]:
    """Every header of a sound data set, inside sequences and fragments too."""
    encoding = encoding_of(syntax)
    order = ">" if encoding.big_endian else "<"
    position = 0
    while position + 8 <= len(data):
        group, number = struct.unpack_from(order + "HH", data, position)
        tag, code = group << 16 | number, data[position + 4 : position + 6]
        if group == 0xFFFE or encoding.implicit:
            vr, at, size = None, position + 4, 4
        elif code in _LONG:
            vr, at, size = position + 4, position + 8, 4
        else:
            vr, at, size = position + 4, position + 6, 2
        (length,) = struct.unpack_from(order + ("L" if size == 4 else "H"), data, at)
        value = at + size
        if length != 0xFFFFFFFF and value + length > len(data):
            # Inside UN of undefined length, which is Implicit VR (PS3.5 6.2.2): broken as a whole.
            return
        yield Place(position, vr, at, size, value, length)
        goes_in = length == 0xFFFFFFFF or code == b"SQ" or (tag == 0xFFFEE000 and not _fragment(data, value))
        position = value if goes_in else value + length


def _fragment(data: bytes, value: int) -> bool:
    """Whether an item holds a fragment: what is in a data set's item begins with a small group number."""
    return data[value : value + 2] not in (b"\x08\0", b"\0\x08", b"\x20\0", b"\x18\0", b"\x28\0", b"\x40\0")


def _made() -> Iterator[Sample]:
    known = sample()
    for syntax in (IMPLICIT, EXPLICIT, BIG):
        yield sample(syntax)
        yield sample(syntax, PatientName="Q^R", ImageType=["ORIGINAL", "PRIMARY"], PixelSpacing=["1", "2"])
        yield replace(known, data=encoded(header(), syntax, undefined=True), transfer_syntax_uid=syntax)
    base = encoded(header())
    yield replace(known, data=base + nested(12)[len(element(0x00080005, b"CS", b"ISO_IR 100")) :])
    fragments = item(b"") + item(b"\1\2\3\4") + item(b"\5\6") + item(b"", tag=0xFFFEE0DD)
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + fragments
    yield replace(known, data=base + pixels, transfer_syntax_uid=ENCAPSULATED)
    inner = encoded(header(SourceImageSequence=None), IMPLICIT)
    unknown = struct.pack("<HH2sHL", 0x0040, 0xA730, b"UN", 0, 0xFFFFFFFF)
    yield replace(known, data=base + unknown + item(inner) + item(b"", tag=0xFFFEE0DD))


@functools.cache
def seeds() -> tuple[Seed, ...]:
    """Sound data sets: pydicom's own objects in every family of syntaxes, and small ones made here."""
    samples = [*_made(), *(known for known in map(real, REAL_FILES) if len(known.data) <= _BYTES_MAX)]
    return tuple(
        Seed(sample=known, places=tuple(_places(known.data, known.transfer_syntax_uid))) for known in samples
    )


class _Tool:
    """One run of dice over one data set."""

    def __init__(self, seed: Seed, dice: random.Random) -> None:
        self.seed, self.dice = seed, dice
        self.data = bytearray(seed.sample.data)

    def place(self) -> Place:
        """A header; it may have moved since, and then the bytes there are what is broken."""
        return self.dice.choice(self.seed.places)

    def put(self, at: int, value: bytes) -> None:
        self.data[at : at + len(value)] = value

    def packed(self, kind: str, value: int) -> bytes:
        return struct.pack((">" if self.seed.big else "<") + kind, value)

    def length(self) -> None:
        place = self.place()
        bits = 8 * place.length_bytes
        wanted = self.dice.choice(
            (
                *_LENGTHS,
                place.length + 1,
                max(0, place.length - 1),
                place.length + 2,
                self.dice.getrandbits(bits),
            )
        )
        self.put(place.length_at, self.packed("L" if bits == 32 else "H", wanted % (1 << bits)))

    def vr(self) -> None:
        place = self.place()
        if place.vr is not None:
            self.put(place.vr, self.dice.choice((*_VRS, self.dice.randbytes(2))))

    def tag(self) -> None:
        other = self.place()
        twin = bytes(self.data[other.start : other.start + 4])
        tag = self.dice.choice(_TAGS)
        made = self.packed("H", tag >> 16) + self.packed("H", tag & 0xFFFF)
        self.put(self.place().start, self.dice.choice((made, twin, self.dice.randbytes(4))))

    def delimiter(self) -> None:
        order = ">HHL" if self.seed.big else "<HHL"
        tag = self.dice.choice(_TAGS[:4])
        made = struct.pack(order, tag >> 16, tag & 0xFFFF, self.dice.choice((0, 0, 0, 1, 0xFFFFFFFF)))
        place = self.place()
        at = self.dice.choice((place.start, place.value))
        self.data[at:at] = made

    def drop(self) -> None:
        place = self.place()
        del self.data[place.start : place.value + min(place.length, 4096)]

    def double(self) -> None:
        place = self.place()
        whole = bytes(self.data[place.start : place.value + min(place.length, 4096)])
        at = self.place().start
        self.data[at:at] = whole * self.dice.choice((1, 1, 1, 2, 200))

    def nest(self) -> None:
        depth = self.dice.choice((1, 3, 63, 64, 65, 300))
        at = self.place().start
        opening = nested(depth)[len(element(0x00080005, b"CS", b"ISO_IR 100")) :]
        closed = self.dice.random() < 0.5
        self.data[at:at] = opening if closed else opening[: len(opening) * 2 // 3]

    def cut(self) -> None:
        place = self.place()
        at = self.dice.choice(
            (place.start, place.length_at, place.value, self.dice.randrange(len(self.data) + 1))
        )
        del self.data[at:]

    def splice(self) -> None:
        other = self.dice.choice(seeds())
        theirs, ours = self.dice.choice(other.places), self.place()
        self.data[ours.start :] = other.sample.data[theirs.start :]

    def value(self) -> None:
        place = self.place()
        size = min(place.length, 64)
        text = self.dice.choice(_TEXTS).ljust(size, b" ")[:size]
        self.put(place.value, self.dice.choice((text, self.dice.randbytes(size), bytes(size))))

    def grow(self) -> None:
        place = self.place()
        added = self.dice.choice(_TEXTS) * self.dice.choice((1, 2, 100))
        added += b" " * (len(added) % 2)
        whole = place.length + len(added)
        if place.length_bytes == 4 or whole < 0xFFFF:
            self.put(place.length_at, self.packed("L" if place.length_bytes == 4 else "H", whole % (1 << 32)))
        self.data[place.value : place.value] = added

    def noise(self) -> None:
        for _ in range(self.dice.randint(1, 8)):
            if self.data:
                self.data[self.dice.randrange(len(self.data))] = self.dice.randrange(256)

    def shift(self) -> None:
        at = self.dice.randrange(len(self.data) + 1)
        if self.dice.random() < 0.5:
            del self.data[at : at + self.dice.randint(1, 9)]
        else:
            self.data[at:at] = self.dice.randbytes(self.dice.randint(1, 9))


_TOOLS: Final[tuple[Callable[[_Tool], None], ...]] = (
    *(_Tool.length, _Tool.length, _Tool.vr, _Tool.tag, _Tool.delimiter, _Tool.drop, _Tool.double),
    *(_Tool.nest, _Tool.cut, _Tool.splice, _Tool.value, _Tool.value, _Tool.grow, _Tool.noise, _Tool.shift),
)


def mutant(number: int) -> tuple[Seed, bytes, str]:
    """The data set that `number` makes: what it was made of, its bytes, and the syntax it comes under."""
    dice = random.Random(number)
    seed = dice.choice(seeds())
    tool = _Tool(seed, dice)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        dice.choice(_TOOLS)(tool)
    syntax = seed.sample.transfer_syntax_uid
    if dice.random() < 0.03:
        syntax = dice.choice((IMPLICIT, EXPLICIT, BIG, ENCAPSULATED))
    return seed, bytes(tool.data), syntax


def command(number: int) -> bytes:
    """The command set that `number` makes out of a C-STORE or C-ECHO request."""
    dice = random.Random(-number - 1)
    known = sample()
    parts = [
        raw.text(0x0002, known.sop_class_uid),
        raw.word(0x0100, dice.choice((1, 1, 1, 0x30, 0x20, 0x8001, 0x0FFF))),
        raw.word(0x0110, dice.randrange(1 << 16)),
        raw.word(0x0700, dice.choice((0, 1, 2, 3))),
        raw.word(0x0800, dice.choice((0, 1, 2, 0x0101))),
        raw.text(0x1000, known.sop_instance_uid),
    ]
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        _twist_elements(parts, dice)
    whole = bytearray(raw.command(*parts))
    for _ in range(dice.choice((0, 0, 1, 2, 4))):
        _twist_bytes(whole, dice)
    return bytes(whole)


def _twist_elements(parts: list[bytes], dice: random.Random) -> None:
    """Leave out, double, swap, add or blow up one element."""
    at = dice.randrange(len(parts)) if parts else 0
    number = dice.choice((0x0000, 0x0001, 0x0002, 0x0600, 0x0902, 0x1000, 0x1030, 0x1031, 0xFFFF))
    match dice.randrange(5):
        case 0 if parts:
            del parts[at]
        case 1 if parts:
            parts.insert(at, parts[at])
        case 2 if parts:
            parts.append(parts.pop(at))
        case 3:
            parts.append(raw.element(number, dice.randbytes(dice.choice((0, 1, 2, 3, 200)))))
        case _:
            parts.insert(at, raw.text(number, dice.choice(("", "../../x", "1.2", "9" * 300, "a b\\c"))))


def _twist_bytes(whole: bytearray, dice: random.Random) -> None:
    """Set, drop, add or cut bytes, or lie about a length."""
    if not whole:
        return
    at = dice.randrange(len(whole))
    match dice.randrange(5):
        case 0:
            whole[at] = dice.randrange(256)
        case 1:
            del whole[at : at + dice.randint(1, 4)]
        case 2:
            whole[at:at] = dice.randbytes(dice.randint(1, 4))
        case 3:
            del whole[at:]
        case _:
            whole[at & ~1 : (at & ~1) + 4] = struct.pack("<L", dice.choice(_LENGTHS))
