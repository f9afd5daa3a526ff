"""The box looks at itself: raises and ends alarms, and puts into the outbox what the site lets out.

Promises: at the level "off" nothing is put in, and what waited is dropped; an alarm is told once when it is
raised, once when it ends, and now and then while it goes on.
Never: sends anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Final

from appliance.core import log
from appliance.core.alarming import AlarmKind
from appliance.core.config import Config
from appliance.health import drifting, notices
from appliance.health.alarming import absent, finding_nothing, wrong
from appliance.health.census import HOUR, Census, worked_since
from appliance.health.codes import Kind
from appliance.health.drifting import DAY_SECONDS, Stratum
from appliance.health.fields import fives
from appliance.health.gpu import gpu_values
from appliance.health.kinds import bit_of
from appliance.health.limits import LOOK, LookLimits
from appliance.health.look import Look, look, machine_values, version_number
from appliance.health.machine import machine_values as kernel_values
from appliance.health.outbox import Outbox
from appliance.health.work import hour_values, total_values
from appliance.ledger import agreements, alarms, figures, hours
from appliance.ledger.alarms import Alarm
from appliance.ledger.engine import Ledger, Tx

_log = log.get("health")
# What changes slowly and costs a longer look: what is learned, totals, shadows.
_SLOW_SECONDS: Final = 600.0
_AGREEMENTS_MAX: Final = 64
_DAYS_MAX: Final = 6


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one release stands on this box; `since` in epoch seconds, none where it does not serve."""

    digest: str
    phase: int
    reason: int
    serving: bool
    since: float | None


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What other rooms know: how releases stand, and in how many days certificates and lists end."""

    standings: Sequence[Standing] = ()
    certificates: Mapping[str, float] = field(default_factory=dict)
    lists: Mapping[str, float] = field(default_factory=dict)


@dataclass(kw_only=True)
class Reporter:
    """Takes one look each time; `number_of` gives a package's digest as a number."""

    ledger: Ledger
    config: Config
    outbox: Outbox
    outside: Callable[[], Outside]
    number_of: Callable[[str], int]
    limits: LookLimits = LOOK
    _begun_at: float | None = field(default=None, init=False)
    _slow_at: float | None = field(default=None, init=False)
    _slow: list[Alarm] = field(default_factory=list, init=False)
    _standings: dict[str, Standing] = field(default_factory=dict, init=False)
    _periods: dict[tuple[int, str], int] = field(default_factory=dict, init=False)

    def turn(self) -> None:
        """Look, raise, end, and put in."""
        Census(ledger=self.ledger, limits=self.limits).turn()
        now, outside = self.ledger.clock.now(), self.outside()
        slow = self._is_slow()
        with self.ledger.read() as tx:
            seen = self._look(tx, now, outside)
            if self._is_new():
                # After a night without power every service was last heard before it.
                seen = replace(seen, silent=())
            drifts = self._drifts(tx, now) if slow else []
            if slow:
                self._slow = self._learned(tx, now, seen, drifts)
        self._settle([*wrong(seen, self.limits), *self._slow], now)
        level = self.config.registry.told
        self.outbox.keep_to(level)
        if slow:
            drift = level == "health+drift"
            with self.ledger.write() as tx:
                figures.forget(tx, before=now - self.limits.figures_seconds_max if drift else math.inf)
        if level == "off":
            return
        with self.ledger.read() as tx:
            self._put_machine(tx, seen)
            self._put_states(tx, seen, outside, now, everything=slow)
            self._put_hours(tx, now)
            if slow:
                self._put_shadows(tx)
                self._put_days(tx, now, drifts)

    def _look(self, tx: Tx, now: float, outside: Outside) -> Look:
        machine = kernel_values(self.config.storage.root) | gpu_values(self.config.inference.devices[0])
        return look(
            tx,
            now,
            limits=self.limits,
            machine=machine,
            clock_offset=self.outbox.number("clock_offset") if self._heard(now) else None,
            certificates=outside.certificates,
            lists=outside.lists,
        )

    def _heard(self, now: float) -> bool:
        """Say whether the registry's clock was heard lately enough to be compared with."""
        heard_at = self.outbox.number("heard_at")
        return heard_at is not None and abs(now - heard_at) < DAY_SECONDS

    def _is_new(self) -> bool:
        elapsed = self.ledger.clock.elapsed()
        if self._begun_at is None:
            self._begun_at = elapsed
        return elapsed - self._begun_at < self.limits.silent_seconds

    def _is_slow(self) -> bool:
        elapsed = self.ledger.clock.elapsed()
        if self._slow_at is not None and elapsed - self._slow_at < _SLOW_SECONDS:
            return False
        self._slow_at = elapsed
        return True

    def _learned(self, tx: Tx, now: float, seen: Look, drifts: Sequence[Stratum]) -> list[Alarm]:
        names = {digest: name for digest, (name, _, _) in seen.engines.items()}
        moved = sorted({names.get(one.digest, "a model") for one in drifts if one.drifts})
        return [
            *absent(tx, now, zone=self.config.site.zone, limits=self.limits),
            *finding_nothing(tx, names, self.limits),
            *(Alarm(kind=int(AlarmKind.DRIFT), subject=name, numbers={}) for name in moved),
        ]

    def _drifts(self, tx: Tx, now: float) -> list[Stratum]:
        if self.config.registry.told != "health+drift":
            return []
        return drifting.strata(tx, now - 7 * DAY_SECONDS)

    def _settle(self, wanted: Sequence[Alarm], now: float) -> None:
        by_key = {(one.kind, one.subject): one for one in wanted}
        with self.ledger.write() as tx:
            raised, ended = alarms.settle(tx, list(by_key.values()), at=now)
            open_now = alarms.current(tx)
        for one in raised:
            _log.warning("alarm.raised", alarm=AlarmKind(one.kind).word)
            self._tell(one, notices.RAISED, now)
        for one in ended:
            _log.info("alarm.ended", alarm=AlarmKind(one.kind).word)
            self._tell(one, notices.ENDED, now)
        self._remind(open_now, now)

    def _remind(self, open_now: Sequence[Alarm], now: float) -> None:
        every = self.config.alerts.remind_hours * HOUR
        periods = {(one.kind, one.subject): int((now - one.raised_at) // every) for one in open_now}
        for one in open_now:
            key = (one.kind, one.subject)
            if periods[key] > self._periods.get(key, periods[key]):
                self._tell(one, notices.GOES_ON, now)
        self._periods = periods

    def _tell(self, one: Alarm, state: str, now: float) -> None:
        for way, body in notices.bodies(self.config, one, state, at=now).items():
            self.outbox.notify(way, body)

    def _put_machine(self, tx: Tx, seen: Look) -> None:
        values = machine_values(seen)
        for name in ("lost", "unfit"):
            values[name] = int(self.outbox.number(name) or 0)
        values["alarms"] = sum(bit_of(AlarmKind(kind)) for kind in {one.kind for one in alarms.current(tx)})
        if (number := version_number(version("readside"))) is not None:
            values["version"] = number
        self.outbox.add(Kind.MACHINE, values, at=seen.at)

    def _put_states(self, tx: Tx, seen: Look, outside: Outside, now: float, *, everything: bool) -> None:
        """Tell how releases stand: those that moved at once, the others now and then."""
        for one in outside.standings:
            if not everything and self._standings.get(one.digest) == one:
                continue
            self._standings[one.digest] = one
            values: dict[str, Any] = {"release": self.number_of(one.digest), "phase": one.phase}
            values |= {"reason": one.reason, "serving": one.serving}
            if one.digest in seen.engines:
                _, engine, stepped = seen.engines[one.digest]
                values |= {"engine": engine, "stepped_down": stepped}
            if one.serving:
                earliest = now - self.limits.hours_kept * HOUR
                since = max(one.since or earliest, earliest)
                values["since"] = int(since // HOUR)
                values |= total_values(worked_since(tx, one.digest, since, now=now))
            self.outbox.add(Kind.STATE, values, at=now)

    def _put_hours(self, tx: Tx, now: float) -> None:
        """Put in the hours that were counted since the last that was put in."""
        until = hours.counted_until(tx)
        if until is None:
            return
        last = self.outbox.number("work_hour")
        if last is None:
            # What was before the site chose to tell is not told.
            self.outbox.note("work_hour", float(now // HOUR - 1))
            return
        first = int(last) + 1
        for hour in range(max(first, until - self.limits.hours_kept), until + 1):
            for digest, counted in hours.work_of(tx, hour).items():
                values = {"hour": hour, "release": self.number_of(digest), **hour_values(counted)}
                self.outbox.add(Kind.WORK, values, at=now)
        self.outbox.note("work_hour", float(max(until, first - 1)))

    def _put_shadows(self, tx: Tx) -> None:
        for one in agreements.everything(tx, limit=_AGREEMENTS_MAX):
            if one.last_at < (self.outbox.number("shadow_at") or 0.0):
                continue
            tally, between = one.tally, one.between
            values = {
                "release": self.number_of(between.new_digest),
                "against": self.number_of(between.old_digest),
                "studies": fives(tally.studies),
                "agree": fives(tally.agree),
                "only_new": fives(tally.outcomes.only_new),
                "only_old": fives(tally.outcomes.only_old),
                "failed": fives(one.words.get("shadow.failed", 0) + one.words.get("shadow.died", 0)),
                "difference": tuple(fives(cell) for cell in tally.scores),
                "volume_ratio": tuple(fives(cell) for cell in tally.volumes),
                "time_ratio": tuple(fives(cell) for cell in tally.times),
            }
            self.outbox.add(Kind.SHADOW, values)
        self.outbox.note("shadow_at", self.ledger.clock.now())

    def _put_days(self, tx: Tx, now: float, strata: Sequence[Stratum]) -> None:
        """Put in the days that are over since the last that was put in."""
        day, last = int(now // DAY_SECONDS) - 1, self.outbox.number("input_day")
        first = day + 1 if last is None else max(int(last) + 1, day - _DAYS_MAX)
        for one in strata:
            for each in range(first, day + 1):
                begin = float(each * DAY_SECONDS)
                found = figures.between(tx, one.digest, one.vendor, begin, begin + DAY_SECONDS)
                if found:
                    values = drifting.day_values(one, each, found) | {"release": self.number_of(one.digest)}
                    self.outbox.add(Kind.INPUT, values, at=now)
        self.outbox.note("input_day", float(max(day, first - 1)))
