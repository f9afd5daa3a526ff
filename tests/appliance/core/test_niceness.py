"""A thread gives way only where it can come back, and always does."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from appliance.core.niceness import NICER_BY, giving_way, may_come_back


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    may_come_back.cache_clear()
    yield
    may_come_back.cache_clear()


def nice() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_is_nicer_in_the_block_and_as_before_behind_it() -> None:
    before, others = nice(), os.getpriority(os.PRIO_PROCESS, os.getpid())
    with giving_way() as gave:
        assert nice() == before + (NICER_BY if gave else 0)
        assert gave == may_come_back()
    assert nice() == before
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == others


def test_it_comes_back_from_a_block_that_failed() -> None:
    before = nice()
    with pytest.raises(ZeroDivisionError), giving_way():
        raise ZeroDivisionError
    assert nice() == before


def test_where_it_could_not_come_back_it_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    real, before = os.setpriority, nice()

    def only_nicer(which: int, who: int, priority: int) -> None:
        if priority < os.getpriority(which, who):
            raise PermissionError(13, "only nicer")
        real(which, who, priority)

    monkeypatch.setattr(os, "setpriority", only_nicer)
    with giving_way() as gave:
        assert not gave
        assert nice() == before


def test_where_a_number_names_a_process_it_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "another")
    with giving_way() as gave:
        assert not gave
