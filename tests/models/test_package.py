"""Packages open whole or not at all, and their digest names exactly their bytes."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest

from models.limits import PackageLimits
from models.manifest import Manifest, load
from models.package import Package, PackageError, digest_of, open_package, pack
from tests.models import given


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a package that ships, to be bent."""
    return given.copy_package(given.BANDS, tmp_path / "copy")


def faults_of(path: Path, unpack_into: Path | None = None) -> list[str]:
    with pytest.raises(PackageError) as caught:
        open_package(path, unpack_into=unpack_into)
    return caught.value.faults


def test_digest_is_the_same_for_a_copy_and_for_a_zip(bands: Package, folder: Path, tmp_path: Path) -> None:
    assert open_package(folder).digest == bands.digest
    pack(folder, tmp_path / "one.zip")
    pack(given.BANDS, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    into = tmp_path / "unpacked"
    into.mkdir()
    opened = open_package(tmp_path / "one.zip", unpack_into=into)
    assert opened.digest == bands.digest
    assert opened.onnx_path().read_bytes() == bands.onnx_path().read_bytes()


def test_digest_changes_with_every_byte(bands: Package, folder: Path) -> None:
    manifest = load(folder / "manifest.toml")
    digests = {bands.digest}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    places = [(path, at) for path in files for at in (0, path.stat().st_size // 2, path.stat().st_size - 1)]
    for path, at in places:
        whole = path.read_bytes()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        digests.add(digest_of(folder, manifest))
        path.write_bytes(whole)
    assert len(digests) == 1 + len(places)
    assert digest_of(folder, manifest) == bands.digest


def test_digest_changes_with_a_name_and_a_new_file(bands: Package, folder: Path) -> None:
    manifest = load(folder / "manifest.toml")
    (folder / "golden" / "head.npz").rename(folder / "golden" / "brain.npz")
    renamed = digest_of(folder, manifest)
    (folder / "NOTES.md").touch()
    assert len({bands.digest, renamed, digest_of(folder, manifest)}) == 3


def test_all_faults_of_files_and_manifest_at_once(folder: Path) -> None:
    (folder / "MODEL_CARD.md").unlink()
    (folder / "hook.py").write_text("print('no')")
    text = (folder / "manifest.toml").read_text()
    (folder / "manifest.toml").write_text(text.replace('version = "1.0.0"', 'version = "x"') + "\nmore = 1\n")
    faults = faults_of(folder)
    for words in (
        "manifest.toml: version is 'x'",
        "resources.more",
        "hook.py: a package holds no",
        "MODEL_CARD",
    ):
        assert any(words in fault for fault in faults), (words, faults)


def test_golden_cases_are_required(folder: Path) -> None:
    for path in (folder / "golden").iterdir():
        path.unlink()
    assert any("golden/: holds no case" in fault for fault in faults_of(folder))


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("outside")
    (folder / "notes.txt").symlink_to(tmp_path / "secret.txt")
    assert faults_of(folder) == ["notes.txt: is not a plain file"]


def test_too_many_files_and_bytes_are_refused(folder: Path) -> None:
    with pytest.raises(PackageError, match=r"files, more than 3.*bytes, more than 9"):
        open_package(folder, limits=PackageLimits(files_max=3, bytes_max=9))


def test_absent_and_not_unpackable_are_refused(tmp_path: Path) -> None:
    assert "no such folder or file" in faults_of(tmp_path / "absent")[0]
    (tmp_path / "a.zip").write_bytes(b"PK")
    assert "say where a zip may be unpacked" in faults_of(tmp_path / "a.zip")[0]
    (tmp_path / "into").mkdir()
    assert "cannot be unpacked (BadZipFile)" in faults_of(tmp_path / "a.zip", tmp_path / "into")[0]


def test_a_zip_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("folder/manifest.toml", "format = 1")
    (tmp_path / "into").mkdir()
    assert any(
        "manifest.toml: cannot be read" in fault for fault in faults_of(tmp_path / "a.zip", tmp_path / "into")
    )


class Later(Manifest):
    """A manifest of a later version, which knows one key more."""

    more: str | None = None


def test_a_key_that_a_later_version_learns_renames_no_package(bands: Package) -> None:
    raw = tomllib.loads((given.BANDS / "manifest.toml").read_text(encoding="utf-8"))
    assert digest_of(given.BANDS, Later.model_validate(raw)) == bands.digest
    assert digest_of(given.BANDS, Later.model_validate(raw | {"more": "yes"})) != bands.digest


def test_faults_of_files_and_of_the_network_are_said_together(folder: Path) -> None:
    (folder / "MODEL_CARD.md").unlink()
    (folder / "weights.bin").write_bytes(b"1")
    (folder / "model.onnx").write_bytes(b"not a network")
    faults = faults_of(folder)
    assert len(faults) == 3
    for words in (
        "MODEL_CARD.md: is missing",
        "weights.bin: a package holds no such file",
        "is not an ONNX file",
    ):
        assert any(words in fault for fault in faults)


def test_a_network_that_is_a_link_is_not_followed(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(given.LESION / "model.onnx")
    assert faults_of(folder) == ["model.onnx: is not a plain file"]
