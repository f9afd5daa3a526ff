"""How studies that gather stand beside what peers said of them, looked up only when it may have changed.

To compare 2,000 named images with those that came takes milliseconds, and a study that arrives is looked at
ten times a second.

Promises: a study is never said to be whole, or not, on what was true of fewer images or other notices: of
those that were absent no more can have come than images did.
Never: remembers a study that does not gather, or anything for longer than a moment.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from appliance.ledger import announced
from appliance.ledger.announced import Announced
from appliance.ledger.engine import Tx

# What the box makes itself is absent no more either, and adds nothing to the images that came.
_SECONDS_MAX: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class _Known:
    mark: announced.Mark
    kept: int
    at: float
    found: Announced

    def holds(self, mark: announced.Mark, kept: int, at: float) -> bool:
        """Say whether it must still be so."""
        came = kept - self.kept
        # A step in progress is more to come, whatever came.
        still_so = came == 0 or bool(self.found.in_progress) or 0 < came < self.found.absent
        return self.mark == mark and still_so and 0 <= at - self.at < _SECONDS_MAX


class Said:
    """What is known of the studies that gather; belongs to one thread."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def about(self, tx: Tx, study_uid: str, *, kept: int, at: float, anew: bool = False) -> Announced:
        """Say how a study with `kept` images stands beside its notices, as `announced.about` does.

        What is said to be absent may have come since, but for `anew`.
        """
        mark = announced.mark(tx, study_uid)
        if not mark:
            return Announced()
        known = self._known.get(study_uid)
        if not anew and known is not None and known.holds(mark, kept, at):
            return known.found
        found = announced.about(tx, study_uid)
        # Whether a person has looked is asked each time.
        if not found.wrong_entry:
            self._known[study_uid] = _Known(mark=mark, kept=kept, at=at, found=found)
        return found

    def keep_only(self, study_uids: Collection[str]) -> None:
        """Forget all studies but these."""
        for gone in self._known.keys() - set(study_uids):
            del self._known[gone]
