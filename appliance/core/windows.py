"""Windows of time in which something may happen, as the clocks of a site show them: "Mon-Fri 22:00-05:00".

A window is open while the clock on the site's wall reads a time in it. So where clocks are put forward it
is shorter by the hour that no clock showed, and where they are put back the hour that comes twice counts
twice.

Promises: asked of any instant, the answer follows from the zone's rules alone; a minute is the finest grain.
Never: reads a clock.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(r"(?P<days>[A-Za-z,-]+) (?P<from>\d\d:\d\d)-(?P<until>\d\d:\d\d)")
_DAY_MINUTES = 24 * 60
_MINUTE_SECONDS = 60
# A window opens every week, but for one that lies wholly in the hour that the clocks skip: that one the next.
_LOOKED_AHEAD_MINUTES = 15 * _DAY_MINUTES


class WindowError(ValueError):
    """A text is no window; the sentence says what one looks like."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Days of the week on which it begins (Monday is 0), and minutes of the day; it may end the day after."""

    text: str
    days: frozenset[int]
    from_minute: int
    until_minute: int

    def holds(self, local: datetime) -> bool:
        """Say whether the clock on the wall reads a time in it."""
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.from_minute < self.until_minute:
            return day in self.days and self.from_minute <= minute < self.until_minute
        begun, day_before = minute >= self.from_minute, (day - 1) % 7
        return (day in self.days and begun) or (day_before in self.days and minute < self.until_minute)


def window_of(text: str) -> Window:
    """Read a window.

    Raises:
        WindowError: it is none.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise WindowError(f"{text!r} is no window: write days and times, as in 'Mon-Fri 22:00-05:00'")
    start, end = _minute(text, found["from"]), _minute(text, found["until"])
    if start in (end, _DAY_MINUTES):
        raise WindowError(f"{text!r} is empty: a whole day is 00:00-24:00")
    return Window(text=text.strip(), days=_days(text, found["days"]), from_minute=start, until_minute=end)


def is_open(windows: Sequence[Window], zone: tzinfo, at: float) -> bool:
    """Say whether one of the windows is open at an epoch second; where there is none, it always is."""
    if not windows:
        return True
    local = datetime.fromtimestamp(at, tz=UTC).astimezone(zone)
    return any(window.holds(local) for window in windows)


def opens_at(windows: Sequence[Window], zone: tzinfo, at: float) -> float | None:
    """Return the first epoch second from `at` on at which one is open, on the minute if it is not `at`."""
    if is_open(windows, zone, at):
        return at
    minute = (int(at) // _MINUTE_SECONDS + 1) * _MINUTE_SECONDS
    for ahead in range(_LOOKED_AHEAD_MINUTES):
        if is_open(windows, zone, then := float(minute + ahead * _MINUTE_SECONDS)):
            return then
    return None


def local_text(at: float, zone: tzinfo) -> str:
    """Write an instant as the clocks of the site show it."""
    return datetime.fromtimestamp(at, tz=UTC).astimezone(zone).strftime("%a %Y-%m-%d %H:%M")


def end_of(text: str, zone: tzinfo) -> float:
    """Return the epoch second at which a date of the site ends, or a time of it comes ("2026-12-31T06:00").

    Raises:
        WindowError: it is neither.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise WindowError(f"{text!r} is no date: write it as 2026-12-31 or 2026-12-31T06:00") from error
    if len(text) == len("2026-12-31"):
        read += timedelta(days=1)
    return (read if read.tzinfo else read.replace(tzinfo=zone)).timestamp()


def _minute(text: str, clock: str) -> int:
    hours, minutes = (int(part) for part in clock.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MINUTES:
        raise WindowError(f"{text!r}: {clock} is no time of day")
    return hours * 60 + minutes


def _days(text: str, said: str) -> frozenset[int]:
    if said.lower() == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in said.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise WindowError(f"{text!r}: {part!r} is no day: write Mon, Mon-Fri, Sat,Sun or daily")
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % 7 + 1 if dash else 1
        found |= {(begin + day) % 7 for day in range(length)}
    return frozenset(found)
