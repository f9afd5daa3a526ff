"""The row writer: rows that keep coming share a commit, and none waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from appliance.core.limits import Limits
from appliance.spool import keeper
from appliance.spool.keeper import Row, RowWriter

LIMITS = Limits(rows_per_commit_max=5)


class _Row:
    def settled(self) -> None:
        """Do nothing."""


def row() -> Row:
    return cast("Row", _Row())


class Clock:
    """Time that passes only in sleep, where something may come."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.now, self._meanwhile = 0.0, meanwhile

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._meanwhile()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes: list[int] = []
    monkeypatch.setattr(keeper, "write_rows", lambda _ledger, _spool, batch: sizes.append(len(batch)))
    return sizes


def write(monkeypatch: pytest.MonkeyPatch, *, coming: int, limits: Limits = LIMITS) -> Clock:
    """Put one row, `coming` more while the writer sleeps, one each time, and then end."""
    anything: Any = None
    writer = RowWriter(anything, anything, on_rows=lambda: meanwhile(), on_fault=pytest.fail, limits=limits)
    left = iter(range(coming))
    ended: list[bool] = []

    def meanwhile() -> None:
        if next(left, None) is not None:
            writer.put(row())
        elif not ended:
            ended.append(True)
            writer._waiting.put(None)

    clock = Clock(meanwhile)
    monkeypatch.setattr(keeper, "time", clock)
    writer.put(row())
    writer.run()
    return clock


def test_rows_that_keep_coming_share_a_commit(commits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    write(monkeypatch, coming=3)
    assert commits == [4]


def test_a_commit_holds_no_more_than_it_may(commits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    write(monkeypatch, coming=7)
    assert sum(commits) == 8
    assert max(commits) <= LIMITS.rows_per_commit_max


def test_a_row_waits_no_longer_than_the_bound(commits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(rows_gather_seconds=1.0, rows_gather_seconds_max=3.0)
    write(monkeypatch, coming=20, limits=limits)
    assert sum(commits) == 21
    assert commits[0] == 4, "the first, and one for each of three seconds"
