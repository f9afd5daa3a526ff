"""Failures are counted over a window, and what is remembered is bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.console.limits import DEFAULT
from appliance.console.throttle import Throttle
from appliance.core.clock import HeldClock

LIMITS = replace(DEFAULT, failures_per_user_max=2, failures_per_address_max=3, addresses_max=5)


@pytest.fixture
def held():
    return HeldClock()


@pytest.fixture
def throttle(held):
    return Throttle(["amina"], held, LIMITS)


def test_tries_at_the_same_moment_cannot_slip_through(throttle):
    assert throttle.start("amina", "192.0.2.1") is None
    assert throttle.start("amina", "192.0.2.2") is None
    assert throttle.start("amina", "192.0.2.3") == DEFAULT.failures_seconds


def test_a_success_takes_back_its_own_try(throttle):
    for _ in range(10):
        assert throttle.start("amina", "192.0.2.1") is None
        throttle.succeed("amina", "192.0.2.1")


def test_the_window_slides(throttle, held):
    throttle.start("amina", "192.0.2.1")
    held.advance(DEFAULT.failures_seconds - 1)
    throttle.start("amina", "192.0.2.1")
    assert throttle.start("amina", "192.0.2.1") == pytest.approx(1)
    held.advance(1)
    assert throttle.start("amina", "192.0.2.1") is None


def test_unknown_names_share_one_account_and_do_not_touch_a_users(throttle):
    assert throttle.start("x", "192.0.2.1") is None
    assert throttle.start("y", "192.0.2.2") is None
    assert throttle.start("z", "192.0.2.3") is not None
    assert throttle.start("amina", "192.0.2.4") is None


def test_one_ipv6_network_is_one_address(throttle):
    for number in range(3):
        assert throttle.start(None, f"2001:db8::{number}") is None
    assert throttle.start(None, "2001:db8::ffff") is not None
    assert throttle.start(None, "2001:db8:0:1::1") is None


def test_addresses_are_forgotten_beyond_the_bound(throttle):
    for number in range(100):
        throttle.start(None, f"198.51.100.{number}")
    assert len(throttle._addresses) == LIMITS.addresses_max


def test_an_address_that_is_none_is_counted_too(throttle):
    for _ in range(3):
        assert throttle.start(None, "testclient") is None
    assert throttle.start(None, "unix:") is not None
