"""How values are written for people: names, times, sizes. Escaping is the templates' work, not done here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Any

_CHARS_MAX = 64


def one_line(value: Any, *, chars_max: int = _CHARS_MAX) -> str:
    """Write any value on one line: control and direction characters become spaces, long text is cut."""
    text = "" if value is None else str(value)[: chars_max * 4]
    clean = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c for c in text)
    joined = " ".join(clean.split())
    return joined if len(joined) <= chars_max else joined[: chars_max - 1] + "…"


def person(value: Any) -> str:
    """Write a person name (PS3.5 6.2.1): "Family, Given Middle", the ideographic form behind it."""
    groups = [_group(part) for part in str(value or "")[: _CHARS_MAX * 8].split("=")[:2]]
    return one_line(" · ".join(group for group in groups if group)) or "(no name)"


def _group(text: str) -> str:
    family, *others = (component.strip() for component in text.split("^"))
    rest = " ".join(component for component in others[:2] if component)
    return ", ".join(part for part in (family, rest) if part)


def date(value: Any) -> str:
    """Write a DICOM date (PS3.5 6.2, DA) as 2026-11-21; anything else as it is."""
    text = one_line(value, chars_max=16)
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def local(seconds: float) -> datetime:
    """Return an epoch second in the server's own time zone."""
    return datetime.fromtimestamp(seconds).astimezone()


def moment(seconds: float | None) -> str:
    """Write an epoch second in the server's own time with its zone."""
    return "" if seconds is None else local(seconds).strftime("%Y-%m-%d %H:%M:%S %Z")


def duration(seconds: float) -> str:
    """Write a duration with its largest two units: "2 h 5 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(count: float) -> str:
    """Write bytes in GiB or MiB."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def number(value: Any) -> str:
    """Write a measured value: three significant places at least, thousands apart, text as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return one_line(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.3g}"


def unit(ucum: Any) -> str:
    """Write a UCUM unit as people do."""
    text = one_line(ucum)
    return {"[hnsf'U]": "HU", "1": "", "cm3": "cm³", "mm2": "mm²", "mm3": "mm³"}.get(text, text.strip("{}"))


def counted(count: int, noun: str) -> str:
    """Write a number with its noun: "1 image", "3 images", "2 series"."""
    if count == 1 or noun.endswith("series"):
        return f"{count:,} {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith(("dy", "ry")) else f"{count:,} {noun}s"


def listed(words: Iterable[str]) -> str:
    """Join words as a sentence does: "a, b and c"."""
    *front, last = list(words) or [""]
    return f"{', '.join(front)} and {last}" if front else last
