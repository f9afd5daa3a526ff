"""Decode text by Specific Character Set without ever raising or warning (PS3.5 6.1, PS3.3 C.12.1.1.2).

pydicom's own decoder warns, and a warning is either an exception or a line with a patient's name in it.
So its tables are used and the decoding is done here, with replacement characters where bytes make no sense.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydicom.charset import CODES_TO_ENCODINGS, default_encoding, python_encoding

_ESCAPE: Final = b"\x1b"
_FRAGMENTS: Final = re.compile(rb"\x1b[^\x1b]*|[^\x1b]+")
# PS3.5 6.1.2.5.3: at these the initial character set is active again.
_RESETS: Final = re.compile(rb"[\r\n\f\t\\^=]")
_WILD_TERM: Final = re.compile(r"ISO[ _-]?(IR|2022)[ _-]?(?:IR[ _-]?)?([0-9]+)", re.ASCII)
DEFAULT_ENCODINGS: Final = (default_encoding,)
# Python's codecs for these understand the escape sequences themselves; the others must not see them.
_SELF_ESCAPING: Final = frozenset({"iso2022_jp", "iso2022_jp_2"})


def encodings_of(terms: Sequence[str]) -> tuple[str, ...]:
    """Return Python codec names for the values of Specific Character Set (PS3.3 Table C.12-2 to C.12-5).

    Terms misspelt in known ways are understood; unknown ones count as the default repertoire.
    """
    return tuple(_codec(term) for term in terms) or DEFAULT_ENCODINGS


def _codec(term: str) -> str:
    """Return the codec of one defined term."""
    if codec := python_encoding.get(term):
        return codec
    if match := _WILD_TERM.fullmatch(term.upper()):
        family, number = match.groups()
        spelt = f"ISO_IR {number}" if family == "IR" else f"ISO 2022 IR {number}"
        return python_encoding.get(spelt, default_encoding)
    return python_encoding.get(term.upper(), default_encoding)


def decode(value: bytes, encodings: Sequence[str]) -> str:
    """Decode `value`, honouring code extensions (PS3.5 6.1.2.5); undecodable bytes become U+FFFD.

    NUL characters are dropped: no text VR allows them and no database column takes them.
    """
    if _ESCAPE in value:
        text = "".join(_fragment(part, encodings) for part in _FRAGMENTS.findall(value))
    else:
        text = _plain(value, encodings[0])
    return text.replace("\0", "")


def plain(value: bytes) -> str:
    """Decode text of the default repertoire, in which an escape sequence is no more than its bytes.

    NUL characters are dropped as in `decode`.
    """
    return _plain(value, default_encoding).replace("\0", "")


def _plain(value: bytes, encoding: str) -> str:
    """Decode bytes without code extensions."""
    return value.decode(encoding, "replace")


def _fragment(part: bytes, encodings: Sequence[str]) -> str:
    """Decode one run that begins with an escape sequence, or the run in front of the first."""
    if not part.startswith(_ESCAPE):
        return _plain(part, encodings[0])
    code = part[: 4 if part.startswith((b"\x1b$(", b"\x1b$)")) else 3]
    encoding = CODES_TO_ENCODINGS.get(code)
    if encoding is None:
        return _plain(part, encodings[0])
    if encoding in _SELF_ESCAPING:
        # Of the two 7-bit bytes to a character, one may look like a delimiter.
        return part.decode(encoding, "replace")
    reset = _RESETS.search(part, len(code))
    cut = reset.start() if reset else len(part)
    return part[len(code) : cut].decode(encoding, "replace") + _plain(part[cut:], encodings[0])
