"""The door: one code, five tries, one browser."""

from __future__ import annotations

import pytest

from appliance.core.clock import HeldClock
from provisioning.firstboot.door import Door
from provisioning.firstboot.limits import DEFAULT
from provisioning.identity import code as codes


@pytest.fixture
def clock():
    return HeldClock(1_000.0)


@pytest.fixture
def code():
    return codes.make()


@pytest.fixture
def door(code, clock):
    return Door(code, clock)


def test_the_code_opens_as_people_write_it(door, code):
    assert door.knows(door.enter(f" {codes.shown(code).lower()} "))


@pytest.mark.parametrize("wrong", ["", "-", "x" * 5_000, "é", "\ud800"])
def test_anything_else_does_not(door, wrong):
    assert door.enter(wrong) == ""
    assert not door.knows("")


def test_five_wrong_codes_lock_it_even_for_the_right_one(door, code, clock):
    for _ in range(DEFAULT.tries_max):
        assert door.waits_seconds() == 0
        assert door.enter(codes.make()) == ""
    assert door.enter(code) == ""
    clock.advance(DEFAULT.locked_seconds - 1)
    assert door.enter(code) == ""
    clock.advance(2)
    assert door.enter(code)


def test_a_session_that_is_in_stays_in_while_others_guess(door, code):
    token = door.enter(code)
    for _ in range(DEFAULT.tries_max):
        door.enter(codes.make())
    assert door.knows(token)


def test_the_second_browser_takes_the_place_of_the_first(door, code):
    first, second = door.enter(code), door.enter(code)
    assert not door.knows(first)
    assert door.knows(second)


def test_only_who_is_in_keeps_it_open(door, code, clock):
    token = door.enter(code)
    clock.advance(DEFAULT.idle_seconds_max - 1)
    assert door.knows(token)
    clock.advance(DEFAULT.idle_seconds_max - 1)
    door.knows("other")
    door.enter(codes.make())
    assert not door.is_idle()
    clock.advance(2)
    assert door.is_idle()
