"""What releases did: jobs that ended become counts of an hour, and hours become totals.

Promises: what is kept on the box is exact; what may leave is rounded here, and nowhere later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from appliance.core.words import JobState, Outcome
from appliance.health.codes import Failure, failure_of
from appliance.health.fields import cells_of, few, fives, tally_of
from appliance.health.kinds import INFERENCE_SECONDS, TURNAROUND_SECONDS
from appliance.ledger.hours import Ended

_COUNTS: Final = ("done", "positives", "negatives", "abstained", "not_eligible", "held", "stepped_down")
_OUTCOMES: Final = {
    Outcome.FINDING: "positives",
    Outcome.NO_FINDING: "negatives",
    Outcome.ABSTAINED: "abstained",
    Outcome.NOT_ELIGIBLE: "not_eligible",
}
_ANSWERS: Final = (Outcome.FINDING, Outcome.NO_FINDING, Outcome.MEASURED, Outcome.ABSTAINED)


def by_release(ended: Iterable[Ended]) -> dict[str, dict[str, Any]]:
    """Return what each package did, by its digest, as exact counts and cells that JSON can hold."""
    grouped: dict[str, list[Ended]] = {}
    for one in ended:
        grouped.setdefault(one.model_digest, []).append(one)
    return {digest: _counted(found) for digest, found in grouped.items()}


def added(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of what a package did in several hours."""
    total: dict[str, Any] = _counted([])
    for part in parts:
        for name in _COUNTS:
            total[name] += part.get(name, 0)
        for name, count in part.get("failed", {}).items():
            total["failed"][name] = total["failed"].get(name, 0) + count
        for name in ("turnaround", "inference"):
            cells = part.get(name, [])
            total[name] = [a + b for a, b in zip(total[name], cells or [0] * len(total[name]), strict=True)]
    return total


def hour_values(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one package did in one hour, as it may leave the site."""
    failed = {Failure[name]: count for name, count in counted["failed"].items()}
    return {
        **{name: few(counted[name]) for name in _COUNTS},
        "failed": tally_of(Failure, failed),
        "turnaround": tuple(few(cell) for cell in counted["turnaround"]),
        "inference": tuple(few(cell) for cell in counted["inference"]),
    }


def total_values(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one package did since some day, as it may leave the site."""
    failures = sum(counted["failed"].values()) + counted["held"]
    return {
        "studies": fives(counted["done"] + failures),
        "failures": fives(failures),
        "positives": fives(counted["positives"]),
        "turnaround": tuple(fives(cell) for cell in counted["turnaround"]),
    }


def _counted(ended: Sequence[Ended]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for one in ended:
        counts["done"] += one.outcome in _ANSWERS
        counts["stepped_down"] += one.stepped_down and one.outcome in _ANSWERS
        counts["held"] += one.state is JobState.HELD
        if one.outcome in _OUTCOMES:
            counts[_OUTCOMES[one.outcome]] += 1
        if one.state is JobState.FAILED:
            failed[failure_of(one.word).name] += 1
    return {
        **{name: counts[name] for name in _COUNTS},
        "failed": dict(failed),
        "turnaround": list(cells_of(TURNAROUND_SECONDS, _known(e.turnaround_seconds for e in ended))),
        "inference": list(cells_of(INFERENCE_SECONDS, _known(e.inference_seconds for e in ended))),
    }


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
