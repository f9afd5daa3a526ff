"""The preview's memory: bounded, and nothing in it is made twice at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.console.preview.shelf import Shelf


def shelf(weight_max: int = 10, wait_seconds_max: float = 30.0) -> Shelf[str, bytes]:
    return Shelf(len, weight_max=weight_max, wait_seconds_max=wait_seconds_max)


def never() -> bytes:
    raise AssertionError("it was kept")


def test_what_was_asked_for_longest_ago_goes_first():
    kept = shelf()
    for key in "abc":
        kept.get(key, lambda: b"1234")
    assert kept.weight == 8
    assert kept.get("c", never) == b"1234"
    assert kept.get("b", never) == b"1234"
    kept.get("d", lambda: b"1234")
    assert kept.get("b", never) == b"1234"
    assert kept.get("c", lambda: b"new") == b"new"


def test_what_is_larger_than_all_of_it_is_given_and_not_kept():
    kept = shelf()
    assert kept.get("a", lambda: bytes(11)) == bytes(11)
    assert kept.weight == 0


def test_many_who_ask_at_once_wait_for_one_who_makes_it():
    kept, made, begun, may_end = shelf(), [], threading.Event(), threading.Event()

    def _make() -> bytes:
        made.append(1)
        begun.set()
        assert may_end.wait(30)
        return b"x"

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(kept.get, "a", _make)
        assert begun.wait(30)
        others = [pool.submit(kept.get, "a", _make) for _ in range(7)]
        may_end.set()
        assert {one.result(30) for one in (first, *others)} == {b"x"}
    assert made == [1]


def test_a_failure_is_not_kept():
    kept = shelf()
    with pytest.raises(AssertionError):
        kept.get("a", never)
    assert kept.get("a", lambda: b"x") == b"x"


def test_nobody_waits_for_ever():
    kept, begun, may_end = shelf(wait_seconds_max=0.01), threading.Event(), threading.Event()

    def _slow() -> bytes:
        begun.set()
        assert may_end.wait(30)
        return b"x"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(kept.get, "a", _slow)
        assert begun.wait(30)
        with pytest.raises(TimeoutError):
            kept.get("a", never)
        may_end.set()
        assert first.result(30) == b"x"


def test_what_is_dropped_is_made_anew():
    kept = shelf()
    kept.get("a", lambda: b"old")
    kept.drop("a")
    kept.drop("a")
    assert (kept.weight, kept.get("a", lambda: b"new")) == (0, b"new")
