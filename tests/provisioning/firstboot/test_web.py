"""The page as a process: its certificate, its end, and what a kill leaves."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import ssl
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest

from appliance.core.addresses import is_loopback
from appliance.core.clock import SYSTEM
from appliance.core.config import load
from provisioning.firstboot import certificate
from provisioning.firstboot.desk import Desk
from provisioning.firstboot.door import Door
from provisioning.firstboot.pages import application
from provisioning.firstboot.steps import KEYS
from provisioning.firstboot.values import AnswerFault
from provisioning.firstboot.web import Served, answer_on
from provisioning.identity import code as codes
from tests.provisioning.firstboot.said import without_salt
from tests.provisioning.firstboot.test_drivers import expected
from tests.provisioning.firstboot.test_pages import enter, post, proof


def test_on_the_network_it_speaks_tls_with_the_fingerprint_that_was_shown(sitting):
    context, fingerprint = certificate.made(["127.0.0.1", "box"])
    code = codes.make()
    served = Served(application(Desk(sitting, Door(code, SYSTEM))), host="127.0.0.1", port=0, tls=context)
    try:
        port = served.start()
        shown = ssl.get_server_certificate(("127.0.0.1", port), timeout=20)
        found = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()
        assert fingerprint.replace(":", "").lower() == found
        with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=False, timeout=20) as client:
            assert "; Secure" in enter(client, code).headers["set-cookie"]
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/", timeout=20)
    finally:
        served.stop()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("box", False),
    ],
)
def test_only_loopback_is_plain(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("at", ["box", ":8443", "box:", "box:99999", "box:x", "box:８"])
def test_an_address_that_is_none_is_a_fault(sitting, at):
    with pytest.raises(AnswerFault, match="HOST:PORT"):
        answer_on(sitting, at, code_file=None, over=False, out=None)  # type: ignore[arg-type]


@contextmanager
def process(tmp_path, code):
    """The command with its page on loopback; ended with the block."""
    (tmp_path / "label").write_text(codes.shown(code) + "\n")
    command = [sys.executable, "-m", "appliance.cli", "provision", "first-boot", "--web", "127.0.0.1:0"]
    options = ["--code-file", tmp_path / "label", "--config", tmp_path / "site.toml"]
    started = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", started.stdout.readline())
        assert found
        with httpx.Client(base_url=found[0], timeout=60) as client:
            yield started, client
    finally:
        started.kill()
        started.communicate(timeout=20)


def test_a_page_that_was_killed_goes_on_and_ends_by_itself(tmp_path, said):
    code = codes.make()
    with process(tmp_path, code) as (started, client):
        assert enter(client, code).headers["location"] == "/step/network"
        for key in KEYS[:5]:
            assert post(client, key, said.form(key)).status_code == 303
        os.kill(started.pid, signal.SIGKILL)
        started.wait(20)
    assert not (tmp_path / "site.toml").exists()
    with process(tmp_path, code) as (started, client):
        assert enter(client, code).headers["location"] == f"/step/{KEYS[5]}"
        for key in KEYS[5:]:
            assert post(client, key, said.form(key)).status_code == 303
        assert client.post("/last", data={"csrf": proof(client.get("/last"))}).status_code == 200
        assert "site.toml is written." in started.communicate(timeout=60)[0]
        assert started.returncode == 0
    load(tmp_path / "site.toml")
    assert without_salt((tmp_path / "site.toml").read_bytes()) == expected(tmp_path)
