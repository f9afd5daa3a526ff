"""What the conductor does when the wall clock is set: by a person, a host, or NTP after a boot in 1970 (F45).

Rows outlive processes, so their times are the wall clock's; durations inside a process never were.
Promises: a step makes nothing due and stalls nothing; images stay for the days of the site all the same.
Never: guesses which of two times was right.
"""

from __future__ import annotations

from appliance.core import log
from appliance.core.clock import StepWatch
from appliance.core.sections import Storage
from appliance.ledger import anew, services
from appliance.services.stage import Stage

_log = log.get("conductor")
_DAY_SECONDS = 86_400


class Timekeeper:
    """Notices steps of the wall clock, while the service runs and since it last did."""

    def __init__(self, stage: Stage, storage: Storage) -> None:
        self._stage, self._ledger, self._storage = stage, stage.ledger, storage
        self._watch = StepWatch(stage.ledger.clock, stage.limits.clock_step_seconds_min)
        self._since_last()
        with self._ledger.read() as tx:
            since = self._ledger.clock.now() - storage.results_days * _DAY_SECONDS
            self._steps = anew.steps_since(tx, since)

    def look(self) -> None:
        """Begin every wait anew if the clock was set."""
        if step := self._watch.look():
            self._stepped(step)

    @property
    def retain_days(self) -> float:
        """Return how old an image must look before it may go."""
        return self._as_they_look(self._storage.retain_days)

    @property
    def results_days(self) -> float:
        """Return how old a result must look before it may go."""
        return self._as_they_look(self._storage.results_days)

    def _as_they_look(self, days: float) -> float:
        """Add to the site's days what the clock was set forward within them.

        What came before looks older than it is, and none is kept for less than the site's days.
        Once those have passed the step is forgotten.
        """
        since = self._ledger.clock.now() - days * _DAY_SECONDS
        return days + sum(max(by, 0.0) for at, by in self._steps if at > since) / _DAY_SECONDS

    def _since_last(self) -> None:
        """Notice a clock that went back while nobody looked: beats that lie in the future tell."""
        with self._ledger.read() as tx:
            newest = max((one.beat_at for one in services.everyone(tx)), default=0.0)
        back = newest - self._ledger.clock.now()
        if back >= self._stage.limits.clock_step_seconds_min:
            self._steps = []
            self._stepped(-back)

    def _stepped(self, seconds: float) -> None:
        at = self._ledger.clock.now()
        _log.warning("clock.stepped", seconds=round(seconds))
        with self._ledger.write() as tx:
            anew.begin_anew(tx, at=at, step_seconds=seconds, limits=self._stage.limits)
        self._steps.append((at, seconds))
