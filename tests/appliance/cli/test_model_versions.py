"""The commands on versions: what they print, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.cli.app import app
from appliance.ledger.engine import open_ledger
from tests.appliance import packages

pytestmark = pytest.mark.usefixtures("loud_again")
NAME, SHIPPED = packages.NAME, packages.shipped().manifest.version


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration of a box that was started once."""
    root = tmp_path / "box"
    root.mkdir()
    open_ledger(f"sqlite:///{root / 'ledger.sqlite3'}").close()
    path = tmp_path / "site.toml"
    path.write_text(
        f'[site]\nname = "Test"\n[storage]\nroot = "{root}"\nfloor_gib = 0.01\n', encoding="utf-8"
    )
    return path


def run(site: Path, *command: object) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, command), "--config", str(site)])


def told(site: Path, *command: object, code: int = 0) -> dict[str, Any]:
    said = run(site, *command, "--json")
    assert said.exit_code == code, said.output
    report: dict[str, Any] = json.loads(said.stdout)
    return report


def states(site: Path) -> dict[str, str]:
    return {m["version"]: m["state"] for m in told(site, "list")["models"] if m["name"] == NAME}


def test_a_version_from_its_package_to_its_removal(site: Path, tmp_path: Path) -> None:
    assert states(site) == {SHIPPED: "SERVING"}
    installed = told(site, "install", packages.bands(tmp_path))
    assert (installed["ok"], installed["fresh"], installed["activated"]) == (True, True, None)
    assert states(site) == {SHIPPED: "SERVING", "1.1.0": "FETCHED"}
    said = run(site, "activate", NAME, "1.1.0")
    assert said.exit_code == 0, said.output
    assert f"{NAME} 1.1.0 serves now, checked on ONNX Runtime" in said.stdout
    assert states(site) == {SHIPPED: "STANDING BY", "1.1.0": "ACTIVE"}
    assert "ACTIVE" in run(site, "list").stdout
    assert told(site, "retire", NAME)["serves"] == SHIPPED
    assert told(site, "remove", NAME, "1.1.0")["version"] == "1.1.0"
    assert states(site) == {SHIPPED: "SERVING", "1.1.0": "REMOVED"}


def test_a_refusal_ends_with_1_and_every_reason(site: Path, tmp_path: Path) -> None:
    unknown = packages.bands(tmp_path, changes={"format = 1": "format = 1\nfirst = 1\nsecond = 2"})
    said = run(site, "install", unknown, "--activate")
    assert said.exit_code == 1
    assert "first" in said.stderr
    assert "second" in said.stderr
    assert states(site) == {SHIPPED: "SERVING", "1.1.0": "REJECTED"}
    listed = run(site, "list")
    assert "first" in listed.stderr
    for command in (
        ("activate", NAME, "9.0.0"),
        ("rollback", NAME),
        ("retire", NAME),
        ("remove", NAME, "9.0.0"),
    ):
        assert told(site, *command, code=1)["faults"]


def test_changed_files_are_said_by_every_command_until_the_package_is_installed_again(
    site: Path, tmp_path: Path
) -> None:
    package = packages.bands(tmp_path)
    told(site, "install", package, "--activate")
    (card,) = (tmp_path / "box").rglob("MODEL_CARD.md")
    with card.open("ab") as stream:
        stream.write(b"x")
    folder = tmp_path / "images"
    folder.mkdir()
    analyse = ("analyse", str(folder), "--model", NAME, "--out", str(tmp_path / "out"))
    said = CliRunner().invoke(app, [*analyse, "--config", str(site)])
    assert (said.exit_code, "its files were changed" in said.stderr) == (1, True), said.output
    assert "its files were changed" in run(site, "bench", NAME).stderr
    doctor = CliRunner().invoke(app, ["doctor", "--config", str(site)])
    assert "install it again from its package" in doctor.stdout
    mended = run(site, "install", package)
    assert "they are right again" in mended.stdout
    assert "Let it serve with" not in mended.stdout, "it serves"


def test_bad_usage_ends_with_2(site: Path, tmp_path: Path) -> None:
    assert run(site, "install", tmp_path / "nothing").exit_code == 2
    assert run(tmp_path / "nothing.toml", "activate", NAME, "1.1.0").exit_code == 2


def test_a_list_needs_no_box(tmp_path: Path) -> None:
    said = CliRunner().invoke(app, ["model", "list", "--json"])
    assert said.exit_code == 0
    listed = json.loads(said.stdout)["models"]
    assert {model["state"] for model in listed} == {"SERVING"}


def test_a_version_runs_beside_until_it_is_told_to_stop(site: Path, tmp_path: Path) -> None:
    assert "No version ran beside another" in run(site, "shadow").stdout
    told(site, "install", packages.bands(tmp_path))
    assert told(site, "shadow", "start", NAME, "1.1.0")["version"] == "1.1.0"
    assert states(site) == {SHIPPED: "SERVING", "1.1.0": "FETCHED"}
    (line,) = told(site, "shadow")["shadows"]
    assert (line["version"], line["ended_at"], line["counts"]) == ("1.1.0", None, {})
    assert f"{NAME} 1.1.0 runs; nothing to compare yet" in run(site, "shadow").stdout
    assert "runs as a shadow" in told(site, "remove", NAME, "1.1.0", code=1)["faults"][0]
    assert told(site, "shadow", "stop", NAME)["version"] == "1.1.0"
    assert "ended: a person ended it" in run(site, "shadow").stdout
    assert told(site, "shadow", "stop", NAME, code=1)["faults"]
