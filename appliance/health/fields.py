"""The types that a value may have: whole numbers, bounded decimals, yes or no, and counts in fixed cells.

Promises: a value that `holds` is a number or a list of numbers, inside bounds that are written down here.
Never: a text. There is no type for one, so nothing that a person wrote has a place to stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

# Stands for a count from 1 to 4: so few studies could point at a patient.
FEW: Final = -1
FEW_BELOW: Final = 5
COUNT_MAX: Final = 2**40

Value = int | float | bool | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int = 0
    high: int = 2**32 - 1

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return value if type(value) is int and self.low <= value <= self.high else None

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        return f"whole number, {self.low} to {self.high}"


@dataclass(frozen=True, kw_only=True)
class Decimal:
    """A finite number from `low` to `high`."""

    low: float
    high: float

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            return None
        return float(value) if math.isfinite(value) else None

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        return f"number, {self.low:g} to {self.high:g}"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """Yes or no."""

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return value if type(value) is bool else None

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        return "yes or no"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of the numbers of an enumeration."""

    of: type[IntEnum]

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return int(value) if type(value) in (int, self.of) and value in numbers(self.of) else None

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        return "one of " + ", ".join(f"{one.value} {one.name}" for one in self.of)


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many studies in one hour or one moment: 0, or "fewer than five", or the number."""

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return value if type(value) is int and _is_count(value) else None

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        return "count (1 to 4 become -1)"


@dataclass(frozen=True, kw_only=True)
class Total:
    """How many studies since some day, rounded down to fives: its steps tell of no single one."""

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return value if type(value) is int and _is_total(value) else None

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        return "total in fives"


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How many values fell below each edge, in order, and how many at or above the last.

    Attributes:
        edges: ascending; there is one cell more than edges.
        fives: whether the cells are totals rounded down to fives, or counts of which 1 to 4 become -1.
    """

    edges: tuple[float, ...]
    fives: bool = False

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return _cells(value, len(self.edges) + 1, fives=self.fives)

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        kind = "totals in fives" if self.fives else "counts (1 to 4 become -1)"
        return f"{kind} between {', '.join(f'{edge:g}' for edge in self.edges)}"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many of each member of an enumeration, in its order."""

    of: type[IntEnum]
    fives: bool = False

    def read(self, value: Any) -> Value | None:
        """Return the value if it is one of these, else None."""
        return _cells(value, len(self.of), fives=self.fives)

    @property
    def words(self) -> str:
        """Return what it is, for the documentation."""
        kind = "total in fives" if self.fives else "count (1 to 4 become -1)"
        return f"{kind} of each of " + ", ".join(one.name for one in self.of)


Type = Whole | Decimal | Flag | Choice | Count | Total | Histogram | Tally


@dataclass(frozen=True, kw_only=True)
class Field:
    """One number that may leave a site.

    Attributes:
        unit: of the number; empty where it has none.
        purpose: what it is for, one sentence; what has no purpose is not sent.
        needed: whether a record without it means nothing.
    """

    type: Type
    unit: str = ""
    purpose: str
    needed: bool = False


@lru_cache(maxsize=64)
def numbers(of: type[IntEnum]) -> frozenset[int]:
    """Return the numbers of an enumeration; a registry asks for them thousands of times a second."""
    return frozenset(int(one) for one in of)


def few(count: int) -> int:
    """Return a count as it may leave the site: 1 to 4 become FEW."""
    return FEW if 0 < count < FEW_BELOW else min(max(count, 0), COUNT_MAX)


def fives(count: int) -> int:
    """Return a total as it may leave the site, rounded down to fives."""
    return min(max(count, 0), COUNT_MAX) // FEW_BELOW * FEW_BELOW


def at_least(count: int) -> int:
    """Return how many a count that travelled stands for at the least."""
    return 1 if count == FEW else count


def tally_of(of: type[IntEnum], counts: Mapping[Any, int]) -> tuple[int, ...]:
    """Return counts by member as the cells of a tally, small ones hidden."""
    return tuple(few(counts.get(one, 0)) for one in of)


def cells_of(edges: Sequence[float], values: Sequence[float]) -> tuple[int, ...]:
    """Return how many values fell into each cell of a histogram, nothing hidden; not-a-number is left out."""
    counted = [0] * (len(edges) + 1)
    for value in values:
        if not math.isnan(value):
            counted[sum(value >= edge for edge in edges)] += 1
    return tuple(counted)


def _cells(value: Any, size: int, *, fives: bool) -> tuple[int, ...] | None:
    if not isinstance(value, list | tuple) or len(value) != size:
        return None
    fits = _is_total if fives else _is_count
    return tuple(value) if all(type(one) is int and fits(one) for one in value) else None


def _is_count(value: int) -> bool:
    return value in (FEW, 0) or FEW_BELOW <= value <= COUNT_MAX


def _is_total(value: int) -> bool:
    return 0 <= value <= COUNT_MAX and value % FEW_BELOW == 0
