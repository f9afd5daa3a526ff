"""The words of a result: plain ASCII sentences, so that they fit into any patient's character set.

Promises: text from here can be written beside a patient name in any Specific Character Set (PS3.5 6.1.2.3),
and fits its value representation.
Never: holds patient data.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from appliance.results.context import Notice, Provenance, ResultContext
from appliance.results.limits import DEFAULT, Limits
from models.findings import Findings, Lesion, Measurement, Verdict, Withheld

NOT_PRIMARY = "not for primary diagnosis"
CAUTION = "NOT FOR PRIMARY DIAGNOSIS. Made by software; not verified by a person."

_LONG_STRING_CHARS_MAX = 64
# What NFKD does not take apart, by code point: signs of comparison, micro, dashes, quotation marks, times.
_PLAIN = {
    0x2265: ">=", 0x2264: "<=", 0x00B5: "u", 0x03BC: "u", 0x2013: "-", 0x2014: "-",
    0x2019: "'", 0x201C: '"', 0x201D: '"', 0x00D7: "x",
}  # fmt: skip
_VERDICTS = {
    Verdict.PRESENT: "present",
    Verdict.ABSENT: "absent",
    Verdict.ABSTAINED: "undecided, too close to the threshold",
}
_SHORT = {"standard deviation": "SD"}
_TITLES = {
    "sr": "AI report",
    "sr-cornerstone": "AI contours",
    "text-sr": "AI text",
    "seg": "AI overlay",
    "seg-fractional": "AI shares",
    "seg-labelmap": "AI labels",
    "sc": "AI picture",
    "gsps": "AI marks",
    "pdf": "AI page",
    "pmap": "AI heat map",
    "kos": "AI key images",
    "iocm": "REPLACED AI result",
    "notice": "NOT ANALYSED",
}
_OUTPUTS = {
    "sr": "report",
    "sr-cornerstone": "report with contours",
    "text-sr": "page of text",
    "seg": "segmentation",
    "seg-fractional": "fractional segmentation",
    "seg-labelmap": "label map segmentation",
    "sc": "picture",
    "gsps": "presentation state",
    "pdf": "printed page",
    "pmap": "heat map",
    "kos": "selection of key images",
}


def plain(text: str) -> str:
    """Write a text in printable ASCII on one line; what has no ASCII form becomes a question mark."""
    folded = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    folded = "".join(c for c in folded if not unicodedata.combining(c))
    return " ".join(folded.encode("ascii", "replace").decode("ascii").split())


def long_string(text: str, *, chars_max: int = _LONG_STRING_CHARS_MAX) -> str:
    """Make a text fit the value representation LO: 64 characters and no backslash (PS3.5 6.2)."""
    return plain(text).replace("\\", "/")[:chars_max].strip()


def series_description(title: str, provenance: Provenance, *, update: int | None = None) -> str:
    """Compose a Series Description: kind, model, version and the caution, in 64 characters.

    A long model name is cut, the caution never is.

    Args:
        title: key of the kind of object.
        provenance: who made it.
        update: the number of the run where the result replaces an earlier one; of two the higher is current.
    """
    caution = f" - {NOT_PRIMARY}"
    version = f" {long_string(provenance.model_version, chars_max=12 if update is None else 7)}"
    head = f"{_TITLES[title]} " if update is None else f"{_TITLES[title]} UPDATE {update} "
    room = max(_LONG_STRING_CHARS_MAX - len(head) - len(version) - len(caution), 0)
    return head + long_string(provenance.model_name, chars_max=room) + version + caution


def number(value: float) -> str:
    """Write a number for a reader: three decimals below 1, one above 100, two between."""
    digits = 3 if abs(value) < 1 else 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f}"


def derived_name(found: Measurement | Withheld) -> str:
    """Name a measurement with its derivation in front: "Mean Attenuation Coefficient".

    A standard deviation is written SD: in full, viewers cut the number off at the border of the image.
    """
    name = found.name.meaning
    if found.derivation is None or found.derivation.meaning.lower() in name.lower():
        return name
    return f"{_SHORT.get(found.derivation.meaning.lower(), found.derivation.meaning)} {name}"


def measurement(found: Measurement) -> str:
    """Write a measurement for a reader: "Mean Attenuation Coefficient: 12.34 HU"."""
    name, value, unit = measurement_cells(found)
    return f"{name}: {value} {unit}".rstrip()


def measurement_cells(found: Measurement) -> tuple[str, str, str]:
    """Write name, value and unit of a measurement for a table; what has no unit has an empty one."""
    unit = "" if found.unit.value == "1" else _unit(found.unit.value)
    return plain(derived_name(found)), number(found.value), plain(unit)


def lesion(found: Lesion) -> str:
    """Write a lesion for a reader, on one line."""
    numbers = "; ".join(measurement(m) for m in found.measurements)
    return plain(f"{found.finding.meaning} {found.label}: {numbers or number(found.probability)}")


def by_label(measurements: Sequence[Measurement]) -> dict[str | None, list[Measurement]]:
    """Group measurements by the label they belong to, in their own order; None is the whole series."""
    groups: dict[str | None, list[Measurement]] = {}
    for found in measurements:
        groups.setdefault(found.segment, []).append(found)
    return groups


def numbers(findings: Findings, *, limits: Limits = DEFAULT) -> list[str]:
    """Write the numbers of a result, one line per lesion and label, and how many more lesions there are."""
    lines = [lesion(found) for found in findings.lesions[: limits.text_lesions_max]]
    more = min(len(findings.lesions), limits.lesion_groups_max) - len(lines)
    if more > 0:
        lines.append(f"{more} more lesions are listed in the structured report, largest or likeliest first.")
    for label, group in by_label(findings.measurements).items():
        lines.append(plain(f"{label or 'Whole series'}: {'; '.join(measurement(m) for m in group)}"))
    return lines


def verdicts(findings: Findings) -> list[str]:
    """Say in words what the model answers about each label, absent ones too."""
    return [
        plain(
            f"{found.finding.meaning} ({found.label}): {_VERDICTS[found.verdict]}, "
            f"probability {number(found.probability)}, threshold {number(found.threshold)}"
        )
        for found in findings.classifications
    ]


def withheld(item: Withheld) -> str:
    """Say in words what was not measured, and why."""
    subject = f"{item.segment}, " if item.segment else ""
    return plain(f"Not measured: {subject}{derived_name(item)}. {item.reason}")


def conclusion(findings: Findings) -> str:
    """Say the kind of answer and the model's own sentence."""
    return plain(f"{findings.outcome.value.upper()}: {findings.statement}")


