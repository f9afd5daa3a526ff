"""What is written to a stick fits on FAT32, is gone on with after a pull, and is no more than is needed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.disk.durable import DiskFault, DurableFile
from appliance.sync.refusal import Word
from appliance.sync.release import DIRECTOR, IMAGE
from provisioning.bundle import parts, stamps
from provisioning.bundle.export import FOLDER
from provisioning.bundle.faults import BundleFault
from provisioning.bundle.limits import DEFAULT
from provisioning.bundle.names import check_names
from provisioning.registry.faults import RegistryFault
from provisioning.registry.promote import claim, promote
from tests.provisioning.bundle.conftest import Site
from tests.provisioning.field import DEVICE, NAME, NEXT, SERVES

SMALL = replace(DEFAULT, part_bytes=9_000, chunk_bytes=2_000)
FAT_TOOLS = shutil.which("mkfs.fat") and shutil.which("mcopy")


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def pulling(monkeypatch: pytest.MonkeyPatch, after_bytes: int, error: int = errno.EIO) -> None:
    """A stick that fails after so many bytes."""
    write, left = DurableFile.write, [after_bytes]

    def failing(self: DurableFile, data: bytes | memoryview) -> None:
        left[0] -= len(data)
        if left[0] < 0:
            self.abandon()
            raise DiskFault(os.strerror(error))
        write(self, data)

    monkeypatch.setattr(DurableFile, "write", failing)


def test_a_stick_that_is_pulled_half_way_is_gone_on_with(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.bounds = SMALL
    site.export()
    before = tree(site.stick)
    promote(site.field.book, NAME, "1.0.5", [DEVICE])
    with monkeypatch.context() as patch:
        pulling(patch, 60_000)
        with pytest.raises(BundleFault, match="pulled"):
            site.export()
    half = tree(site.stick)
    assert before.items() <= half.items(), "the former bundle is whole"
    assert site.word() is Word.CURRENT
    assert not [name for name in half if name.endswith(".new")]
    made = site.export()
    assert 0 < made.copied_bytes < made.total_bytes
    assert not [name for name in tree(site.stick) if SERVES in name], "what no slot needs any more is gone"
    assert site.export().copied_bytes == 0


def test_only_what_the_named_slots_need_is_on_a_stick(site: Site, tmp_path: Path):
    site.field.publish(NEXT)
    claim(site.field.book, "box-2", tmp_path / "claim")
    promote(site.field.book, NAME, NEXT, ["box-2"])
    assert site.export("box-2").releases == (f"{NAME} {NEXT}",)
    there = "\n".join(tree(site.stick))
    assert "box-2" in there
    assert DEVICE not in there
    assert SERVES not in there
    assert "online" not in there
    assert ".pem" not in there
    made = site.export("box-2", DEVICE, "box-2")
    assert (made.slots, len(made.releases)) == ((DEVICE, "box-2"), 2)


def test_what_cannot_be_exported_is_said(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BundleFault, match="box-9 is not claimed"):
        site.export("box-9")
    with pytest.raises(BundleFault, match="no folder"):
        site.export(stick=tmp_path / "away")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
        with pytest.raises(BundleFault, match="lacks"):
            site.export()
    assert tree(site.stick) == {}
    claim(site.field.book, "con.", tmp_path / "claim")
    with pytest.raises(BundleFault, match=r"con\."):
        check_names([f"models/con./{SERVES}.zip"])
    release = next((site.field.public / IMAGE / "targets").rglob(f"*{SERVES}.zip"))
    data = release.read_bytes()
    release.write_bytes(data[:-1] + b"x")
    with pytest.raises(BundleFault, match="not what was signed"):
        site.export()
    release.write_bytes(data[:-1])
    with pytest.raises(BundleFault, match="not as long"):
        site.export()


def test_a_registry_that_was_broken_into_is_not_stamped(site: Site):
    site.export()
    (newest,) = (site.field.public / IMAGE / "metadata").glob("3.targets.json")
    listed = newest.read_bytes()
    assert listed.count(b'"counter":1') == 1
    newest.write_bytes(listed.replace(b'"counter":1', b'"counter":9'))
    with pytest.raises(RegistryFault, match="not those"):
        site.export()


def test_a_registry_without_the_key_for_bundles_says_who_makes_it(site: Site):
    shutil.rmtree(site.field.book.layout.bundle)
    with pytest.raises(BundleFault, match="bundle init"):
        site.export()
    stamps.begin(site.field.book, site.field.keys)
    assert site.export().slots == (DEVICE,)


@pytest.mark.skipif(not FAT_TOOLS, reason="dosfstools and mtools are not installed")
def test_a_real_fat32_file_system_holds_a_bundle_and_gives_it_back(site: Site, tmp_path: Path):
    site.bounds = SMALL
    site.export()
    image = tmp_path / "stick.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(["mkfs.fat", "-F", "32", image], check=True, capture_output=True, timeout=60)
    subprocess.run(["mcopy", "-s", "-i", image, site.stick / FOLDER, "::"], check=True, env=env, timeout=60)
    back = tmp_path / "back"
    back.mkdir()
    subprocess.run(["mcopy", "-s", "-i", image, f"::{FOLDER}", back], check=True, env=env, timeout=60)
    assert tree(back) == tree(site.stick)
    assert site.word(back) is Word.CURRENT


@pytest.mark.parametrize(
    "path",
    [
        "models/a:b/1.zip",
        "models/con/1",
        "nul.json",
        "a./b",
        "a /b",
        "a\x07",
        "x" * 256,
        "lpt1.tar.gz",
        "a?b",
    ],
)
def test_a_name_that_no_stick_can_hold_is_refused(path: str):
    with pytest.raises(BundleFault, match="FAT32"):
        check_names([path])


def test_names_that_differ_in_case_only_are_refused():
    check_names(["models/a/1.zip", "models/a/2.zip", "models/b/1.zip", "console.json", "com10"])
    with pytest.raises(BundleFault, match="case only"):
        check_names(["models/Lung/1.zip", "models/lung/2.zip"])


@given(data=st.binary(max_size=300), part_bytes=st.integers(1, 60))
def test_parts_one_after_another_are_the_file(tmp_path_factory: pytest.TempPathFactory, data, part_bytes):
    limits = replace(DEFAULT, part_bytes=part_bytes, chunk_bytes=7)
    path = tmp_path_factory.mktemp("parts") / "file"
    path.write_bytes(data)
    cuts = parts.cuts_of(path, limits=limits)
    assert bool(cuts) == (len(data) > part_bytes)
    joined = b"".join(data[cut.start : cut.start + cut.length] for cut in cuts)
    assert joined == (data if cuts else b"")
    assert all(cut.length <= part_bytes for cut in cuts)
    assert [cut.suffix for cut in cuts] == [f".{number:03d}" for number in range(1, len(cuts) + 1)]
    assert parts.list_of(parts.list_bytes("a" * 64, cuts), "a" * 64) == cuts


def test_a_file_above_four_gibibytes_is_cut_below_what_fat32_takes():
    spans = parts.spans((9 << 30) + 5)
    assert spans[-1] == (9 << 30, 5)
    assert max(length for _, length in spans) <= (4 << 30) - 1
    assert sum(length for _, length in spans) == (9 << 30) + 5
    with pytest.raises(BundleFault, match="parts"):
        parts.spans(2_000 << 30)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"format": 2, "sha256": "%s", "parts": []}' % (b"a" * 64),
        b'{"format": 1, "sha256": "%s", "parts": []}' % (b"b" * 64),
        b'{"format": 1, "sha256": "%s", "parts": [{"length": true, "sha256": ""}]}' % (b"a" * 64),
        b'{"format": 1, "sha256": "%s", "parts": [{"length": -1, "sha256": "%s"}]}' % (b"a" * 64, b"a" * 64),
        b'{"format": 1, "sha256": "%s", "parts": [{"length": 1, "sha256": "../x"}]}' % (b"a" * 64),
        b'{"format": 1, "sha256": "%s", "parts": %s}' % (b"a" * 64, b"[1]" * 1),
    ],
)
def test_a_list_of_parts_of_another_form_is_refused(data: bytes):
    with pytest.raises(BundleFault, match="form"):
        parts.list_of(data, "a" * 64)


def test_a_bundles_folders_hold_no_key(site: Site):
    site.export()
    public = {path for path in tree(site.field.public) if "bundle" in path}
    assert public == set()
    assert (site.field.book.layout.bundle / DIRECTOR / "metadata").is_dir()
