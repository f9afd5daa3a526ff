"""What the viewer tests fetch is pinned, and only the right bytes are unpacked."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.viewers import packages
from tests.viewers.packages import PACKAGES, NotFetched, Package, fetch

NPM = """#!/bin/sh
while [ "$1" != --pack-destination ]; do shift; done
cp "$READSIDE_TEST_ARCHIVE" "$2/one.tgz"
"""


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_is_pinned_by_version_and_bytes(name):
    assert re.fullmatch(r"\d+\.\d+\.\d+", PACKAGES[name].version)
    algorithm, _, digest = PACKAGES[name].integrity.partition("-")
    assert algorithm == "sha512"
    assert len(base64.b64decode(digest, validate=True)) == 64


def test_the_list_of_packages_holds_no_address():
    assert "://" not in Path(packages.__file__).with_name("packages.json").read_text(encoding="utf-8")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package with one file, and an npm that hands it out."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/index.html")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    archive_path = tmp_path / "archive.tgz"
    archive_path.write_bytes(stream.getvalue())
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(NPM)
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("READSIDE_TEST_ARCHIVE", str(archive_path))
    monkeypatch.setattr(packages, "_FOLDER", tmp_path / "cache")
    digest = base64.b64encode(hashlib.sha512(stream.getvalue()).digest()).decode()
    return Package(name="@some/one", version="1.0.0", integrity=f"sha512-{digest}")


def test_a_package_is_unpacked_whole(package):
    assert not package.here
    fetch(package)
    assert (package.folder / "index.html").read_bytes() == b"hello"
    assert [path.name for path in package.folder.parent.iterdir()] == ["some-one-1.0.0"], (
        "nothing else is left"
    )


def test_other_bytes_are_refused_and_leave_nothing(package):
    other = replace(package, integrity="sha512-" + base64.b64encode(bytes(64)).decode())
    with pytest.raises(NotFetched, match="other bytes"):
        fetch(other)
    assert list(other.folder.parent.iterdir()) == []


def test_without_npm_it_says_so(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotFetched, match="npm is not installed"):
        fetch(package)


def test_what_npm_says_is_passed_on(package, monkeypatch):
    monkeypatch.setenv("READSIDE_TEST_ARCHIVE", "/nowhere")
    with pytest.raises(NotFetched, match="nowhere"):
        fetch(package)
