"""Whether a ring's evidence lets the next ring begin: pass, fail, or not enough of it.

Promises: what was not measured never passes; one check that failed fails the whole; devices that are offline
and did not run the release change nothing; every number behind a verdict is in it.
Never: reads a clock or a database.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from appliance.core.clock import as_datetime
from provisioning.registry.rollout import statistics
from provisioning.registry.rollout.facts import Facts, Stand, Work, total
from provisioning.registry.rollout.plan import Gates

_SLOW_SHARE: Final = 0.05
_WORK_BEGINS, _WORK_ENDS, _SATURDAY = 7, 19, 5


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"
    FAIL = "fail"
    NOT_ENOUGH = "not_enough"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question of a gate.

    Attributes:
        numbers: what it was answered by.
        names: which slots or strata it is about.
    """

    name: str
    verdict: Verdict
    numbers: Mapping[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and its evidence."""

    verdict: Verdict
    checks: tuple[Check, ...]

    def of(self, verdict: Verdict) -> tuple[Check, ...]:
        """Return the checks that came to a verdict."""
        return tuple(check for check in self.checks if check.verdict is verdict)


def judge(gates: Gates, facts: Sequence[Facts], *, soaking_since: float | None, now: float) -> Judgement:
    """Judge one ring.

    Args:
        gates: what must be known.
        facts: of each slot of the ring.
        soaking_since: when the share of committed devices was reached, epoch seconds; None: not yet.
        now: epoch seconds.
    """
    reached = [one for one in facts if one.reachable]
    began = [one for one in facts if one.stand in (Stand.SOAKING, Stand.COMMITTED)]
    ran = [one for one in began if one.reachable]
    checks = (
        _committed(gates, reached),
        _rolled_back(gates, facts),
        _vanished(gates, began),
        _kinds(facts),
        _soak(gates, soaking_since, now),
        _studies(gates, ran),
        _vendors(gates, ran),
        *_compared(gates, ran),
        _drift(ran),
    )
    return Judgement(verdict=_worst(checks), checks=checks)


def working_seconds(begin: float, end: float) -> float:
    """Return how much of a span lies between 07:00 and 19:00 UTC of Mondays to Fridays."""
    total_seconds, day = 0.0, as_datetime(begin).replace(hour=0, minute=0, second=0, microsecond=0)
    while day.timestamp() < end:
        opens = day.replace(hour=_WORK_BEGINS).timestamp()
        closes = day.replace(hour=_WORK_ENDS).timestamp()
        if day.weekday() < _SATURDAY:
            total_seconds += max(0.0, min(end, closes) - max(begin, opens))
        day += timedelta(days=1)
    return total_seconds


def _committed(gates: Gates, reached: Sequence[Facts]) -> Check:
    done = sum(one.stand is Stand.COMMITTED for one in reached)
    enough = bool(reached) and done >= gates.committed_share_min * len(reached)
    waits = tuple(one.slot for one in reached if one.stand is not Stand.COMMITTED)
    numbers = {"committed": done, "reachable": len(reached), "share_min": gates.committed_share_min}
    return Check(name="committed", verdict=_held_unless(enough), numbers=numbers, names=waits)


def _rolled_back(gates: Gates, facts: Sequence[Facts]) -> Check:
    """Count devices on which it failed; one that went silent after it said so has said so."""
    failed = tuple(one.slot for one in facts if one.stand is Stand.FAILED)
    reached = sum(one.reachable for one in facts)
    allowed = max(gates.rolled_back_max, int(gates.rolled_back_share_max * reached))
    verdict = Verdict.PASS if len(failed) <= allowed else Verdict.FAIL
    return Check(
        name="rolled_back",
        verdict=verdict,
        numbers={"rolled_back": len(failed), "allowed": allowed},
        names=failed,
    )


def _vanished(gates: Gates, began: Sequence[Facts]) -> Check:
    """Hold where devices went silent under the release: what they would have said is not known."""
    gone = tuple(one.slot for one in began if not one.reachable and not one.planned)
    allowed = max(gates.vanished_max, int(gates.vanished_share_max * len(began)))
    numbers = {"vanished": len(gone), "began": len(began), "allowed": allowed}
    return Check(name="vanished", verdict=_held_unless(len(gone) <= allowed), numbers=numbers, names=gone)


def _kinds(facts: Sequence[Facts]) -> Check:
    """Hold where a kind of GPU has failed and none of it committed, though it be one device."""
    stands = defaultdict(set)
    for one in facts:
        stands[one.gpu].add(one.stand)
    bare = tuple(
        sorted(gpu for gpu, own in stands.items() if Stand.FAILED in own and Stand.COMMITTED not in own)
    )
    return Check(
        name="every_gpu", verdict=_held_unless(not bare), numbers={"failed_only": len(bare)}, names=bare
    )


def _soak(gates: Gates, since: float | None, now: float) -> Check:
    had = 0.0 if since is None else max(0.0, now - since)
    worked = 0.0 if since is None else working_seconds(since, now)
    enough = since is not None and had >= gates.soak_seconds_min and worked >= gates.working_seconds_min
    numbers = {
        "seconds": had,
        "seconds_min": gates.soak_seconds_min,
        "working_seconds": worked,
        "working_seconds_min": gates.working_seconds_min,
    }
    return Check(name="soak", verdict=_held_unless(enough), numbers=numbers)


def _studies(gates: Gates, ran: Sequence[Facts]) -> Check:
    had = total([one.now for one in ran]).studies
    numbers = {"studies": had, "studies_min": gates.studies_min}
    return Check(name="studies", verdict=_held_unless(had >= gates.studies_min), numbers=numbers)


def _vendors(gates: Gates, ran: Sequence[Facts]) -> Check:
    """Name the makers of scanners of which too little was seen."""
    had: dict[str, int] = defaultdict(int)
    for one in ran:
        had[one.vendor] += one.now.studies
    bare = tuple(sorted(vendor for vendor, studies in had.items() if studies < gates.stratum_studies_min))
    numbers = {"vendors": len(had), "studies_min": gates.stratum_studies_min}
    return Check(name="every_vendor", verdict=_held_unless(not bare), numbers=numbers, names=bare)


def _compared(gates: Gates, ran: Sequence[Facts]) -> tuple[Check, ...]:
    """Compare with the version before on the same devices; where none was, a person must look."""
    pairs = [(one.now, one.before) for one in ran if one.before is not None and one.before.studies]
    now, before = total([new for new, _ in pairs]), total([old for _, old in pairs])
    names = ("failures", "turnaround", "positives")
    if min(now.studies, before.studies) < gates.studies_min:
        # One number of many studies and one of few are no comparison.
        numbers = {
            "paired": now.studies,
            "before": before.studies,
            "studies_min": gates.studies_min,
        }
        return tuple(Check(name=name, verdict=Verdict.NOT_ENOUGH, numbers=numbers) for name in names)
    return (
        _failures(gates, pairs),
        _turnaround(gates, now, before),
        _positives(gates, pairs),
    )


def _failures(gates: Gates, pairs: Sequence[tuple[Work, Work]]) -> Check:
    counted = [(new.studies, new.failed, old.studies, old.failed) for new, old in pairs]
    found = statistics.paired(counted, z=gates.z)
    verdict = Verdict.PASS if found.difference <= gates.failures_points_max else Verdict.NOT_ENOUGH
    if found.low > gates.failures_points_max:
        verdict = Verdict.FAIL
    numbers = {**found.as_numbers(), "points_max": gates.failures_points_max}
    return Check(name="failures", verdict=verdict, numbers=numbers)


def _turnaround(gates: Gates, now: Work, before: Work) -> Check:
    timed, timed_before = sum(now.times), sum(before.times)
    if min(timed, timed_before) < gates.studies_min:
        few: dict[str, float] = {
            "timed": timed,
            "timed_before": timed_before,
            "studies_min": gates.studies_min,
        }
        return Check(name="turnaround", verdict=Verdict.NOT_ENOUGH, numbers=few)
    limit = gates.slower_ratio_max * statistics.quantile(before.times, 1 - _SLOW_SHARE)
    slower = statistics.above(now.times, limit)
    low, _ = statistics.wilson(slower, timed, z=gates.z)
    verdict = Verdict.PASS if slower <= _SLOW_SHARE * timed else Verdict.NOT_ENOUGH
    if low > _SLOW_SHARE:
        verdict = Verdict.FAIL
    numbers: dict[str, float] = {
        "p95_seconds": statistics.quantile(now.times, 1 - _SLOW_SHARE),
        "limit_seconds": limit,
        "slower_share": slower / timed,
        "slower_share_low": low,
        "slower_share_max": _SLOW_SHARE,
    }
    return Check(name="turnaround", verdict=verdict, numbers=numbers)


def _positives(gates: Gates, pairs: Sequence[tuple[Work, Work]]) -> Check:
    """Hold the share of studies with a finding against that of the version before."""
    counted = [
        (new.studies, new.positives, old.studies, old.positives)
        for new, old in pairs
        if new.positives is not None and old.positives is not None
    ]
    told = min(sum(one[0] for one in counted), sum(one[2] for one in counted))
    if told < gates.studies_min:
        few: dict[str, float] = {"told": told, "studies_min": gates.studies_min}
        return Check(name="positives", verdict=Verdict.NOT_ENOUGH, numbers=few)
    found = statistics.paired(counted, z=gates.z)
    within = abs(found.difference) <= gates.positives_points_max
    verdict = Verdict.PASS if within else Verdict.NOT_ENOUGH
    if found.low > gates.positives_points_max or found.high < -gates.positives_points_max:
        verdict = Verdict.FAIL
    numbers = {**found.as_numbers(), "points_max": gates.positives_points_max}
    return Check(name="positives", verdict=verdict, numbers=numbers)


def _drift(ran: Sequence[Facts]) -> Check:
    """Ask the devices' own tests; the hospital chooses whether they tell, so silence holds nothing."""
    drifting = tuple(one.slot for one in ran if one.drifts)
    told = sum(one.drifts is not None for one in ran)
    verdict = Verdict.FAIL if drifting else Verdict.PASS
    return Check(name="drift", verdict=verdict, numbers={"told": told, "ran": len(ran)}, names=drifting)


def _held_unless(enough: bool) -> Verdict:
    return Verdict.PASS if enough else Verdict.NOT_ENOUGH


def _worst(checks: Sequence[Check]) -> Verdict:
    verdicts = {check.verdict for check in checks}
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.NOT_ENOUGH if Verdict.NOT_ENOUGH in verdicts else Verdict.PASS