def reservations(findings: Findings, *, limits: Limits = DEFAULT) -> list[str]:
    """Say everything that a reader could otherwise miss: what was withheld, and lesions beyond the bound."""
    lines = [withheld(item) for item in findings.withheld]
    more = len(findings.lesions) - limits.lesion_groups_max
    if more > 0:
        lines.append(f"{more} more lesions, smaller or less probable, are not listed one by one.")
    return lines


def standing(context: ResultContext) -> list[str]:
    """Say what a reader must know of the result as a whole: what it replaces, and what could not be made."""
    lines = [] if not context.supersedes else [_replaces(context)]
    return [*lines, *(plain(remark) for remark in context.remarks)]


def _replaces(context: ResultContext) -> str:
    """Name the replaced result by its time, which its objects show as their content time."""
    which, at = "an earlier one", context.superseded_at
    if at is not None:
        which = f"the one of {at:%Y-%m-%d %H:%M:%S} {at.tzname() or ''}".strip()
    return plain(f"This result replaces {which} of the same study and model.")


def stand_in(context: ResultContext, output: str) -> list[str]:
    """Say of what an object takes the place, if it does; true for whoever opens it."""
    asked = context.stands_in.get(output)
    if asked is None:
        return []
    return [f"Stands in for the {_OUTPUTS[asked]}, which a destination does not take."]


def not_made(outputs: Sequence[str], *, unplaced: Sequence[str] = ()) -> list[str]:
    """Say what was asked for and cannot be made of these findings, or of images without a place."""
    others = [output for output in outputs if output not in unplaced]
    reasons = (
        ("these findings give none", others),
        ("the images do not say where in the patient they lie", unplaced),
    )
    return [
        f"Not part of this result, for {reason}: {', '.join(_OUTPUTS[output] for output in named)}."
        for reason, named in reasons
        if named
    ]


def sentences(lines: Sequence[str]) -> str:
    """Join lines so that each ends with a full stop."""
    return " ".join(line if line.endswith(".") else f"{line}." for line in lines if line)


def notice_heading(notice: Notice) -> str:
    """Head a notice so that nobody reads it as a negative (P8)."""
    return f"NOT ANALYSED ({notice.kind}). This is not a negative result."


def at_site(what: str, who: Provenance) -> str:
    """Add where it stands; `readside analyse` has no site."""
    return f"{what} at {who.site_name}" if who.site_name else what


def made_by(context: ResultContext) -> list[str]:
    """Say which product, model, engine and box made the result (P7); what is not known is left out."""
    who = context.provenance
    lines = [
        at_site(f"{who.product} {who.product_version} ({who.manufacturer})", who),
        f"Model: {who.model_name} {who.model_version}, {who.model_digest}",
        f"Route: {context.route}; run {context.run}",
    ]
    named = {
        "Engine": who.engine,
        "Engine stepped down": who.stepped_down,
        "Intended use": who.intended_use,
        "Regulatory status": who.regulatory_status,
    }
    lines += [f"{name}: {value}" for name, value in named.items() if value]
    return [plain(line) for line in lines]


def _unit(ucum: str) -> str:
    """Write a UCUM unit as people do: "[hnsf'U]" is HU, annotations lose their braces."""
    return "HU" if ucum == "[hnsf'U]" else ucum.strip("{}")
