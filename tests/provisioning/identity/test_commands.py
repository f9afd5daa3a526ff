"""The same life by the commands that people type."""

from __future__ import annotations

import json
import shutil
from unittest.mock import Mock, call

import pytest
from typer.testing import CliRunner

from appliance.cli.app import app
from appliance.core.clock import SYSTEM
from appliance.services import sync
from appliance.sync.identity import certificate_in
from appliance.sync.renewal import Renewed, renew_if_due
from provisioning.identity.commands import PASSPHRASE
from tests.provisioning.identity.town import DAY, SLOT


def run(*words, ok=True):
    ran = CliRunner().invoke(app, [str(word) for word in words])
    assert (ran.exit_code == 0) is ok, ran.output
    return ran.output


def told(*words):
    return json.loads(run(*words, "--json").splitlines()[-1])


@pytest.fixture
def now(town):
    """The commands read the machine's own clock, so the registry shows that time too."""
    town.clock.seconds = SYSTEM.now()
    shutil.rmtree(town.office.book.layout.authority)
    return town


@pytest.fixture
def site(now):
    box = now.machine("first")
    box.folder.mkdir()
    path = box.folder / "site.toml"
    path.write_text(
        f'[site]\nname = "Test"\n[storage]\nroot = "{box.folder / "data"}"\nfloor_gib = 0.01\n'
        f'[registry]\nurl = "{now.url}"\ndevice = "{SLOT}"\nroots = "{box.roots}"\n'
    )
    return path


def test_a_life_by_commands(now, site, tmp_path, monkeypatch):
    registry, roots = now.office.book.folder, now.machine("first").roots
    invited = ("registry", "invite", SLOT, "--registry", registry, "--url", now.url)
    shown = run(*invited, "--site", "north", "--qr")
    assert "claim code" in shown
    assert "\u2588" in shown or "\u2580" in shown
    invitation = told(*invited)["invitation"]

    wrong = run("provision", "enrol", "--config", site, "--code", "A" * 28, ok=False)
    assert "changed places" in wrong
    claimed = told("provision", "enrol", "--config", site, "--invitation", invitation, "--key", "file")
    assert (claimed["slot"], claimed["key"]) == (SLOT, "file")
    (line,) = told("registry", "devices", "--registry", registry)["devices"]
    assert (line["slot"], line["site"], line["device"]) == (SLOT, "north", claimed["device"])
    assert line["certificate_ends_at"] > SYSTEM.now() + 89 * DAY
    assert claimed["device"][:16] in run("registry", "devices", "--registry", registry)
    assert told("provision", "renew", "--config", site)["certificate"] == "holds"
    before = (roots / "device.crt").read_bytes()
    now.clock.advance(120)
    assert told("provision", "renew", "--config", site, "--now")["certificate"] == "renewed"
    assert (roots / "device.crt").read_bytes() != before

    monkeypatch.setenv(PASSPHRASE, "correct horse battery staple")
    run("provision", "backup", "--config", site, "--out", tmp_path / "backup")
    assert "--over" in run("provision", "restore", tmp_path / "backup", "--config", site, ok=False)
    assert "no key" in run("provision", "restore", tmp_path / "backup", "--config", tmp_path / "other.toml")

    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes((roots / "authorities.pem").read_bytes())
    paper = tmp_path / "paper.json"
    gone = told("provision", "decommission", "--config", site, "--yes", "--out", paper)
    assert gone["registry"] == "told"
    checked = told("provision", "check-erasure", paper, "--authorities", authorities)
    assert checked["device"] == claimed["device"]
    assert "never enrolled" in run("provision", "renew", "--config", site, ok=False)


def test_a_claim_by_stick_and_a_way_back_by_commands(now, site, tmp_path):
    registry = now.office.book.folder
    invited = told("registry", "invite", SLOT, "--registry", registry, "--url", now.url)
    stick = tmp_path / "stick"
    stick.mkdir()
    enrol = ("provision", "enrol", "--config", site)
    asking = (*enrol, "--invitation", invited["invitation"], "--key", "file", "--qr")
    assert "registry answer" in run(*asking, "--offline-request", stick / "request")
    run("registry", "answer", stick / "request", "--registry", registry, "--out", stick / "answer")
    claimed = told(*enrol, "--offline-answer", stick / "answer")

    # Its certificate ends while it is switched off: here, the registry's time goes on.
    now.clock.advance(91 * DAY)
    roots = now.machine("first").roots
    assert certificate_in(roots) is not None
    box = now.machine("first")
    assert renew_if_due(box.config, clock=now.clock) is Renewed.WAITS
    (waiting,) = told("registry", "returns", "--registry", registry)["returns"]
    assert (waiting["slot"], waiting["device"]) == (SLOT, claimed["device"])
    assert "give more" in run("registry", "approve", "abc", "--registry", registry, ok=False)
    run("registry", "approve", claimed["device"][:12], "--registry", registry, "--reason", "storage")
    assert renew_if_due(box.config, clock=now.clock) is Renewed.RENEWED
    assert "is revoked" in run(
        "registry", "revoke", claimed["device"][:12], "--registry", registry, "--reason", "stolen"
    )
    assert "0 devices" in run("registry", "approve", claimed["device"], "--registry", registry, ok=False)
    names = [
        one["name"] for one in told("registry", "authority", "--registry", registry, "--new")["authorities"]
    ]
    assert names == ["Readside registry 2", "Readside registry 1"]


def test_the_sync_service_looks_after_the_certificate(now, monkeypatch):
    said = Mock()
    monkeypatch.setattr(sync, "_log", said)
    box = now.machine("first")
    sync.look_at_the_certificate(box.config)
    now.clock.seconds = SYSTEM.now() - 80 * DAY
    shutil.rmtree(now.office.book.layout.authority, ignore_errors=True)
    box.enrol(now.invite())
    assert said.mock_calls == []
    # It is time to renew; the registry's clock is 80 days behind the box's own.
    before = box.certificate
    sync.look_at_the_certificate(box.config)
    now.clock.seconds = SYSTEM.now()
    sync.look_at_the_certificate(box.config)
    assert box.certificate.ends_at > before.ends_at
    sync.look_at_the_certificate(box.config)
    assert said.mock_calls == [
        call.warning("certificate.refused", reason="clock_ahead"),
        call.info("certificate.renewed"),
    ]
