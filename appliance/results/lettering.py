"""Which letters a printed page has, and what stands there for a text that needs others.

The fonts are Bitstream Vera, which the PDF library brings along and embeds: Western European letters, most
Turkish ones and some of Central Europe.
Promises: what is printed of a patient's data is either right or says that it is not the whole; no letter ever
becomes a question mark or a box.
Never: transcribes: only the patient's own romanised name stands for one in other letters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import reportlab
from pydicom.valuerep import PersonName
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from appliance.results.limits import DEFAULT

PLAIN = "Vera"
BOLD = "VeraBd"
# By path: by name alone the library would look through the system's fonts first.
_FONTS = Path(reportlab.__file__).parent / "fonts"
for _name in (PLAIN, BOLD):
    pdfmetrics.registerFont(TTFont(_name, str(_FONTS / f"{_name}.ttf")))

_LETTERS = frozenset(pdfmetrics.getFont(PLAIN).face.charToGlyph)
_ACCENTS = "(accents left out)"
NOT_WRITABLE = "(in letters that this page does not have)"
_CUT = " ... (cut)"
# No letter of the fonts is narrower, as a share of the size.
_NARROWEST = 0.25


def writable(text: str) -> bool:
    """Say whether the font has every letter of a text."""
    return all(ord(c) in _LETTERS and c.isprintable() for c in text)


def written(text: str) -> str:
    """Give a text as it can be printed: itself, without its accents, or a sentence in its place.

    A text beyond its bound is cut, and says so.
    """
    text = " ".join(text.split())
    if len(text) > DEFAULT.page_value_chars_max:
        text = text[: DEFAULT.page_value_chars_max] + _CUT
    if writable(text):
        return text
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return f"{bare} {_ACCENTS}" if bare.strip() and writable(bare) else NOT_WRITABLE


def written_name(name: PersonName | str | None) -> str:
    """Give a person's name as it can be printed: the first component group that the font has letters for.

    The groups are the romanised, the ideographic and the phonetic one (PS3.5 6.2.1.1).
    """
    groups = [group for group in _groups(name) if group.strip("^ ")]
    best = next((group for group in groups if writable(group)), groups[0] if groups else "")
    family, _, others = best.partition("^")
    given = " ".join(part for part in others.split("^") if part.strip())
    return written(", ".join(part for part in (family.strip(), given) if part))


def wrapped(text: str, *, font: str, size: float, width: float) -> list[str]:
    """Break a text into lines that fit a width in points; a word that is too long is cut."""
    lines = [part for line in simpleSplit(text, font, size, width) for part in _cut(line, font, size, width)]
    return lines or [""]


def _groups(name: PersonName | str | None) -> Iterator[str]:
    yield from str(name or "").split("=")


def _cut(line: str, font: str, size: float, width: float) -> Iterator[str]:
    while pdfmetrics.stringWidth(line, font, size) > width and len(line) > 1:
        fits = min(len(line) - 1, int(width / (size * _NARROWEST)) + 1)
        while fits > 1 and pdfmetrics.stringWidth(line[:fits], font, size) > width:
            fits -= 1
        yield line[:fits]
        line = line[fits:]
    yield line
