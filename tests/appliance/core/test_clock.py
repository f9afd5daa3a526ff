"""Clocks: the system's, and one that a test holds."""

from __future__ import annotations

import time

from appliance.core.clock import SYSTEM, HeldClock, TokenBucket, as_datetime, as_text


def test_the_system_clock_is_the_system_s():
    assert abs(SYSTEM.now() - time.time()) < 5
    first = SYSTEM.elapsed()
    assert SYSTEM.elapsed() >= first


def test_a_held_clock_moves_only_by_hand():
    clock = HeldClock(100.0)
    assert (clock.now(), clock.elapsed()) == (100.0, 100.0)
    clock.advance(2.5)
    assert (clock.now(), clock.elapsed()) == (102.5, 102.5)


def test_times_are_written_in_utc():
    assert as_text(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    offset = as_datetime(0).utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0


def test_a_bucket_lets_a_burst_through_and_fills_with_time():
    clock = HeldClock()
    bucket = TokenBucket(60, clock)
    assert [bucket.take() for _ in range(61)] == [True] * 60 + [False]
    clock.advance(2)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.advance(3600)
    assert sum(bucket.take() for _ in range(100)) == 60
