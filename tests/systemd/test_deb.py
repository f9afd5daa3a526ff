"""The Debian package, built and then installed, upgraded and removed on a booted machine of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.programs import need
from tests.system.waiting import until
from tests.systemd.machine import ROOT, Binds, Machine, machine
from tests.systemd.test_machine import NAMES, SITE, active, unit

DEBIAN = ROOT / "debian"
_BUILD_SECONDS_MAX = 1500.0


def test_the_package_says_what_the_project_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.match(r"readside \(([^)]+)\)", (DEBIAN / "changelog").read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == project["version"]
    control = (DEBIAN / "control").read_text(encoding="utf-8")
    assert "Architecture: amd64 arm64\n" in control
    assert "python3 (>= 3.11)" in control


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_its_scripts_are_sound_and_remove_nothing_of_the_hospital(name: str) -> None:
    path = DEBIAN / f"readside.{name}"
    assert subprocess.run([need("sh"), "-n", str(path)], check=False).returncode == 0
    assert not re.search(r"\brm\b", path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, or the one that a variable names."""
    if named := os.environ.get("READSIDE_TEST_DEB"):
        return Path(named)
    out = tmp_path_factory.mktemp("dist")
    command = [str(ROOT / "scripts/build-deb"), "--out", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS_MAX, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    (found,) = out.glob("*.deb")
    return found


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files as another version."""
    folder = tmp_path_factory.mktemp("newer")
    tool = need("dpkg-deb")
    subprocess.run([tool, "--raw-extract", str(package), str(folder / "files")], check=True)
    control = folder / "files/DEBIAN/control"
    text = control.read_text(encoding="utf-8")
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 99.0.0", text), encoding="utf-8")
    path = folder / "readside_99.0.0.deb"
    build = [tool, "--root-owner-group", "-Zzstd", "-z1", "--build", str(folder / "files"), str(path)]
    subprocess.run(build, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def bare(package: Path, newer: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine with the packages in /srv, and nothing of Readside."""

    def furnish(files: Path) -> Binds:
        for path in (package, newer):
            shutil.copy(path, files / "srv" / path.name)
        return {}

    with machine(tmp_path_factory.mktemp("machine"), furnish) as made:
        made.boot("basic.target")
        yield made


def _install(machine: Machine, path: Path) -> str:
    return machine.run("dpkg", "--install", f"/srv/{path.name}", seconds=300).stdout


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_a_machine_gets_it_is_upgraded_and_loses_it_again(bare: Machine, package: Path, newer: Path) -> None:
    said = _install(bare, package)
    assert "readside init" in said
    assert bare.run("id", "-un", "readside").stdout == "readside\n"
    assert not [name for name in NAMES if active(bare, name)], "nothing runs before it is configured"
    made = bare.run("readside", "init", "/etc/readside/site.toml").stdout
    assert "Password" in made
    owner = bare.run("stat", "-c", "%U:%G %a", "/etc/readside/site.toml").stdout
    assert owner == "root:readside 640\n"
    config = bare.files / "etc/readside/site.toml"
    config.write_text(SITE, encoding="utf-8")

    bare.run("systemctl", "enable", "--now", "--no-block", "readside.target")
    for name in NAMES:
        until(lambda name=name: active(bare, name), seconds=120, what=name)  # type: ignore[misc]
    before = {name: bare.shows(unit(name), "MainPID") for name in NAMES}

    _install(bare, newer)
    for name in NAMES:
        until(lambda name=name: active(bare, name), seconds=120, what=f"{name} of the new version")  # type: ignore[misc]
    assert not {name for name in NAMES if bare.shows(unit(name), "MainPID") == before[name]}
    assert config.read_text(encoding="utf-8") == SITE
    user = ("runuser", "-u", "readside", "--")
    status = bare.run(*user, "readside", "status", "--config", "/etc/readside/site.toml", "--json").stdout
    assert json.loads(status)["balance"] == 0

    for option in ("--remove", "--purge"):
        bare.run("dpkg", option, "readside", seconds=120)
        assert bare.run("systemctl", "cat", "readside-listener.service", check=False).returncode != 0
        assert config.read_text(encoding="utf-8") == SITE
        assert bare.run("test", "-s", "/var/lib/readside/ledger.sqlite3").returncode == 0
    assert not (bare.files / "opt/readside/bin").exists()


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_the_offline_folder_installs_itself_and_refuses_what_was_changed(
    bare: Machine, package: Path
) -> None:
    (tar,) = package.parent.glob("*-offline.tar")
    shutil.copy(tar, bare.files / "srv")
    bare.run("tar", "-C", "/srv", "-xf", f"/srv/{tar.name}")
    folder = f"/srv/{tar.stem}"
    bare.run(f"{folder}/install", seconds=300)
    assert "installed" in bare.run("dpkg-query", "-W", "-f", "${db:Status-Status}", "readside").stdout
    with (bare.files / folder.lstrip("/") / "LICENSE").open("a", encoding="utf-8") as licence:
        licence.write("changed on its way")
    refused = bare.run(f"{folder}/install", check=False)
    assert refused.returncode == 1
    assert "copy the folder anew" in refused.stderr
