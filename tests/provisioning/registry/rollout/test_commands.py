"""The commands: what they say, to people and to programs, and with which exit code."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.cli.registry import app
from tests.provisioning.registry.rollout.conftest import NAME, NEW, Bench


@pytest.fixture
def told(bench: Bench, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Any:
    """Run a command on the bench's own database."""

    def run(*words: str, user: str = "mia") -> Result:
        monkeypatch.setattr(getpass, "getuser", lambda: user)
        given = ["rollout", *words, "--registry", str(bench.book.folder), "--database", database_url]
        return CliRunner().invoke(app, given)

    return run


def test_one_starts_another_approves_and_everybody_sees_why(bench: Bench, told: Any):
    made = told("start", NAME, NEW, "--share", "0.5", "--share", "1", "--why", "better")
    assert made.exit_code == 0, made.output
    assert "waits for the approval of somebody else" in made.output
    own = told("approve", "1")
    assert (own.exit_code, "somebody else must approve it" in own.output) == (1, True)
    assert json.loads(told("approve", "1", "--json", user="ann").output)["stage"] == "running"
    bench.look()
    shown = json.loads(told("show", "1", "--json").output)
    assert shown["slots"] == {"moving": 1, "pending": 1}
    assert [event["kind"] for event in shown["events"]] == ["approved", "seen", "judged", "seen"]
    said = told("show", "1").output
    assert "committed: 0 of 1 devices that can be reached have committed, 80 % are needed" in said
    assert told("pause", "1", "--why", "look at it").exit_code == 0
    assert told("resume", "1").exit_code == 0
    assert json.loads(told("back", "1", "--json").output)["stage"] == "back"
    assert json.loads(told("list", "--json").output)["rollouts"][0]["stage"] == "back"
    assert NEW in told("list").output
    assert told("stop", "1").exit_code == 1


def test_the_person_is_the_same_at_the_command_line_and_logged_in(bench: Bench, told: Any):
    bench.start(approve=False)
    assert told("approve", "1", user="mia").exit_code == 1
    assert told("approve", "1", user="ann").exit_code == 0


def test_gates_come_from_a_file_whose_names_are_known(bench: Bench, told: Any, tmp_path: Path):
    gates = tmp_path / "gates.toml"
    gates.write_text("studies_min = 7\n")
    made = told("start", NAME, NEW, "--gates", str(gates), "--slot", "a", "--json")
    assert json.loads(made.output)["ring_slots"][0].keys() == {"a"}
    assert bench.rollout(1).plan.gates.studies_min == 7
    gates.write_text("studies = 7\n")
    assert "a gate has no studies" in told("start", NAME, NEW, "--gates", str(gates)).output
    gates.write_text("studies =\n")
    assert told("start", NAME, NEW, "--gates", str(gates)).exit_code == 2


def test_what_is_not_there_is_one_sentence(bench: Bench, told: Any, tmp_path: Path):
    assert "there is no roll-out 9" in told("show", "9").output
    assert "never published" in told("start", NAME, "9.0.0").output
    said = CliRunner().invoke(app, ["rollout", "list", "--registry", str(tmp_path / "nowhere")])
    assert (said.exit_code, "is no registry" in said.output) == (1, True)
