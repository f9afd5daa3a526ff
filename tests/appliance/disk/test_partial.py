"""A part stays for the next attempt; under its final name a file is whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from appliance.disk.durable import DiskFault, NoSpace
from appliance.disk.partial import PartialFile


def test_a_part_is_continued_where_it_was_left(tmp_path: Path):
    with PartialFile(tmp_path / "a.part") as part:
        part.write(b"first ")
    with PartialFile(tmp_path / "a.part") as part:
        assert part.length == 6
        part.write(b"second")
        assert not (tmp_path / "a").exists()
        part.commit(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"first second"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_part_can_be_begun_anew_and_removed(tmp_path: Path):
    with PartialFile(tmp_path / "a.part") as part:
        part.write(b"wrong")
        part.restart()
        part.write(b"ok")
        assert part.length == 2
        assert (tmp_path / "a.part").read_bytes() == b"ok"
        part.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_gives_the_room_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with PartialFile(tmp_path / "a.part") as part:
        part.write(b"some")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(NoSpace):
            part.write(b"more")
        monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_sync_that_fails_gives_no_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with PartialFile(tmp_path / "a.part") as part:
        part.write(b"some")
        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(DiskFault):
            part.commit(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "a.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskFault):
        PartialFile(tmp_path / "a.part")
