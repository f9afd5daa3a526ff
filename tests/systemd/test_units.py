"""The units as systemd reads them: sound, tight, one for each service."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.cli.box import ServiceName
from tests.system.programs import need
from tests.systemd.machine import ROOT

UNITS = ROOT / "systemd"
NAMES = sorted(path.name for path in UNITS.glob("readside-*.service"))
# systemd.exec(5) counts to 10, "--threshold" in tenths.
EXPOSURE_TENTHS_MAX = 15
WORKER_TENTHS_MAX = 8


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree with the units where they are installed, and what they start."""
    made = tmp_path_factory.mktemp("root")
    shutil.copytree(UNITS, made / "etc/systemd/system")
    program = made / "opt/readside/bin/readside"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="ascii")
    program.chmod(0o755)
    return made


def analyse(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [need("systemd-analyze"), f"--root={root}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_each_service_has_a_unit_and_each_unit_a_service() -> None:
    assert [f"readside-{name}.service" for name in sorted(ServiceName)] == NAMES
    target = (UNITS / "readside.target").read_text(encoding="utf-8")
    wanted = [word for line in target.splitlines() if line.startswith("Wants=") for word in line[6:].split()]
    assert sorted(wanted) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_service_may_is_little(root: Path, name: str) -> None:
    most = WORKER_TENTHS_MAX if name == "readside-worker.service" else EXPOSURE_TENTHS_MAX
    ran = analyse(root, "security", "--offline=true", f"--threshold={most}", "--no-pager", name)
    assert ran.returncode == 0, ran.stdout[-2000:]


def test_a_plain_unit_would_not_pass(root: Path) -> None:
    plain = root / "etc/systemd/system/plain.service"
    plain.write_text("[Service]\nExecStart=/opt/readside/bin/readside\n", encoding="ascii")
    assert analyse(root, "security", "--offline=true", "--threshold=15", "plain.service").returncode != 0


@pytest.mark.parametrize("name", [*NAMES, "readside.target", "readside.slice"])
def test_systemd_finds_no_fault(root: Path, name: str) -> None:
    ran = analyse(root, "verify", "--man=no", "--recursive-errors=no", name)
    # Targets of the system are not in this tree; every other line is about us.
    told = [line for line in ran.stderr.splitlines() if "readside" in line and "not found" not in line]
    assert told == []
