"""What the console shows of findings: numbers in plain rows."""

from __future__ import annotations

from typing import Any

from models.findings import Findings, Measurement, Withheld


def rows_of(findings: Findings) -> list[dict[str, Any]]:
    """Return every measurement, of segments and of lesions, and every one withheld with its reason."""
    rows = [_row(m, m.segment) for m in findings.measurements]
    for lesion in findings.lesions:
        rows += [_row(m, f"{lesion.segment} {lesion.label}") for m in lesion.measurements]
    return rows + [_withheld(w) for w in findings.withheld]


def _row(measurement: Measurement, segment: str | None) -> dict[str, Any]:
    return {
        "name": _named(measurement),
        "value": measurement.value,
        "unit": measurement.unit.value,
        "segment": segment,
    }


def _withheld(withheld: Withheld) -> dict[str, Any]:
    return {
        "name": _named(withheld),
        "value": None,
        "unit": "",
        "segment": withheld.segment,
        "withheld": withheld.reason,
    }


def _named(item: Measurement | Withheld) -> str:
    return item.name.meaning if item.derivation is None else f"{item.derivation.meaning} {item.name.meaning}"
