"""A disk is measured within its bounds, and nothing of it is left behind."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from appliance.disk.durable import DiskFault, NoSpace
from appliance.disk.measure import measure


def test_it_measures_and_leaves_nothing(tmp_path: Path):
    speed = measure(tmp_path, bytes_max=2**20, syncs_max=5)
    assert 0 < speed.sync_seconds <= speed.sync_seconds_max
    assert speed.bytes_per_second > 0
    assert list(tmp_path.iterdir()) == []


def test_one_sync_is_measured_however_slow_the_disk_is(tmp_path: Path):
    assert measure(tmp_path, bytes_max=1, seconds_max=0.0).sync_seconds > 0


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EIO, DiskFault)])
def test_a_disk_that_fails_is_told_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
):
    def fails(*_: object) -> int:
        raise OSError(number, "planted")

    monkeypatch.setattr("os.fdatasync", fails)
    with pytest.raises(kind):
        measure(tmp_path, bytes_max=2**20)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
