"""A folder under its final name is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.disk.durable import DiskFault
from appliance.disk.folder import keep_folder, remove_folder


def filled(folder: Path, text: str) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text(text)
    return folder


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path: Path):
    final = tmp_path / "final"
    keep_folder(filled(tmp_path / ".one", "one"), final)
    (final / "extra").write_text("of the first")
    keep_folder(filled(tmp_path / ".two", "two"), final)
    assert (final / "inner" / "file").read_text() == "two"
    assert not (final / "extra").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    assert (final / "inner" / "file").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_kept(tmp_path: Path):
    folder = filled(tmp_path / ".one", "one")
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(DiskFault, match="not a plain file"):
        keep_folder(folder, tmp_path / "final")
    assert not (tmp_path / "final").exists()


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path):
    remove_folder(tmp_path / "nothing")
    remove_folder(filled(tmp_path / "one", "one"))
    assert list(tmp_path.iterdir()) == []
