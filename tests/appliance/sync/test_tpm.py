"""A key in a TPM signs as one in a file does, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.sync import tpm
from appliance.sync.csr import request_for
from appliance.sync.identity import key_in
from appliance.sync.line import post_to
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import sign, verify
from appliance.sync.softkey import KeyFault
from provisioning.registry import ca
from tests.tpm import needed, running

pytestmark = needed


def test_it_signs_requests_and_asks_for_certificates(tmp_path, monkeypatch):
    path = tmp_path / "roots" / "device.tpm.json"
    with running(monkeypatch):
        assert tpm.available()
        made = tpm.make(path)
        key = key_in(path.parent)
        assert key == made
        assert path.stat().st_mode & 0o777 == 0o600
        # More often than the TPM has places: nothing is left in it.
        for turn in range(4):
            headers = sign(key, method="POST", path="/a", body=b"b", at=turn)
            verify(key.public_pem, method="POST", path="/a", body=b"b", headers=headers, now=turn)
        asked = ca.request_of(request_for(key, "box-1", serial="SN-4711"))
    assert (asked.public_pem, asked.serial) == (made.public_pem, "SN-4711")
    assert b"PRIVATE" not in path.read_bytes()


def test_the_file_is_worth_nothing_elsewhere(tmp_path, monkeypatch):
    path = tmp_path / "device.tpm.json"
    with running(monkeypatch):
        made = tpm.make(path)
    with running(monkeypatch):
        with pytest.raises(KeyFault, match="another machine's"):
            tpm.load(path).sign(b"data")
        with pytest.raises(Refusal) as refused:
            post_to("http://127.0.0.1:1", made, "/a", b"", clock=HeldClock())
    assert refused.value.word is Word.BOX_REFUSED


def test_what_is_no_wrapped_key_says_so(tmp_path: Path, monkeypatch):
    path = tmp_path / "device.tpm.json"
    for text in ("", "[]", '{"form": 2}', '{"form": 1, "public_pem": "", "wrapped_public": "!"}'):
        path.write_text(text)
        with pytest.raises(KeyFault, match="no key of a TPM"):
            tpm.load(path)
    monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:path={tmp_path}/none")
    with pytest.raises(KeyFault, match="never written over"):
        tpm.make(path)
    path.unlink()
    with pytest.raises(KeyFault, match="refused"):
        tpm.make(path)
    assert not path.exists()
