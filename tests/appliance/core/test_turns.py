"""Short turns are asked for where the kernel knows them, handed on to threads, and no fault elsewhere."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.core import turns

SHORT = 0.0002


def on_a_thread(work: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(10)


def _known() -> bool:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    return platform.machine() == "x86_64" and release >= (6, 12)


@pytest.mark.skipif(not _known(), reason="a kernel that knows no turns")
def test_a_thread_has_the_turns_it_asked_for_and_hands_them_on() -> None:
    inherited: list[float | None] = []

    def ask() -> None:
        assert turns.ask_for_short_turns(SHORT)
        assert turns.turn_seconds() == pytest.approx(SHORT)
        on_a_thread(lambda: inherited.append(turns.turn_seconds()))

    on_a_thread(ask)
    assert inherited == [pytest.approx(SHORT)]
    assert turns.turn_seconds() != pytest.approx(SHORT)


def test_its_niceness_stays() -> None:
    def ask() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        turns.ask_for_short_turns(SHORT)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == 5

    on_a_thread(ask)


def test_an_unknown_machine_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    assert not turns.ask_for_short_turns(SHORT)
    assert turns.turn_seconds() is None
