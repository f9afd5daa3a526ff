"""A box is let go: its keys are gone, and a paper that can be verified says which."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from appliance.disk.erase import erase_file
from appliance.sync.identity import identity_of
from appliance.sync.refusal import Refusal, Word
from appliance.sync.renewal import due_at, renew_if_due
from provisioning.identity.enrol import Home
from provisioning.identity.erasure import ErasureFault, Leave, decommission, split_pem, verify_paper
from provisioning.registry.database import certificates, devices
from provisioning.registry.database.words import DeviceState
from tests import tpm
from tests.provisioning.identity.town import SLOT

TOOL = shutil.which("cryptsetup", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def test_a_paper_says_what_was_done_and_can_be_verified(town, box):
    key = box.key
    known = split_pem((box.roots / "authorities.pem").read_bytes())
    paper = town.folder / "paper.json"
    (box.folder / "data" / "kept").mkdir(parents=True)
    (box.folder / "data" / "ledger.sqlite3").write_bytes(b"rows")
    statement = decommission(
        box.config, Leave(remove_data=True, reason="end of lease"), paper, clock=box.clock
    )
    assert statement["registry"] == "told"
    assert statement["erased"][0]["what"] == "everything below storage.root"
    assert "no erasure" in statement["erased"][0]["how"]
    assert list((box.folder / "data").iterdir()) == []
    assert identity_of(box.config) is None
    assert not (box.roots / "device.key").exists()
    with town.office.database.read() as tx:
        gone = devices.find(tx, key.id)
        assert gone is not None
        assert gone.state is DeviceState.DECOMMISSIONED
        assert certificates.holder(tx, key.id, at=town.clock.now()) is None
    assert verify_paper(paper.read_bytes(), known) == statement
    assert (statement["device"], statement["slot"]) == (key.id, SLOT)


def test_a_paper_that_was_changed_is_found(town, box, tmp_path):
    known = split_pem((box.roots / "authorities.pem").read_bytes())
    paper = town.folder / "paper.json"
    decommission(box.config, Leave(), paper, clock=box.clock)
    said = json.loads(paper.read_bytes())
    said["statement"]["at"] = "2020-01-01T00:00:00Z"
    with pytest.raises(ErasureFault, match="changed"):
        verify_paper(json.dumps(said).encode(), known)
    stranger = subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/CN=x",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout
    with pytest.raises(ErasureFault, match="another registry"):
        verify_paper(paper.read_bytes(), split_pem(stranger))
    for data in (b"", b"{}", b"[]", b'{"statement": {}, "certificate": "", "signature": ""}'):
        with pytest.raises(ErasureFault, match="no certificate of erasure"):
            verify_paper(data, known)


def test_nothing_is_done_before_everything_can_be(town, box):
    def refused(leave, paper, match):
        with pytest.raises(ErasureFault, match=match):
            decommission(box.config, leave, paper, clock=box.clock)
        assert box.desk.welcome().slot == SLOT

    paper = town.folder / "paper.json"
    (town.folder / "there").write_text("")
    refused(Leave(), box.roots / "paper.json", "folder that is erased")
    refused(Leave(), town.folder / "none" / "paper.json", "folder is not there")
    refused(Leave(), town.folder / "there", "or the file is")
    if TOOL is not None:
        refused(Leave(luks=(town.folder / "there",)), paper, "no LUKS device")
    refused(Leave(luks=(town.folder / "none",)), paper, "LUKS|cryptsetup")


def test_without_the_registry_it_takes_a_word_more(town, box):
    box.url = "http://127.0.0.1:9"
    paper = town.folder / "paper.json"
    with pytest.raises(ErasureFault, match="--alone"):
        decommission(box.config, Leave(), paper, clock=box.clock)
    assert box.key.id
    assert decommission(box.config, Leave(alone=True), paper, clock=box.clock)["registry"] == "not told"
    with pytest.raises(ErasureFault, match="never enrolled"):
        decommission(box.config, Leave(alone=True), paper, clock=box.clock)


def test_a_device_that_was_replaced_may_still_be_erased(town, box):
    town.machine("second").enrol(town.invite(replaces=True))
    said = decommission(box.config, Leave(), town.folder / "paper.json", clock=box.clock)
    assert said["registry"] == "this device is not enrolled there any more"


@pytest.mark.skipif(TOOL is None and not os.environ.get("CI"), reason="cryptsetup is not installed")
def test_the_keys_of_an_encrypted_disk_are_destroyed(town, box):
    assert TOOL is not None
    disk = town.folder / "disk"
    disk.write_bytes(bytes(20 << 20))
    cheap = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--batch-mode", "--key-file", "-"]
    passphrase = b"of the disk"

    def opens():
        command = [TOOL, "open", "--test-passphrase", "--key-file", "-", str(disk)]
        return subprocess.run(command, input=passphrase, capture_output=True, timeout=60).returncode == 0

    subprocess.run(
        [TOOL, "luksFormat", *cheap, str(disk)], input=passphrase, check=True, capture_output=True, timeout=60
    )
    assert opens()
    said = decommission(box.config, Leave(luks=(disk,)), town.folder / "paper.json", clock=box.clock)
    assert "key slots" in said["erased"][0]["how"]
    assert not opens()


@tpm.needed
def test_a_box_whose_key_is_in_a_tpm_lives_and_is_let_go(town, monkeypatch):
    box = town.machine("sealed")
    with tpm.running(monkeypatch):
        assert box.enrol(town.invite(), home=Home.AUTO).home is Home.TPM
        known = split_pem((box.roots / "authorities.pem").read_bytes())
        assert not (box.roots / "device.key").exists()
        assert box.desk.welcome().slot == SLOT
        said = decommission(box.config, Leave(), town.folder / "paper.json", clock=box.clock)
        assert identity_of(box.config) is None
    assert "wrapped by the TPM" in said["erased"][-1]["how"]
    assert verify_paper((town.folder / "paper.json").read_bytes(), known) == said
    assert not (box.roots / "device.tpm.json").exists()


@tpm.needed
def test_a_tpm_that_was_cleared_is_said_before_anything_is_done(town, monkeypatch):
    box = town.machine("sealed")
    with tpm.running(monkeypatch):
        box.enrol(town.invite(), home=Home.TPM)
    with tpm.running(monkeypatch):
        with pytest.raises(ErasureFault, match="nothing was done"):
            decommission(box.config, Leave(), town.folder / "paper.json", clock=box.clock)
        town.clock.seconds = due_at(box.certificate)
        with pytest.raises(Refusal) as refused:
            renew_if_due(box.config, clock=box.clock)
    assert refused.value.word is Word.BOX_REFUSED
    with town.office.database.read() as tx:
        assert devices.device_of(tx, SLOT) is not None


def test_a_secret_file_is_written_over_before_it_goes(tmp_path):
    path, other = tmp_path / "secret", tmp_path / "other"
    path.write_bytes(b"secret")
    os.link(path, other)
    assert erase_file(path)
    assert other.read_bytes() == bytes(6)
    assert not path.exists()
    assert not erase_file(path)
