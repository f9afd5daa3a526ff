"""The few numbers that a gate stands on: ratios with their bounds, differences of pairs, quantiles of cells.

Promises: a bound holds for any count, from 0 of n to n of n; no division by nought.
Never: decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from appliance.health.kinds import TURNAROUND_SECONDS

# What lies above the last edge is taken to end at twice the edge.
_EDGES = (0.0, *(float(edge) for edge in TURNAROUND_SECONDS), 2.0 * TURNAROUND_SECONDS[-1])


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A ratio less another one, with bounds of the difference."""

    ratio: float
    ratio_before: float
    difference: float
    low: float
    high: float

    def as_numbers(self) -> dict[str, float]:
        """Return it as evidence."""
        return asdict(self)


def wilson(count: float, of: float, *, z: float) -> tuple[float, float]:
    """Return the bounds of a ratio: Wilson's score interval (J. Am. Stat. Assoc. 22, 1927)."""
    if of <= 0:
        return 0.0, 1.0
    ratio, square = min(max(count / of, 0.0), 1.0), z * z
    middle = (ratio + square / (2 * of)) / (1 + square / of)
    half = z / (1 + square / of) * math.sqrt(ratio * (1 - ratio) / of + square / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def paired(counts: Sequence[tuple[int, int, int, int]], *, z: float) -> Difference:
    """Compare ratios on the same devices: (studies, hits, studies before, hits before) of each.

    What was before is weighted by how many studies each device had since, so that a device which always fails
    more does not speak for or against the new version by having become busier. Bounds after Newcombe's
    method 10 (Stat. Med. 17, 1998).
    """
    studies = sum(one[0] for one in counts)
    weighted = [
        (new / studies if studies else 0.0, before, hits) for new, _, before, hits in counts if before
    ]
    ratio_before = sum(weight * hits / before for weight, before, hits in weighted)
    spread = sum(weight * weight / before for weight, before, _ in weighted)
    ratio = sum(one[1] for one in counts) / studies if studies else 0.0
    low, high = wilson(ratio * studies, studies, z=z)
    low_before, high_before = wilson(ratio_before / spread if spread else 0, 1 / spread if spread else 0, z=z)
    difference = ratio - ratio_before
    return Difference(
        ratio=ratio,
        ratio_before=ratio_before,
        difference=difference,
        low=difference - math.hypot(ratio - low, high_before - ratio_before),
        high=difference + math.hypot(high - ratio, ratio_before - low_before),
    )


def quantile(cells: Sequence[int], share: float) -> float:
    """Return the turnaround, in seconds, below which a share of the studies lies; even inside a cell."""
    wanted, below = share * sum(cells), 0.0
    for cell, count in enumerate(cells):
        if count and below + count >= wanted:
            low, high = _EDGES[cell], _EDGES[cell + 1]
            return low + (high - low) * (wanted - below) / count
        below += count
    return _EDGES[-1]


def above(cells: Sequence[int], seconds: float) -> float:
    """Return how many studies took longer; even inside a cell, so not a whole number."""
    found = 0.0
    for cell, count in enumerate(cells):
        low, high = _EDGES[cell], _EDGES[cell + 1]
        found += count * min(1.0, max(0.0, (high - seconds) / (high - low)))
    return found
