"""Who looked at which patient: a row in the ledger for each look (F61).

A page that refreshes itself shows the same patients again and again;
the same person's next look at the same study within a quarter of an hour is the same look.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from appliance.console.access import Visitor
from appliance.console.limits import Limits
from appliance.core.clock import Clock
from appliance.core.words import short
from appliance.ledger import events
from appliance.ledger.engine import Ledger


class Viewings:
    """Writes `console.viewed` rows; a page is shown only after its row is durable."""

    def __init__(self, ledger: Ledger, clock: Clock, limits: Limits) -> None:
        self._ledger, self._clock, self._limits = ledger, clock, limits
        self._seen: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def study(self, visitor: Visitor, study_uid: str, page: str) -> None:
        """Record that somebody looks at one study. Durable on return."""
        if self._fresh(visitor, page, [study_uid]):
            with self._ledger.write() as tx:
                now = self._clock.now()
                events.add(tx, "console.viewed", at=now, study_uid=study_uid, user=visitor.name, page=page)

    def several(self, visitor: Visitor, study_uids: Sequence[str], page: str) -> None:
        """Record that somebody looks at a list of studies, in one row. Durable on return."""
        fresh = self._fresh(visitor, page, study_uids)
        if fresh:
            with self._ledger.write() as tx:
                now, shown = self._clock.now(), [short(uid) for uid in fresh]
                events.add(tx, "console.viewed", at=now, user=visitor.name, page=page, studies=shown)

    def _fresh(self, visitor: Visitor, page: str, study_uids: Sequence[str]) -> list[str]:
        """Return the studies that this session was not shown on this page a moment ago, and remember them."""
        now = self._clock.elapsed()
        with self._lock:
            fresh = [uid for uid in study_uids if self._is_fresh(self._key(visitor, page, uid), now)]
            for uid in fresh:
                self._seen[self._key(visitor, page, uid)] = now
                self._seen.move_to_end(self._key(visitor, page, uid))
            while len(self._seen) > self._limits.views_remembered_max:
                self._seen.popitem(last=False)
        return fresh

    def _is_fresh(self, key: tuple[str, str, str], now: float) -> bool:
        return key not in self._seen or now - self._seen[key] > self._limits.view_again_seconds

    def _key(self, visitor: Visitor, page: str, study_uid: str) -> tuple[str, str, str]:
        # HTTP basic has no session; the name stands for it.
        return (visitor.session or visitor.name, page, study_uid)
