"""What the console shows of findings: numbers in plain rows."""

from __future__ import annotations

from typing import Any

from appliance.results.earlier import full_name
from models import codes
from models.findings import Findings, Measurement, Withheld


def rows_of(findings: Findings) -> list[dict[str, Any]]:
    """Return every measurement, of labels, boxes and lesions, and every one withheld with its reason."""
    rows = [_probability(c.probability, f"{c.label}: {c.verdict}") for c in findings.classifications]
    for box in findings.detections:
        rows.append(_probability(box.probability, f"{box.kind} {box.label}"))
        rows += [_row(m, f"{box.kind} {box.label}") for m in box.measurements if m.name != codes.PROBABILITY]
    rows += [_row(m, m.segment) for m in findings.measurements]
    for lesion in findings.lesions:
        rows += [_row(m, f"{lesion.segment} {lesion.label}") for m in lesion.measurements]
    return rows + [_withheld(w) for w in findings.withheld]


def _row(measurement: Measurement, segment: str | None) -> dict[str, Any]:
    return {
        "name": full_name(measurement),
        "value": measurement.value,
        "unit": measurement.unit.value,
        "segment": segment,
    }


def _probability(value: float, of: str) -> dict[str, Any]:
    return {"name": codes.PROBABILITY.meaning, "value": value, "unit": codes.NO_UNITS.value, "segment": of}


def _withheld(withheld: Withheld) -> dict[str, Any]:
    return {
        "name": full_name(withheld),
        "value": None,
        "unit": "",
        "segment": withheld.segment,
        "withheld": withheld.reason,
    }
