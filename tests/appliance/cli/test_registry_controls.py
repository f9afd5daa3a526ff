"""What a site says about releases at its command line: refused where it makes no sense, kept with a name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.core.clock import SYSTEM, as_datetime
from appliance.ledger import controls, passages
from appliance.ledger.engine import Ledger
from tests.appliance import packages

NAME = packages.NAME


@pytest.fixture
def site(tmp_path: Path, ledger_url: str) -> Path:
    """A site in Vienna."""
    root = tmp_path / "box"
    root.mkdir()
    path = tmp_path / "site.toml"
    path.write_text(
        f'[site]\nname = "A"\ntime_zone = "Europe/Vienna"\n[storage]\nroot = "{root}"\n'
        f'[ledger]\nurl = "{ledger_url}"\n[registry]\nconsent = true\n',
        encoding="utf-8",
    )
    return path


def said(site: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--config", str(site)])
    assert done.exit_code == code, done.output
    return done.output


def in_days(days: float) -> str:
    return as_datetime(SYSTEM.now() + days * 86_400).date().isoformat()


def test_a_model_is_held_and_let_go(site: Path, ledger: Ledger):
    until = ("--until", in_days(5), "--reason", "congress")
    assert f"{NAME}: held until" in said(site, "registry", "hold", NAME, *until)
    assert "every model: held until" in said(site, "registry", "hold", "--all", *until)
    report = json.loads(said(site, "status", "--json"))
    assert [hold["model"] for hold in report["holds"]] == [NAME, "every model"]
    assert report["holds"][0]["why"] == "congress"
    for words in ((NAME,), ("--all",)):
        assert "lifted" in said(site, "registry", "unhold", *words)
    said(site, "registry", "unhold", NAME, code=1)
    assert json.loads(said(site, "status", "--json"))["holds"] == []


@pytest.mark.parametrize(
    ("until", "reason"),
    [(-2, "why"), (400, "why"), (5, "  "), (5, "a" * 201)],
)
def test_a_hold_has_a_reason_and_an_end(site: Path, ledger: Ledger, until: int, reason: str):
    said(site, "registry", "hold", NAME, "--until", in_days(until), "--reason", reason, code=2)
    with ledger.read() as tx:
        assert controls.everything(tx, at=0.0) == []


def test_what_is_not_here_is_neither_held_nor_pinned(site: Path, ledger: Ledger):
    until = ("--until", in_days(5), "--reason", "why")
    assert "no model of this box" in said(site, "registry", "hold", "lesionz", *until, code=1)
    assert "is not on this box" in said(site, "registry", "pin", NAME, "9.9.9", *until, code=1)
    said(site, "registry", "hold", *until, code=2)
    said(site, "registry", "hold", NAME, "--all", *until, code=2)
    version = packages.shipped().manifest.version
    assert f"kept at {version}" in said(site, "registry", "pin", NAME, version, *until)


def test_consent_needs_something_to_agree_to(site: Path, ledger: Ledger):
    words = ("registry", "consent", NAME, "1.1.0", "--by", "Dr. A")
    assert "nothing to agree to" in said(site, *words, code=1)
    with ledger.write() as tx:
        passages.assigned(tx, name=NAME, version="1.1.0", digest="sha256:22", phase=1, at=SYSTEM.now())
    assert "Dr. A agreed" in said(site, *words)
    with ledger.read() as tx:
        given = controls.consent_to(tx, "sha256:22")
    assert given is not None
    assert given.given_by == "Dr. A"
    release = json.loads(said(site, "status", "--json"))["releases"][0]
    assert (release["version"], release["phase"]) == ("1.1.0", "assigned")
