"""Windows follow the clocks on the site's wall, on the two nights of the year too on which these jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.config import ConfigError, parse
from appliance.core.windows import WindowError, end_of, is_open, opens_at, window_of

VIENNA = ZoneInfo("Europe/Vienna")
# Whole hours, half an hour in the south, three quarters, midnight jumps, no jumps at all.
ZONES = [
    ZoneInfo(name)
    for name in (
        "Europe/Vienna",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Chatham",
        "America/Havana",
        "Africa/Cairo",
        "UTC",
    )
]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
YEAR = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
MINUTE, HOUR, DAY, WEEK = 60.0, 3600.0, 86_400.0, 7 * 86_400.0

instants = st.integers(0, 366 * 24 * 60).map(lambda minute: YEAR + minute * MINUTE)
minutes = st.integers(0, 24 * 60 - 1)


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, set[int], int, int]:
    first, last = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    start, end = draw(minutes), draw(minutes)
    if start == end:
        end = 24 * 60
    days = {day % 7 for day in range(first, first + (last - first) % 7 + 1)}
    text = f"{DAYS[first]}-{DAYS[last]} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    return text, days, start, end


def clock_times(days: set[int], start: int, end: int) -> set[tuple[int, int]]:
    """Every (day of the week, minute) that a clock shows in a window, counted out one by one."""
    length = (end - start) % (24 * 60) or 24 * 60
    return {
        ((day + (start + offset) // (24 * 60)) % 7, (start + offset) % (24 * 60))
        for day in days
        for offset in range(length)
    }


@given(windows(), st.sampled_from(ZONES), st.lists(instants, min_size=1, max_size=20))
def test_a_window_is_open_exactly_while_the_clock_reads_a_time_in_it(made, zone, ats):
    text, days, start, end = made
    read = clock_times(days, start, end)
    for at in ats:
        local = datetime.fromtimestamp(at, tz=zone)
        assert is_open([window_of(text)], zone, at) == (
            (local.weekday(), local.hour * 60 + local.minute) in read
        )


@given(windows(), st.sampled_from(ZONES), instants)
def test_the_next_opening_is_the_first(made, zone, at):
    window = [window_of(made[0])]
    then = opens_at(window, zone, at)
    assert then is not None
    assert at <= then <= at + 2 * WEEK + DAY
    assert is_open(window, zone, then)
    assert then == at or not is_open(window, zone, then - MINUTE)
    between = (at + (then - at) * part / 50 for part in range(50))
    assert then == at or not any(is_open(window, zone, moment) for moment in between)


@given(windows(), st.sampled_from(ZONES), st.integers(0, 51))
def test_a_week_has_the_same_time_open_but_for_what_the_clocks_jump(made, zone, week):
    text, days, start, end = made
    begin = YEAR + week * WEEK
    window, step = [window_of(text)], 15 * MINUTE
    counted = sum(is_open(window, zone, begin + n * step) for n in range(7 * 24 * 4)) * step
    jumped = abs(
        (datetime.fromtimestamp(begin, tz=zone).utcoffset() or timedelta())
        - (datetime.fromtimestamp(begin + WEEK, tz=zone).utcoffset() or timedelta())
    ).total_seconds()
    # A quarter of an hour is the grain of the counting, at each end of each of the days.
    assert abs(counted - len(clock_times(days, start, end)) * MINUTE) <= jumped + 14 * step


def at(text: str, zone: ZoneInfo = VIENNA, *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2027-03-26T22:00", True),
        ("2027-03-26T21:59", False),
        ("2027-03-27T04:59", True),  # Friday's window, on Saturday
        ("2027-03-27T05:00", False),
        ("2027-03-27T22:30", False),  # Saturday
        ("2027-03-29T04:00", False),  # Sunday's would have begun on Sunday
    ],
)
def test_a_night_window_belongs_to_the_day_on_which_it_begins(moment: str, open_: bool):
    assert is_open([window_of("Mon-Fri 22:00-05:00")], VIENNA, at(moment)) is open_


def test_an_hour_that_the_clocks_skip_is_in_no_window_and_one_that_comes_twice_is_in_twice():
    window = [window_of("Sun 02:00-03:00")]
    forward, back = at("2027-03-28T00:00"), at("2027-10-31T00:00")
    assert not any(is_open(window, VIENNA, forward + n * MINUTE) for n in range(6 * 60))
    assert opens_at(window, VIENNA, forward) == at("2027-04-04T02:00")
    assert sum(is_open(window, VIENNA, back + n * MINUTE) for n in range(6 * 60)) == 120
    night = [window_of("Sat 22:00-05:00")]
    hours = [
        sum(is_open(night, VIENNA, at(day) + n * MINUTE) for n in range(12 * 60)) / 60
        for day in ("2027-03-27T20:00", "2027-10-30T20:00", "2027-06-26T20:00")
    ]
    assert hours == [6, 8, 7]


def test_where_there_is_no_window_it_is_always_open():
    assert is_open([], VIENNA, YEAR)
    assert opens_at([], VIENNA, YEAR) == YEAR


@pytest.mark.parametrize(
    "text",
    ["", "22:00-05:00", "Mon 22-05", "Xxx 22:00-05:00", "Mon- 22:00-05:00", "Mon 25:00-26:00",
     "Mon 12:60-13:00", "Mon 10:00-10:00", "Mon 24:00-05:00", "Mon,,Tue 10:00-11:00"],
)  # fmt: skip
def test_what_is_no_window_is_refused(text: str):
    with pytest.raises(WindowError):
        window_of(text)


def test_days_are_ranges_lists_or_all():
    assert window_of("Fri-Mon 10:00-11:00").days == {4, 5, 6, 0}
    assert window_of("Mon,Wed-Thu 10:00-11:00").days == {0, 2, 3}
    assert window_of("daily 00:00-24:00").days == set(range(7))
    assert all(is_open([window_of("daily 00:00-24:00")], VIENNA, YEAR + n * HOUR) for n in range(24 * 7))


def test_a_date_ends_with_its_day_at_the_site():
    assert end_of("2027-03-28", VIENNA) == at("2027-03-29T00:00")
    assert end_of("2027-03-28T06:00", VIENNA) == at("2027-03-28T06:00")
    assert end_of("2027-03-28T06:00+00:00", VIENNA) == at("2027-03-28T08:00")
    with pytest.raises(WindowError):
        end_of("next week", VIENNA)


def test_a_site_with_windows_says_by_which_clocks():
    tree = {"storage": {"root": "/srv/x"}, "registry": {"windows": ["Mon-Fri 22:00-05:00"]}}
    with pytest.raises(ConfigError) as fault:
        parse({**tree, "site": {"name": "A"}})
    assert "site.time_zone: must be given" in fault.value.faults[0]
    with pytest.raises(ConfigError) as fault:
        parse({**tree, "site": {"name": "A", "time_zone": "Europe/Nowhere"}})
    assert "no time zone" in fault.value.faults[0]
    with pytest.raises(ConfigError) as fault:
        parse({**tree, "site": {"name": "A"}, "registry": {"windows": ["at night"]}})
    assert "is no window" in fault.value.faults[0]
    read = parse({**tree, "site": {"name": "A", "time_zone": "Europe/Vienna"}})
    assert read.registry.opening[0].days == set(range(5))
    assert read.site.zone == VIENNA
