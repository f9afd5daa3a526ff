"""A package comes onto the box whole and proved, or leaves nothing but the reasons."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from appliance.core.packages import installed_folder, models_folder, open_installed
from appliance.ledger import versions
from appliance.ledger.states import VersionState
from appliance.ledger.versions import Version
from appliance.sync.box import ModelBox, Refused
from appliance.sync.install import install
from appliance.sync.store import Busy
from models.package import open_package, pack
from tests.appliance import packages
from tests.appliance.sync.killing import killed_at


def rows(box: ModelBox) -> list[Version]:
    with box.ledger.read() as tx:
        return versions.everything(tx)


def files(box: ModelBox) -> list[str]:
    """What lies in the folder of installed packages."""
    folder = models_folder(box.root)
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def zipped(folder: Path) -> Path:
    path = folder / "bands.zip"
    pack(packages.bands(folder), path)
    return path


@pytest.mark.parametrize("make", [packages.bands, zipped])
def test_a_sound_package_lies_under_its_digest_and_serves_nobody_yet(box: ModelBox, tmp_path: Path, make):
    path = make(tmp_path)
    installed = install(box, path)
    row = installed.version
    assert (installed.fresh, row.state, row.version, row.source) == (
        True,
        VersionState.FETCHED,
        "1.1.0",
        path.name,
    )
    assert files(box) == [row.digest.removeprefix("sha256:")]
    assert open_installed(box.root, row.digest).manifest.version == "1.1.0"
    proved = row.evidence["install"]
    assert proved["engine"].startswith("ONNX Runtime")
    assert [case["differences"] for case in proved["golden"][0]["cases"]] == [[], [], []]
    assert box.catalogue().serving()[packages.NAME].digest == packages.shipped().digest


def test_what_lies_there_already_is_left_alone_and_what_was_changed_is_put_right(
    box: ModelBox, tmp_path: Path
):
    path = packages.bands(tmp_path)
    first = packages.put(box.ledger, box.root, path)
    again = install(box, path)
    assert (again.fresh, again.repaired, again.version) == (False, False, first)
    card = installed_folder(box.root, first.digest) / "MODEL_CARD.md"
    card.write_text("changed", encoding="utf-8")
    repaired = install(box, path)
    assert (repaired.fresh, repaired.repaired) == (False, True)
    assert open_installed(box.root, first.digest).digest == first.digest
    assert repaired.version.moves > first.moves, "whoever serves with it looks anew"


def many_faults(folder: Path) -> Path:
    unknown = "\n".join(f"unknown_{number} = 1" for number in range(10))
    return packages.bands(folder, changes={"format = 1": f"format = 1\n{unknown}"})


def outside(folder: Path) -> Path:
    """A package whose weights lie in a file of the machine."""
    path = packages.bands(folder)
    model = onnx.load(path / "model.onnx")
    secret = folder / "secret"
    weight = model.graph.initializer[0]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), weight.name))
    secret.write_bytes(weight.raw_data)
    onnx.external_data_helper.set_external_data(weight, "../secret", length=len(weight.raw_data))
    weight.ClearField("raw_data")
    (path / "model.onnx").write_bytes(model.SerializeToString())
    return path


def no_condition(folder: Path) -> Path:
    text = packages.shipped().manifest.accepts.when
    return packages.bands(folder, changes={f"when = '{text}'": "when = 'Modalty == \"CT\"'"})


def no_concept(folder: Path) -> Path:
    value = packages.shipped().manifest.answers[0].labels[0].type.value
    return packages.bands(folder, changes={f'value = "{value}"': 'value = "10200004"'})


def larger_than_any_machine(folder: Path) -> Path:
    mib = packages.shipped().manifest.resources.memory_mib
    return packages.bands(folder, changes={f"memory_mib = {mib}": "memory_mib = 900000000"})


def too_large(folder: Path) -> Path:
    mib = packages.shipped().manifest.resources.memory_mib
    return packages.bands(folder, changes={f"memory_mib = {mib}": "memory_mib = 70000"})


def number_taken(folder: Path) -> Path:
    return packages.bands(
        folder,
        packages.shipped().manifest.version,
        changes={'licence = "Apache-2.0"': 'licence = "MIT"'},
    )


def broken_zip(folder: Path) -> Path:
    path = folder / "broken.zip"
    path.write_bytes(zipped(folder).read_bytes()[:-200])
    return path


Case = tuple[Callable[[Path], Path], str]
BROKEN: list[Case] = [
    (many_faults, r"unknown_9"),
    (outside, r"weights"),
    (no_condition, r"accepts\.when"),
    (no_concept, r"10200004 SCT means 'Liver'"),
    (too_large, r"needs 70000 MiB of memory; inference\.memory_gib of this site allows 64 GiB"),
    (number_taken, r"already with the digest sha256:\w{64}; this package has sha256:\w{64}"),
    (broken_zip, r"broken\.zip"),
    (packages.says_nan, r"NaN|not finite"),
    (packages.says_nothing, r"golden cases came out different"),
]


@pytest.mark.parametrize(("make", "says"), BROKEN, ids=[make.__name__ for make, _ in BROKEN])
def test_a_broken_package_leaves_its_reasons_and_no_file(make_box, tmp_path: Path, make, says: str):
    box: ModelBox = make_box(inference={"memory_gib": 64})
    path = make(tmp_path)
    with pytest.raises(Refused, match=says):
        install(box, path)
    (row,) = rows(box)
    assert (row.state, row.source, files(box)) == (VersionState.REJECTED, path.name, [])
    assert row.evidence["faults"]
    assert str(tmp_path) not in str(row.evidence)
    assert box.catalogue().serving()[packages.NAME].digest == packages.shipped().digest


def test_a_model_larger_than_the_machine_is_refused_where_the_site_says_nothing(
    box: ModelBox, tmp_path: Path
):
    assert box.config.inference.memory_gib is None
    with pytest.raises(Refused, match=r"needs 900000000 MiB of memory; this machine has \d+ MiB"):
        install(box, larger_than_any_machine(tmp_path))
    assert box.catalogue().serving()[packages.NAME].digest == packages.shipped().digest


def test_all_ten_faults_are_told_and_kept(box: ModelBox, tmp_path: Path):
    with pytest.raises(Refused) as refused:
        install(box, many_faults(tmp_path))
    for number in range(10):
        assert any(f"unknown_{number}" in fault for fault in refused.value.faults)
    (row,) = rows(box)
    assert row.evidence["faults"] == refused.value.faults
    assert (row.name, row.version, row.digest) == (packages.NAME, "1.1.0", "")


def test_a_name_that_is_no_name_is_not_written_down(box: ModelBox, tmp_path: Path):
    path = packages.bands(tmp_path, changes={f'name = "{packages.NAME}"': 'name = "Nowak^Anna"'})
    with pytest.raises(Refused):
        install(box, path)
    assert [(row.name, row.version) for row in rows(box)] == [("unknown", "1.1.0")]


def test_an_installed_number_is_taken_for_other_bytes_too(box: ModelBox, tmp_path: Path):
    first = packages.put(box.ledger, box.root, packages.bands(tmp_path))
    other = packages.bands(tmp_path / "other", changes={'licence = "Apache-2.0"': 'licence = "MIT"'})
    with pytest.raises(
        Refused, match=f"digest {first.digest}; this package has {open_package(other).digest}"
    ):
        install(box, other)
    assert {row.state for row in rows(box)} == {VersionState.FETCHED, VersionState.REJECTED}
    assert files(box) == [first.digest.removeprefix("sha256:")]


def test_what_was_refused_is_taken_once_the_reason_is_gone(make_box, tmp_path: Path):
    path = packages.bands(tmp_path)
    with pytest.raises(Refused, match=r"inference\.memory_gib"):
        install(make_box(inference={"memory_gib": 0.001}), path)
    install(make_box(), path)
    (row,) = rows(make_box())
    assert (row.state, "faults" in row.evidence) == (VersionState.FETCHED, False)


def test_there_must_be_room_above_the_floor(make_box, tmp_path: Path):
    box: ModelBox = make_box(storage={"floor_gib": 1e9})
    with pytest.raises(Refused, match="no room"):
        install(box, packages.bands(tmp_path))
    assert (rows(box), files(box)) == ([], [])


def test_one_command_at_a_time(hasty: ModelBox, tmp_path: Path):
    with hasty.store.locked(), pytest.raises(Busy, match="another command"):
        install(hasty, packages.bands(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_files_that_the_box_could_not_read_are_not_written(box: ModelBox, tmp_path: Path):
    os.chown(box.root, 12345, -1)
    with pytest.raises(Refused, match="run this as the user that the box runs as"):
        install(box, packages.bands(tmp_path))
    assert files(box) == []


def test_what_a_killed_install_left_is_gone_at_the_next_command(box: ModelBox, tmp_path: Path):
    call = f"install(box, Path({str(packages.bands(tmp_path))!r}))"
    killed_at(box, tmp_path, module="install", step="prove", call=call)
    (left,) = files(box)
    assert left.startswith(".incoming.")
    with box.alone():
        assert (rows(box), files(box)) == ([], [])


def test_a_package_that_was_kept_and_never_recorded_is_gone_at_the_next_command(
    box: ModelBox, tmp_path: Path
):
    path = packages.bands(tmp_path)
    lost = installed_folder(box.root, open_package(path).digest)
    shutil.copytree(path, lost)
    other = packages.put(box.ledger, box.root, packages.bands(tmp_path, "1.2.0"))
    with box.alone():
        assert files(box) == [other.digest.removeprefix("sha256:")]
