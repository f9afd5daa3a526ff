"""Whether what a model is given, or what it answers, has moved: a test whose limit scales with the evidence.

A population stability index (PSI) over fixed cells, of `n` studies against `m` from the beginning, is about
chi-square with as many degrees of freedom as cells less one, times 1/n + 1/m, when nothing moved. A fixed
limit of 0.1 or 0.25 is noise below 200 studies; this one is held against that distribution.

Promises: below `studies_min` on either side the answer is "not enough data", which is neither good nor bad;
the size of the shift stands beside the test.
Never: compares two makers' scanners with one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from appliance.health.fields import cells_of

_CELL_MIN: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class DriftLimits:
    """From when on a shift counts.

    Attributes:
        studies_min: in a window, and at the beginning.
        windows: in a row that must have moved.
        alpha: how often one window may seem to move when nothing did.
    """

    studies_min: int = 200
    windows: int = 3
    alpha: float = 0.001


DRIFT: Final = DriftLimits()


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How one window stands to the beginning.

    Attributes:
        size: the PSI, the effect itself.
        ratio: the statistic over its limit; above 1 it moved.
    """

    size: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What can be said of one number of one model at one maker's scanners.

    Attributes:
        newest: of the last window; none: not enough data.
        windows: how many windows in a row, the newest among them, moved.
        drifts: whether that is enough to say so.
    """

    newest: Shift | None
    windows: int = 0
    drifts: bool = False


def shift(reference: Sequence[int], window: Sequence[int], *, limits: DriftLimits = DRIFT) -> Shift | None:
    """Compare two histograms with the same cells; none where either has too few studies."""
    m, n = sum(reference), sum(window)
    if min(m, n) < limits.studies_min:
        return None
    expected, seen = _pooled(reference, window)
    if len(expected) < 2:
        return Shift(size=0.0, ratio=0.0)
    # Half a study in each cell keeps an empty one from weighing without bound.
    cells = len(expected)
    p = [(count + 0.5) / (m + 0.5 * cells) for count in expected]
    q = [(count + 0.5) / (n + 0.5 * cells) for count in seen]
    size = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    limit = chi_square_above(limits.alpha, cells - 1) * (1 / n + 1 / m)
    return Shift(size=size, ratio=size / limit)


def judge(
    edges: Sequence[float],
    reference: Sequence[float],
    windows: Sequence[Sequence[float]],
    *,
    limits: DriftLimits = DRIFT,
) -> Verdict:
    """Judge windows of values, the newest first, against the first values; a window is of a count."""
    base = cells_of(edges, reference)
    shifts = [shift(base, cells_of(edges, window), limits=limits) for window in windows]
    if not shifts or shifts[0] is None:
        return Verdict(newest=None)
    moved = 0
    for one in shifts:
        if one is None or one.ratio <= 1:
            break
        moved += 1
    return Verdict(newest=shifts[0], windows=moved, drifts=moved >= limits.windows)


def _pooled(reference: Sequence[int], window: Sequence[int]) -> tuple[list[int], list[int]]:
    """Join neighbouring cells until each would hold five of the smaller side: sparse cells cry wolf."""
    m, n = sum(reference), sum(window)
    least = _CELL_MIN * (m + n) / min(m, n)
    left: list[int] = []
    right: list[int] = []
    a = b = 0
    for one, other in zip(reference, window, strict=True):
        a, b = a + one, b + other
        if a + b >= least:
            left, right, a, b = [*left, a], [*right, b], 0, 0
    if a + b:
        if not left:
            return [a], [b]
        left[-1], right[-1] = left[-1] + a, right[-1] + b
    return left, right


@lru_cache(maxsize=256)
def chi_square_above(alpha: float, degrees: int) -> float:
    """Return what a chi-square variable of these degrees of freedom exceeds with probability `alpha`."""
    low, high = 0.0, 10.0 * degrees + 200.0
    for _ in range(80):
        middle = (low + high) / 2
        if _survival(middle, degrees) > alpha:
            low = middle
        else:
            high = middle
    return high


def _survival(x: float, degrees: int) -> float:
    """Return 1 - F(x) by the closed forms (Abramowitz and Stegun 26.4.4 and 26.4.5)."""
    if x <= 0:
        return 1.0
    if degrees % 2 == 0:
        term = total = 1.0
        for step in range(1, degrees // 2):
            term *= x / 2 / step
            total += term
        return math.exp(-x / 2) * total
    root = math.sqrt(x)
    total, term = 0.0, root
    for step in range(1, degrees - 1, 2):
        total += term
        term *= x / (step + 2)
    return math.erfc(root / math.sqrt(2)) + math.sqrt(2 / math.pi) * math.exp(-x / 2) * total
