"""Short ways to write coded concepts in an answer, and the colours labels get."""

from collections.abc import Mapping
from typing import Any

Concept = dict[str, str]
CATEGORIES: Mapping[str, Concept] = {
    "anatomy": {"value": "91723000", "scheme": "SCT", "meaning": "Anatomical Structure"},
    "lesion": {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"},
    "tissue": {"value": "85756007", "scheme": "SCT", "meaning": "Tissue"},
    "substance": {"value": "91720002", "scheme": "SCT", "meaning": "Body Substance"},
}
"""Segmented property categories, CID 7150."""
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Okabe and Ito's palette: told apart by people who do not see all colours."""
_CODED = ("type", "category", "concept", "unit", "finding")


def expanded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Write the short forms out: "78961009 SCT Spleen", "anatomy"; what is no short form stays as it is."""
    return {key: _concept(value) if key in _CODED else value for key, value in entry.items()}


def _concept(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value in CATEGORIES:
        return dict(CATEGORIES[value])
    parts = value.split(maxsplit=2)
    return dict(zip(("value", "scheme", "meaning"), parts, strict=True)) if len(parts) == 3 else value


def colour(number: int) -> list[int]:
    """Give the display colour of the label with this value."""
    return list(_COLOURS[(number - 1) % len(_COLOURS)])
