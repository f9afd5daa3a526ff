"""The end: what is written, what is not written over, and the claim."""

from __future__ import annotations

import json
import shutil

import pytest

from appliance.core.clock import SYSTEM
from appliance.core.config import load
from appliance.sync.identity import certificate_in
from provisioning.firstboot.answers import Answers, StateFault, read_answers
from provisioning.identity import code as codes
from provisioning.identity.code import invitation_text
from tests.provisioning.firstboot.test_drivers import run
from tests.provisioning.identity.conftest import plan, town
from tests.provisioning.identity.town import SLOT

__all__ = ["plan", "town"]


def test_another_configuration_is_not_written_over(tmp_path, said):
    site, stick = tmp_path / "site.toml", said.file(tmp_path / "stick.toml", account={"skip": "later"})
    site.write_text("# mine\n")
    run(tmp_path, "--file", stick, code=1)
    assert site.read_text() == "# mine\n"
    shown = run(tmp_path, "--file", stick, "--over")
    assert "Nobody can log in to the console" in shown
    written = site.read_bytes()
    run(tmp_path, "--file", stick)
    assert site.read_bytes() == written
    assert load(site).console.users == ()


def test_every_fault_of_a_file_is_said_at_once_and_nothing_is_kept(tmp_path, said):
    changes = {
        "network": None,
        "time": {"time_zone": "Mars/Olympus"},
        "pacs": {"skip": "none", "name": "pacs"},
        "dicom": {"ae_title": "READSIDE", "port": "x"},
        "storage": {"root": "data"},
        "disk": {"root": "data"},
    }
    shown = run(tmp_path, "--file", said.file(tmp_path / "stick.toml", **changes), code=2)
    for sentence in (
        "network: is missing",
        "Mars/Olympus",
        "pacs: is skipped and answered",
        "dicom.port: must be a whole number",
        "storage.root: must be an absolute path",
        "'disk': there is no step",
    ):
        assert sentence in shown
    assert not (tmp_path / "state.json").exists()
    assert not (tmp_path / "site.toml").exists()


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[toml", b"site = 1", b"[[site]]\nname = 'x'", b"x" * 300_000]
)
def test_a_file_that_is_none_is_said_so(tmp_path, data):
    (tmp_path / "stick.toml").write_bytes(data)
    run(tmp_path, "--file", tmp_path / "stick.toml", code=2)
    run(tmp_path, "--file", tmp_path / "nothing.toml", code=2)


@pytest.mark.parametrize(
    "said",
    [
        "", "[]", "null", '{"form": 2}', "[" * 100_000,
        '{"form": 1, "answers": {"site": 3}, "skipped": {}}',
        '{"form": 1, "answers": {"nothing": {}}, "skipped": {}}',
        '{"form": 1, "answers": {"site": {}}, "skipped": {}}',
    ],
)  # fmt: skip
def test_a_damaged_state_is_said_and_left(tmp_path, said):
    (tmp_path / "state.json").write_text(said)
    with pytest.raises(StateFault, match="move it away"):
        read_answers(tmp_path / "state.json")
    assert (tmp_path / "state.json").read_text() == said
    assert read_answers(tmp_path / "none.json") == Answers()


def test_a_claim_that_fails_is_tried_again_and_its_code_then_forgotten(tmp_path, said, town):
    town.clock.seconds = SYSTEM.now()
    shutil.rmtree(town.office.book.layout.authority)
    wrong = {"url": town.url, "slot": SLOT, "code": codes.make()}
    shown = run(tmp_path, "--file", said.file(tmp_path / "stick.toml", registry=wrong), code=1)
    assert "Not enrolled: the registry does not take this slot and code" in shown
    assert "readside provision enrol" in shown
    site = (tmp_path / "site.toml").read_bytes()
    assert load(tmp_path / "site.toml").registry.device == SLOT

    invited = town.invite()
    right = {"url": invitation_text(invited)}
    rest = dict.fromkeys(said.answers, None)
    shown = run(tmp_path, "--file", said.file(tmp_path / "stick.toml", **rest, registry=right))
    assert f"Enrolled: {SLOT}." in shown
    assert "readside provision enrol" not in shown
    assert "holds secrets" in shown
    assert (tmp_path / "site.toml").read_bytes() == site, "the code is nothing of the configuration's"
    assert certificate_in(tmp_path / "registry") is not None
    state = (tmp_path / "state.json").read_text()
    assert invited.code not in state
    assert json.loads(state)["answers"]["registry"]["slot"] == SLOT
    assert "Enrolled" not in run(tmp_path, typed="yes\n")
