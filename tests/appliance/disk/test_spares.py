"""Segments made ahead of need: as many as the traffic asks for, never into the floor."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from appliance.disk import space
from appliance.disk.durable import NoSpace
from appliance.disk.limits import DiskLimits
from appliance.disk.space import Floor
from appliance.disk.spares import Spares

KIB = 1024
LIMITS = DiskLimits(
    segment_bytes_min=64 * KIB,
    segment_bytes_max=256 * KIB,
    spare_bytes_max=256 * KIB,
    fill_quiet_seconds=0.05,
    fill_bytes=16 * KIB,
)
WAIT_SECONDS = 20.0


def spares_in(folder: Path, *, floor_bytes: int = 0) -> Spares:
    (folder / "incoming").mkdir(exist_ok=True)
    return Spares(folder / "ready", folder / "incoming", Floor(folder, floor_bytes), limits=LIMITS)


def ready(folder: Path) -> list[int]:
    return sorted(path.stat().st_size for path in (folder / "ready").iterdir())


def until(true, seconds: float = WAIT_SECONDS) -> None:
    done = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        done.wait(0.02)
    raise AssertionError("it never came true")


def test_without_a_spare_a_segment_is_made_at_once_and_grows_with_what_came(tmp_path):
    spares = spares_in(tmp_path)
    sizes = []
    for name in "abcde":
        spares.take(tmp_path / name, at_least=1)
        sizes.append((tmp_path / name).stat().st_size // KIB)
    assert sizes == [64, 64, 128, 256, 256]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_segment_is_as_large_as_its_first_taker_needs(tmp_path):
    spares_in(tmp_path).take(tmp_path / "a", at_least=300 * KIB + 1)
    assert (tmp_path / "a").stat().st_size == 304 * KIB


def test_spares_are_made_behind_what_was_taken_and_taken_first(tmp_path):
    spares = spares_in(tmp_path)
    spares.start()
    spares.take(tmp_path / "a", at_least=1)
    until(lambda: ready(tmp_path) == [64 * KIB])
    (one,) = (tmp_path / "ready").iterdir()
    # Its room is written, and not only reserved: no later write needs metadata.
    assert one.stat().st_blocks * 512 >= 64 * KIB
    inode = one.stat().st_ino
    spares.stop()
    spares.take(tmp_path / "b", at_least=1)
    assert (tmp_path / "b").stat().st_ino == inode
    assert ready(tmp_path) == []


def test_what_was_ready_at_the_last_start_is_used(tmp_path):
    first = spares_in(tmp_path)
    first.start()
    first.take(tmp_path / "a", at_least=1)
    until(lambda: len(ready(tmp_path)) == 1)
    first.stop()
    spares_in(tmp_path).take(tmp_path / "b", at_least=1)
    assert ready(tmp_path) == []


def test_no_more_is_ahead_than_may_be(tmp_path):
    spares = spares_in(tmp_path)
    spares.start()
    for name in "abcdef":
        spares.take(tmp_path / name, at_least=1)
        until(lambda: sum(ready(tmp_path)) <= LIMITS.spare_bytes_max)
    spares.stop()
    assert sum(ready(tmp_path)) <= LIMITS.spare_bytes_max


def test_near_the_floor_a_smaller_segment_is_made_and_then_none(tmp_path, monkeypatch):
    spares = spares_in(tmp_path, floor_bytes=1000 * KIB)
    free = [1140 * KIB]
    monkeypatch.setattr(space, "free_bytes", lambda _path: free[0])
    for _ in range(2):  # segments would be 128 KiB by now
        spares._taken_bytes += 128 * KIB
    spares.take(tmp_path / "a", at_least=40 * KIB)
    assert (tmp_path / "a").stat().st_size == 128 * KIB
    free[0] = 1012 * KIB
    with pytest.raises(NoSpace):
        spares.take(tmp_path / "b", at_least=40 * KIB)
    assert not (tmp_path / "b").exists()


def test_a_disk_without_room_ends_no_thread(tmp_path, monkeypatch):
    spares = spares_in(tmp_path, floor_bytes=1)
    spares.start()
    spares.take(tmp_path / "a", at_least=1)
    until(lambda: ready(tmp_path) == [64 * KIB])
    monkeypatch.setattr(space, "free_bytes", lambda _path: 0)
    spares.take(tmp_path / "b", at_least=1)
    spares._wake.set()
    until(lambda: not spares._wake.is_set())
    assert spares._thread.is_alive()
    spares.stop()
