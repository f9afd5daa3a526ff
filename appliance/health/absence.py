"""What should be there and is not: arrivals that a weekday always had, findings that a model always made.

Pure functions of counts, so that what they hold against a site can be tested without waiting for Saturdays.

Promises: nothing is learned from fewer weeks or answers than `limits` asks for; the unknown is no alarm.
Never: compares an hour that has not ended, or one whose arrivals were not counted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

HOUR_SECONDS: Final = 3600
WEEK_HOURS: Final = 7 * 24


@dataclass(frozen=True, kw_only=True)
class AbsenceLimits:
    """From when on something counts as absent.

    Attributes:
        weeks_max: how far back it is looked.
        weeks_min: of which arrivals must be known before anything is expected.
        arrivals_min: what each of these weeks had in the same hours, at the least.
        forgiven_weeks_min: with so many weeks one that had less is forgiven: it was a holiday.
        answers_min: of a model, before what it usually finds is known.
        chance_max: how likely a run without a finding may be by chance before it is told.
    """

    weeks_max: int = 8
    weeks_min: int = 3
    arrivals_min: int = 3
    forgiven_weeks_min: int = 6
    answers_min: int = 200
    chance_max: float = 1e-4


ABSENCE: Final = AbsenceLimits()


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Nothing came since a moment, although in each of some weeks before it did.

    Attributes:
        since: epoch seconds, at a full hour.
        least: how many came in these hours in the poorest of those weeks.
    """

    since: float
    weeks: int
    least: int


@dataclass(frozen=True, kw_only=True)
class Barren:
    """A model finds nothing any more: in so many answers, where it used to in `share` of them."""

    answers: int
    share: float


def silence(
    counts: Mapping[int, int],
    counted: Collection[int],
    *,
    now: float,
    zone: tzinfo = UTC,
    limits: AbsenceLimits = ABSENCE,
) -> Silence | None:
    """Say whether arrivals are missing.

    `counts` has them by hour since 1970, and `counted` the hours that were counted at all. Weeks are compared
    by the clocks of `zone`: after the change to summer time, eight o'clock is eight o'clock.
    """
    last = int(now // HOUR_SECONDS)
    quiet = _quiet(counts, counted, last)
    if not quiet:
        return None
    # Before the first arrival there was no scanner, or no box: nothing is learned from that.
    begun = min((hour for hour, count in counts.items() if count), default=last)
    found: list[int] = []
    for week in range(1, limits.weeks_max + 1):
        same = [_week_before(hour, week, zone) for hour in quiet]
        if same[-1] >= begun and all(hour in counted for hour in same):
            found.append(sum(counts.get(hour, 0) for hour in set(same)))
    if len(found) < limits.weeks_min:
        return None
    held = sorted(found)[1:] if len(found) >= limits.forgiven_weeks_min else found
    if min(held) < limits.arrivals_min:
        return None
    return Silence(since=float(quiet[0] * HOUR_SECONDS), weeks=len(held), least=min(held))


def barren(findings: Sequence[bool], *, limits: AbsenceLimits = ABSENCE) -> Barren | None:
    """Say whether a model stopped finding anything; `findings` are its answers, the newest first."""
    run = next((place for place, found in enumerate(findings) if found), len(findings))
    before = findings[run:]
    if run == 0 or len(before) < limits.answers_min:
        return None
    share = sum(before) / len(before)
    # Not the share itself but the least that it may have been: a rare finding may well stay away.
    least = share - 2.58 * math.sqrt(share * (1 - share) / len(before))
    if least <= 0 or run * math.log1p(-min(least, 1 - 1e-12)) > math.log(limits.chance_max):
        return None
    return Barren(answers=run, share=share)


def _quiet(counts: Mapping[int, int], counted: Collection[int], last: int) -> list[int]:
    """Return the hours before `last`, a week at the most, that had no arrival up to now, in order."""
    if counts.get(last, 0):
        return []
    quiet: list[int] = []
    for hour in range(last - 1, last - 1 - WEEK_HOURS, -1):
        if counts.get(hour, 0) or hour not in counted:
            break
        quiet.append(hour)
    return quiet[::-1]


def _week_before(hour: int, weeks: int, zone: tzinfo) -> int:
    """Return the hour that many weeks before which the clocks on the wall showed alike."""
    wall = datetime.fromtimestamp(hour * HOUR_SECONDS, tz=zone)
    then = (wall.replace(tzinfo=None) - timedelta(weeks=weeks)).replace(tzinfo=zone, fold=wall.fold)
    return int(then.timestamp() // HOUR_SECONDS)
