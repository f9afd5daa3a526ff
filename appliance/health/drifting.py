"""What a model was given and what it answered, over time, for the scanners of each maker.

Promises: the first `studies_min` answers are what later ones are held against, and no window overlaps them or
another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.vendors import Vendor
from appliance.health.drift import DRIFT, DriftLimits, Verdict, judge
from appliance.health.fields import cells_of, few
from appliance.health.kinds import SPREADS
from appliance.ledger import figures
from appliance.ledger.engine import Tx
from appliance.ledger.figures import Figures

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """One model at one maker's scanners, with a verdict for each number by name."""

    digest: str
    vendor: Vendor
    verdicts: dict[str, Verdict]

    @property
    def drifts(self) -> bool:
        """Say whether any of its numbers does."""
        return any(verdict.drifts for verdict in self.verdicts.values())


def strata(tx: Tx, since: float, *, limits: DriftLimits = DRIFT) -> list[Stratum]:
    """Judge every model and maker with an answer since a moment, in epoch seconds."""
    return [_stratum(tx, digest, vendor, limits) for digest, vendor in figures.strata(tx, since)]


def day_values(stratum: Stratum, day: int, found: Sequence[Figures]) -> dict[str, Any]:
    """Return what one model was given on one day, as it may leave the site."""
    values: dict[str, Any] = {"day": day, "vendor": stratum.vendor, "studies": few(len(found))}
    for name, edges in SPREADS.items():
        values[name] = tuple(few(cell) for cell in cells_of(edges, _column(found, name)))
        verdict = stratum.verdicts[name]
        if verdict.newest is not None:
            values[f"{name}_shift"] = min(round(verdict.newest.ratio, 3), 10_000.0)
            values[f"{name}_size"] = min(round(verdict.newest.size, 4), 10_000.0)
            values[f"{name}_windows"] = verdict.windows
    values["enough"] = any(verdict.newest is not None for verdict in stratum.verdicts.values())
    return values


def _stratum(tx: Tx, digest: str, vendor: int, limits: DriftLimits) -> Stratum:
    size = limits.studies_min
    first = figures.oldest(tx, digest, vendor, size)
    latest = figures.newest(tx, digest, vendor, size * (limits.windows + 1))
    # What is held against the beginning is no part of it.
    begun = len(first) < size
    reach = {one.result_id for one in first}
    latest = [] if begun else [one for one in latest if one.result_id not in reach]
    windows = [latest[place : place + size] for place in range(0, size * limits.windows, size)]
    windows = [window for window in windows if len(window) == size]
    return Stratum(
        digest=digest,
        vendor=Vendor(vendor),
        verdicts={
            name: judge(
                edges, _column(first, name), [_column(window, name) for window in windows], limits=limits
            )
            for name, edges in SPREADS.items()
        },
    )


def _column(found: Sequence[Figures], name: str) -> list[float]:
    return [one.numbers[name] for one in found if name in one.numbers]
