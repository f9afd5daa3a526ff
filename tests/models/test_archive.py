"""A hostile zip leaves nothing outside the folder it may unpack into, and costs little."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from models.archive import ArchiveError, unpack
from models.limits import PackageLimits

LIMITS = PackageLimits()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "inner" / "into"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "../out.txt",
        "/out.txt",
        "a/../../out.txt",
        "a//b.txt",
        "./a.txt",
        "C:/a.txt",
        "a\\b.txt",
        "x" * 201,
        "a\nb",
    ],
)
def test_a_name_that_is_no_plain_path_is_refused(tmp_path: Path, into: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(ArchiveError, match="leads outside"):
        unpack(tmp_path / "a.zip", into, LIMITS)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "inner", "into"]


def test_a_symbolic_link_is_refused(tmp_path: Path, into: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(link, "/etc/hostname")
    with pytest.raises(ArchiveError, match="symbolic link"):
        unpack(tmp_path / "a.zip", into, LIMITS)


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("a.txt", "x")
        zipped.writestr("A.txt", "y")
    with pytest.raises(ArchiveError, match="same name twice"):
        unpack(tmp_path / "a.zip", into, LIMITS)


def test_a_bomb_is_refused_by_ratio_size_and_count(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.txt", bytes(10_000_000))
        zipped.writestr("b.txt", b"")
    for limits, words in (
        (LIMITS, "times its size"),
        (PackageLimits(bytes_max=1000), "more than 1000"),
        (PackageLimits(files_max=1), "2 files"),
    ):
        with pytest.raises(ArchiveError, match=words):
            unpack(tmp_path / "a.zip", into, limits)
    assert list(into.iterdir()) == []


def test_a_size_that_lies_is_caught(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a.txt", b"0123456789" * 100)
    whole = bytearray(path.read_bytes())
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 24 : directory + 28] = struct.pack("<I", 10)
    path.write_bytes(whole)
    with pytest.raises(ArchiveError):
        unpack(path, into, LIMITS)
    assert sum(file.stat().st_size for file in into.iterdir()) <= 10


def test_damage_and_a_full_folder_are_refused(tmp_path: Path, into: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a.txt", b"0123456789")
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"0123456789")] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ArchiveError, match="BadZipFile"):
        unpack(path, into, LIMITS)
    (into / "there.txt").touch()
    with pytest.raises(ArchiveError, match="not empty"):
        unpack(path, into, LIMITS)
