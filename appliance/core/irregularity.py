"""When distances between slices count as equal, and the sentence that says why they do not.

Pure text and arithmetic, for `appliance.core.geometry`.
A sentence names numbers, never an identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median_low


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How much positions may differ before the difference means something.

    Positions are often written with one decimal, so a gap may be off by 0.1 mm, and the usual gap of a
    short stack by half of that, without anything being wrong.
    """

    position_mm: float = 0.01
    """Images nearer than this along the normal share a position."""
    gap_mm: float = 0.15
    """A gap may differ from the usual one by this much ..."""
    gap_share: float = 0.02
    """... or by this share of it, whichever is more ..."""
    gap_share_max: float = 0.25
    """... but never by more than this share: thin slices have no 0.15 mm to give away."""
    sideways_mm: float = 0.5
    orientation_degrees: float = 0.5
    tilt_degrees: float = 0.1
    """A smaller tilt is rounding."""
    pixel_spacing_share: float = 0.001
    frames_max: int = 20_000

    def same(self, gap_mm: float, usual_mm: float) -> bool:
        """Return whether a gap counts as equal to the usual one."""
        allowed = min(max(self.gap_mm, self.gap_share * usual_mm), self.gap_share_max * usual_mm)
        return abs(gap_mm - usual_mm) <= allowed


def usual_gap(gaps_mm: Sequence[float], tolerance: Tolerance) -> float | None:
    """Return the spacing of a stack: the mean of the gaps near the median one, or None without a gap.

    The mean undoes the rounding of written positions; staying near the median leaves holes out.
    """
    if not gaps_mm:
        return None
    # One of the gaps themselves: between two that differ much lies none that is near.
    middle = median_low(gaps_mm)
    return fmean(gap for gap in gaps_mm if abs(gap - middle) <= tolerance.gap_share_max * middle)


def spacing_sentence(gaps_mm: Sequence[float], tolerance: Tolerance) -> str | None:
    """Say in one clause why gaps are uneven; None when they are even."""
    usual = usual_gap(gaps_mm, tolerance)
    odd = [gap for gap in gaps_mm if usual is not None and not tolerance.same(gap, usual)]
    if usual is None or not odd:
        return None
    few = len(odd) <= max(1, len(gaps_mm) // 4)
    if few and (missing := _missing_slices(odd, usual, tolerance, most=len(gaps_mm))):
        lack = "1 slice is missing" if missing == 1 else f"{missing} slices are missing"
        return f"{lack}: {_gaps(odd)} where slices are {text_mm(usual)} mm apart"
    levels, strays = _levels(gaps_mm, tolerance)
    if len(levels) == 2:
        change = f"slice distance changes from {_pair(levels[0], levels[1])} mm"
        return f"{change} and {_gaps(strays)}" if strays else change
    if few:
        return f"{_gaps(odd)} where slices are {text_mm(usual)} mm apart"
    return f"slice distance varies from {_pair(min(gaps_mm), max(gaps_mm))} mm"


def text_mm(length_mm: float, *, digits: int | None = None) -> str:
    """Write a length for people: one decimal from 1 mm up, two below."""
    return f"{length_mm:.{digits if digits is not None else (1 if length_mm >= 0.95 else 2)}f}"


def _missing_slices(odd_mm: Sequence[float], usual_mm: float, tolerance: Tolerance, *, most: int) -> int:
    """Return how many slices the odd gaps swallowed; 0 when one of them is no whole multiple."""
    times = [round(gap / usual_mm) for gap in odd_mm]
    fitting = all(
        count >= 2 and tolerance.same(gap / count, usual_mm) for gap, count in zip(odd_mm, times, strict=True)
    )
    missing = sum(times) - len(times)
    # A jump longer than all the rest is no hole between slices.
    return missing if fitting and missing <= most else 0


def _levels(gaps_mm: Sequence[float], tolerance: Tolerance) -> tuple[list[float], list[float]]:
    """Return the distances that hold for two gaps or more in a row, and the gaps equal to none of them."""
    levels: list[float] = []
    for run in _runs(gaps_mm, tolerance):
        if len(run) > 1 and not any(tolerance.same(run[0], level) for level in levels):
            levels.append(fmean(run))
    return levels, [gap for gap in gaps_mm if not any(tolerance.same(gap, level) for level in levels)]


def _runs(gaps_mm: Sequence[float], tolerance: Tolerance) -> list[list[float]]:
    runs = [[gaps_mm[0]]]
    for gap in gaps_mm[1:]:
        if tolerance.same(gap, runs[-1][0]):
            runs[-1].append(gap)
        else:
            runs.append([gap])
    return runs


def _gaps(strays: Sequence[float]) -> str:
    if len(strays) == 1:
        return f"one gap is {text_mm(strays[0])} mm"
    return f"{len(strays)} gaps are {_pair(min(strays), max(strays))} mm"


def _pair(low_mm: float, high_mm: float) -> str:
    low, high = text_mm(low_mm), text_mm(high_mm)
    if low == high and low_mm != high_mm:
        low, high = text_mm(low_mm, digits=3), text_mm(high_mm, digits=3)
    return low if low == high else f"{low} to {high}"
