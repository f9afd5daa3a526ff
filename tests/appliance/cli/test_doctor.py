"""`readside doctor` says what is wrong, and for each thing what to do."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.cli.packages import Found
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.quarantine import Quarantine
from appliance.ledger.engine import open_ledger
from dicom_node.storage_classes import VERIFICATION
from tests.appliance.inference.given import bands

KEY = "sha256:" + "ab" * 32


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@pytest.fixture
def peer_port() -> Iterator[int]:
    """A peer that answers C-ECHO."""
    entity = AE(ae_title="PACS")
    entity.add_supported_context(VERIFICATION)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    assert server.socket is not None
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A storage root with a ledger."""
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    open_ledger(f"sqlite:///{root / 'ledger.sqlite3'}").close()
    return root


def stands_for_all(monkeypatch: pytest.MonkeyPatch, found: Found) -> None:
    """Let these packages stand for all that serve."""
    for name in ("find_packages", "packages_now"):
        monkeypatch.setattr(f"appliance.cli.packages.{name}", lambda _: found)


@pytest.fixture(autouse=True)
def _one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """One small model stands for all that ship."""
    package = bands()
    found: Found = ({package.manifest.name: package}, [])
    stands_for_all(monkeypatch, found)


def site(tmp_path: Path, port: int, *, more: str = "", storage: str = "floor_gib = 0.001") -> Path:
    path = tmp_path / "site.toml"
    path.write_text(
        f"""
[site]
name = "here"
[storage]
root = "{tmp_path / "root"}"
{storage}
[[peers]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {port}
{more}
""",
        encoding="utf-8",
    )
    return path


def doctor(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    return done.exit_code, json.loads(done.stdout)


def faults(told: dict[str, Any]) -> dict[str, str]:
    wrong = [check for check in told["checks"] if check["state"] == "fault"]
    assert all(check["fix"] and check["who"] for check in wrong), (
        "each fault says what to do, and who does it"
    )
    return {f"{check['fault']} {check['subject']}".rstrip(): check["text"] for check in wrong}


def test_a_sound_installation_is_sound(tmp_path: Path, root: Path, peer_port: int):
    code, told = doctor("--config", str(site(tmp_path, peer_port)))
    assert (code, told["ok"], faults(told)) == (0, True, {})
    looked_at = {f"{check['check']} {check['subject']}".rstrip() for check in told["checks"]}
    assert {"configuration", "clock", "writable", "space", "ledger", "peer-echo pacs"} <= looked_at
    assert "ct-tissue-bands" in {check["facts"].get("model") for check in told["checks"]}
    assert not list(root.glob(".readside-doctor*")), "what was written to try the disk is gone"


def test_everything_that_is_wrong_is_told_at_once(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
):
    stands_for_all(monkeypatch, ({}, ["model package x: y"]))
    (root / "from-tomorrow").touch()
    os.utime(root / "from-tomorrow", (time.time() + 86400,) * 2)
    (root / "ledger.sqlite3").write_bytes(b"not a ledger" * 1000)
    path = site(tmp_path, free_port())
    code, told = doctor("--config", str(path))
    assert code == 1
    found = faults(told)
    assert set(found) == {"clock.behind-files", "ledger.refused", "peer.port-closed pacs", "models.broken"}


def test_what_stands_on_a_fault_is_not_looked_at_and_says_because_of_which(tmp_path: Path, root: Path):
    code, told = doctor("--config", str(site(tmp_path, free_port(), storage="floor_gib = 1e9")))
    assert code == 1
    assert set(faults(told)) == {"space.full", "peer.port-closed pacs"}
    because = {check["check"]: check["because"] for check in told["checks"] if check["because"]}
    assert because["writable"] == because["ledger"] == because["audit"] == "space.full"
    assert because["peer-associate"] == because["peer-echo"] == "peer.port-closed"


def test_a_configuration_with_faults_is_all_that_is_looked_at(tmp_path: Path):
    code, told = doctor("--config", str(site(tmp_path, 104, more='colour = "red"\nport2 = 1')))
    assert code == 1
    assert set(faults(told)) == {"configuration.fault"}
    assert sum(check["fault"] == "configuration.fault" for check in told["checks"]) == 2


def test_an_engine_that_cannot_run_here_is_told(tmp_path: Path, root: Path, peer_port: int):
    path = site(tmp_path, peer_port, more='[inference]\nengines = ["kserve", "cpu"]')
    code, told = doctor("--config", str(path))
    assert code == 1
    found = faults(told)
    assert set(found) == {"engines.missing kserve"}, "said once, and not for every model"
    assert found["engines.missing kserve"].startswith("not here: ")


def test_a_check_that_is_asked_for_alone_brings_what_it_stands_on(tmp_path: Path, root: Path):
    path = str(site(tmp_path, free_port()))
    code, told = doctor("--config", path, "--only", "ledger")
    assert code == 0
    checked = [check["check"] for check in told["checks"]]
    assert checked == ["configuration", "storage", "space", "writable", "ledger"]
    assert CliRunner().invoke(app, ["doctor", "--config", path, "--only", "soup"]).exit_code == 2


def test_a_quarantined_engine_is_shown_and_can_be_cleared(
    tmp_path: Path, root: Path, peer_port: int, monkeypatch: pytest.MonkeyPatch
):
    stands_for_all(monkeypatch, ({}, []))
    quarantine = Quarantine(root=root / "engines" / "crashes", limits=InferenceLimits())
    for _ in range(2):
        quarantine.crashed(KEY, engine="tensorrt", model="some-model")
    with pytest.raises(InferenceError, match="left alone"):
        quarantine.check(KEY)
    path = str(site(tmp_path, peer_port))
    code, told = doctor("--config", path)
    assert code == 1
    assert faults(told) == {
        "built-engines.crashed": "abababababab: tensorrt for some-model ended its process 2 times"
    }
    run = CliRunner()
    assert run.invoke(app, ["doctor", "--config", path, "--clear", "ab"]).exit_code == 2
    assert run.invoke(app, ["doctor", "--config", path, "--clear", "cdcdcdcd"]).exit_code == 1
    assert run.invoke(app, ["doctor", "--config", path, "--clear", "abababababab"]).exit_code == 0
    quarantine.check(KEY)
    assert doctor("--config", path)[0] == 0


def test_without_a_configuration_the_program_itself_is_looked_at():
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0
    assert "Nothing that was looked at is wrong." in done.stdout
