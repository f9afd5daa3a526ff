"""The floor: receiving stops before the disk is full, and resumes by itself."""

from __future__ import annotations

import os

import pytest

from appliance.disk import space
from appliance.disk.durable import NoSpace
from appliance.disk.space import Floor, free_bytes


class Disk:
    """A file system whose free space the test sets, and which counts how often it was asked."""

    def __init__(self, free: int) -> None:
        self.free = free
        self.asked = 0

    def __call__(self, _path: object) -> int:
        self.asked += 1
        return self.free


@pytest.fixture
def disk(monkeypatch):
    made = Disk(1_000)
    monkeypatch.setattr(space, "free_bytes", made)
    return made


def test_the_floor_is_never_eaten_into(disk, clock, tmp_path):
    floor = Floor(tmp_path, 400, clock=clock)
    floor.admit(600)
    disk.free = 400
    with pytest.raises(NoSpace, match="400 bytes free, the floor is 400"):
        floor.admit(1)


def test_exactly_down_to_the_floor_is_allowed(disk, clock, tmp_path):
    Floor(tmp_path, 400, clock=clock).admit(600)
    with pytest.raises(NoSpace):
        Floor(tmp_path, 400, clock=clock).admit(601)


def test_what_was_admitted_counts_before_the_file_system_shows_it(disk, clock, tmp_path):
    floor = Floor(tmp_path, 0, clock=clock)
    floor.admit(300)
    floor.admit(300)
    assert disk.asked == 1
    # 400 are left by our own count; asked again, the file system says that the former were not written yet.
    floor.admit(500)
    assert disk.asked == 2


def test_an_old_answer_is_asked_for_again(disk, clock, tmp_path):
    floor = Floor(tmp_path, 0, fresh_seconds=1.0, clock=clock)
    floor.admit(1)
    clock.advance(0.9)
    floor.admit(1)
    assert disk.asked == 1
    clock.advance(0.2)
    floor.admit(1)
    assert disk.asked == 2


def test_receiving_resumes_once_there_is_room(disk, clock, tmp_path):
    floor = Floor(tmp_path, 900, clock=clock)
    with pytest.raises(NoSpace):
        floor.admit(200)
    disk.free = 5_000
    floor.admit(200)


def test_a_refused_instance_reserves_nothing(disk, clock, tmp_path):
    floor = Floor(tmp_path, 0, clock=clock)
    with pytest.raises(NoSpace):
        floor.admit(5_000)
    floor.admit(1_000)


def test_free_space_is_what_an_ordinary_process_may_use(tmp_path):
    stat = os.statvfs(tmp_path)
    assert free_bytes(tmp_path) <= stat.f_bfree * stat.f_frsize
    assert free_bytes(tmp_path) > 0
