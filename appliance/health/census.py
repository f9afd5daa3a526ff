"""The hours of the ledger: each is counted once it has ended, from its rows, oldest first.

Promises: a box that was off for weeks catches up, a bounded part at a time.
Never: counts an hour that rows may still be added to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from appliance.health.limits import LOOK, LookLimits
from appliance.health.work import added, by_release
from appliance.ledger import hours
from appliance.ledger.engine import Ledger, Tx

HOUR: Final = hours.HOUR_SECONDS


@dataclass(frozen=True, kw_only=True)
class Census:
    """Counts hours of one ledger."""

    ledger: Ledger
    limits: LookLimits = LOOK

    def turn(self) -> list[int]:
        """Count what has ended since the last turn; return the hours, oldest first."""
        now = self.ledger.clock.now()
        last = int((now - self.limits.settle_seconds) // HOUR) - 1
        with self.ledger.read() as tx:
            until = hours.counted_until(tx)
        first = last + 1 - self.limits.hours_kept if until is None else until + 1
        # A clock that was in the future has counted hours that are to come: they are counted anew.
        if first > last + 1:
            with self.ledger.write() as tx:
                hours.uncount(tx, after=last)
            return []
        first = max(first, last + 1 - self.limits.hours_kept)
        done = list(range(first, min(last + 1, first + self.limits.hours_per_turn)))
        if done:
            with self.ledger.write() as tx:
                hours.count_arrivals(tx, done[0], done[-1])
                for hour in done:
                    hours.put_work(tx, hour, by_release(hours.ended(tx, hour * HOUR, (hour + 1) * HOUR)))
                hours.forget_arrivals(tx, before=last - self.limits.hours_kept)
        return done


def worked_since(tx: Tx, digest: str, since: float, *, now: float) -> dict[str, Any]:
    """Return what a package did since an hour began, up to now; `since` and `now` in epoch seconds."""
    first = int(since // HOUR)
    until = hours.counted_until(tx)
    begun = first if until is None else max(first, until + 1)
    running = by_release(hours.ended(tx, begun * HOUR, now + 1))
    parts = [one for one in hours.work_since(tx, digest, first) if one]
    return added([*parts, *([running[digest]] if digest in running else [])])
