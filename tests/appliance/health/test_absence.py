"""What should be there and is not: learned over weeks, and never out of too little."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health.absence import WEEK_HOURS, barren, silence

# A Saturday, 10:30 UTC.
NOW = datetime(2026, 3, 7, 10, 30, tzinfo=UTC).timestamp()
HOUR = int(NOW // 3600)


def weeks(pattern, many, *, today=None):
    """Arrivals by hour: the same pattern, by hour of the week counted back from now, in each week before."""
    counts = {
        HOUR - back - WEEK_HOURS * week: n for week in range(1, many + 1) for back, n in pattern.items()
    }
    return counts | {HOUR - back: n for back, n in (today or {}).items()}


def counted(many):
    return set(range(HOUR - WEEK_HOURS * (many + 1), HOUR))


class TestSilence:
    def test_no_ct_since_six_although_saturdays_have_some(self):
        mornings = {1: 4, 2: 4, 3: 4, 4: 4, 5: 2}
        counts = weeks(mornings, 4, today={5: 2})
        said = silence(counts, counted(5), now=NOW)
        assert said is not None
        assert datetime.fromtimestamp(said.since, tz=UTC).hour == 6
        assert (said.weeks, said.least) == (4, 16)

    def test_one_arrival_ends_it(self):
        mornings = {1: 4, 2: 4, 3: 4, 4: 4}
        for today in ({0: 1}, {1: 1}):
            assert silence(weeks(mornings, 4, today=today), counted(5), now=NOW) is None

    def test_a_weekday_that_never_had_any_is_quiet(self):
        weekdays = dict.fromkeys(range(24, 5 * 24), 3)
        counts = weeks(weekdays, 8, today=dict.fromkeys(range(24, 5 * 24), 3))
        assert silence(counts, counted(8), now=NOW) is None

    @pytest.mark.parametrize(("many", "expected"), [(2, False), (3, True)])
    def test_nothing_is_learned_from_too_few_weeks(self, many, expected):
        assert (silence(weeks({1: 9}, many), counted(many), now=NOW) is not None) is expected

    def test_weeks_in_which_the_box_was_off_are_not_learned_from(self):
        known = counted(5) - set(range(HOUR - 4 * WEEK_HOURS, HOUR - WEEK_HOURS))
        assert silence(weeks({1: 9}, 5), known, now=NOW) is None

    def test_a_holiday_is_forgiven_once_enough_weeks_are_known(self):
        for many, expected in ((5, False), (6, True)):
            counts = weeks({1: 9, 20: 1}, many, today={20: 1})
            del counts[HOUR - 1 - WEEK_HOURS * 2]
            assert (silence(counts, counted(many), now=NOW) is not None) is expected

    def test_what_was_before_the_first_arrival_is_not_learned_from(self):
        for many, expected in ((2, False), (3, True)):
            assert (silence(weeks({1: 9}, many), counted(8), now=NOW) is not None) is expected

    def test_a_few_are_too_few_to_be_missed(self):
        assert silence(weeks({1: 2}, 8), counted(8), now=NOW) is None

    def test_the_clocks_on_the_wall_count_after_the_change_to_summer_time(self):
        zone = ZoneInfo("Europe/Vienna")
        now = datetime(2026, 3, 29, 8, 30, tzinfo=zone)
        eights = [datetime(2026, 3, day, 7, tzinfo=zone) for day in (1, 8, 15, 22)]
        counts = {int(at.timestamp() // 3600): 9 for at in eights}
        hour = int(now.timestamp() // 3600)
        known = set(range(hour - 6 * WEEK_HOURS, hour))
        # Only the hour before now was quiet, and in each week it had nine by the clocks on the wall.
        counts |= {hour - 2: 1}
        said = silence(counts, known, now=now.timestamp(), zone=zone)
        assert said is not None
        assert said.least == 9
        assert silence(counts, known, now=now.timestamp(), zone=UTC) is None

    @given(st.dictionaries(st.integers(1, WEEK_HOURS - 1), st.integers(1, 50)), st.integers(0, 9))
    def test_what_is_as_every_week_is_no_alarm(self, pattern, many):
        assert silence(weeks(pattern, many, today=pattern), counted(many), now=NOW) is None or not any(
            back < min(pattern) for back in pattern
        )

    @given(
        st.dictionaries(st.integers(HOUR - 10 * WEEK_HOURS, HOUR), st.integers(0, 9)),
        st.sets(st.integers(HOUR - 10 * WEEK_HOURS, HOUR)),
    )
    def test_an_alarm_is_always_about_hours_without_arrivals(self, counts, known):
        said = silence(counts, known, now=NOW)
        if said is not None:
            assert not any(counts.get(hour, 0) for hour in range(int(said.since // 3600), HOUR + 1))
            assert said.weeks >= 3
            assert said.least >= 3


class TestBarren:
    def test_a_model_that_stopped_is_told(self):
        said = barren([False] * 100 + [True, False] * 200)
        assert said is not None
        assert (said.answers, round(said.share, 2)) == (100, 0.5)

    @pytest.mark.parametrize(
        "findings",
        [
            [],
            [False] * 5_000,
            [True] * 5_000,
            [False] * 1_000 + [True] * 199,
            [False] * 5 + [True, False] * 200,
            [False] * 300 + [True] + [False] * 999,
        ],
    )
    def test_what_may_be_chance_is_not(self, findings):
        assert barren(findings) is None

    def test_false_alarms_are_rare(self):
        import random

        rng, alarms = random.Random(7), 0
        for _ in range(300):
            share = rng.uniform(0.02, 0.6)
            alarms += barren([rng.random() < share for _ in range(2_000)]) is not None
        assert alarms <= 1

    @given(st.lists(st.booleans(), max_size=600))
    def test_an_answer_with_a_finding_ends_it(self, findings):
        assert barren([True, *findings]) is None
