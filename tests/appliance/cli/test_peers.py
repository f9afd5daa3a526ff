"""The command that shows what peers take; asking is tried against real ones in the tests of the system."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.core.config import load
from appliance.core.outputs import SOP_CLASSES
from appliance.ledger import acceptances
from appliance.ledger.engine import open_ledger

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
def pacs() -> socket.socket:
    """Somebody who would hear a call, and hangs up on whoever makes one."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


@pytest.fixture
def site(tmp_path: Path, pacs: socket.socket) -> Path:
    path = tmp_path / "site.toml"
    (tmp_path / "box").mkdir()
    path.write_text(
        f"""
[site]
name = "Test"
[storage]
root = "{tmp_path / "box"}"
[[peers]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = {pacs.getsockname()[1]}
outputs = ["sr", "seg", "kos"]
[[peers]]
name = "modality"
ae_title = "CT1"
[[routes]]
name = "r"
when = 'Modality == "CT"'
model = "ct-tissue-bands"
send_to = ["pacs"]
"""
    )
    return path


def called(pacs: socket.socket) -> bool:
    try:
        connection, _ = pacs.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def peers(site: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["peers", *options, "--config", str(site)])
    return done.exit_code, done.output


def test_before_anybody_answered_nothing_is_known(site: Path, pacs: socket.socket) -> None:
    code, said = peers(site, "--json")
    first, second = json.loads(said)["peers"]
    assert (code, first["unknown"], first["asked_at"]) == (0, ["sr", "seg", "kos"], None)
    assert (second["reachable"], second["outputs"]) == (False, [])
    assert "never answered" in peers(site)[1]
    assert not called(pacs), "it shows, and asks only with --ask"
    pacs.close()


def test_what_was_answered_is_shown_with_what_stands_in(site: Path, pacs: socket.socket) -> None:
    ledger = open_ledger(load(site).ledger_url)
    with ledger.write() as tx:
        known = {output: (SOP_CLASSES[output], EXPLICIT) for output in ("sr", "seg", "kos")}
        acceptances.record(tx, "pacs", known.values(), accepted=[known["sr"]], at=1_800_000_000.0)
    ledger.close()
    _, said = peers(site, "--json")
    first = json.loads(said)["peers"][0]
    assert (first["takes"], first["refuses"]) == (["sr"], {"seg": "gsps", "kos": ""})
    shown = peers(site)[1]
    assert "seg (instead: gsps)" in shown
    assert "kos (instead: nothing)" in shown
    assert "it only sends" in shown
    pacs.close()


def test_a_peer_that_does_not_answer_is_a_failure_and_no_refusal(site: Path, pacs: socket.socket) -> None:
    pacs.close()
    code, said = peers(site, "--ask", "--json")
    first = json.loads(said)["peers"][0]
    assert (code, first["said"], first["unknown"]) == (1, "accepts.unreachable", ["sr", "seg", "kos"])
    assert "pacs cannot be reached" in peers(site, "--ask")[1]


def test_checking_a_configuration_calls_nobody(site: Path, pacs: socket.socket) -> None:
    done = CliRunner().invoke(app, ["check-config", str(site)])
    assert done.exit_code == 0, done.output
    assert not called(pacs)
    pacs.close()
