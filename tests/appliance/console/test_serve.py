"""The socket: no access log, no patience with a head that never ends; and a real browser."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import urllib.request
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from appliance.console import serve
from appliance.console.limits import DEFAULT
from appliance.console.serve import Serving
from tests.appliance.console.filling import NORMAL

CHROMIUM = shutil.which("chromium")


@pytest.fixture
def address(filled):
    serving = Serving(filled.app, host="127.0.0.1", port=0)
    yield ("127.0.0.1", serving.start())
    assert serving.alive
    serving.stop()
    assert not serving.alive


def test_it_answers_and_writes_no_log_of_addresses(filled, address, capfd):
    url = f"http://{address[0]}:{address[1]}"
    with urllib.request.urlopen(f"{url}{filled.link()}?next=/studies/{NORMAL}", timeout=10) as answer:
        assert answer.status == 200
        assert "server" not in answer.headers
    with urllib.request.urlopen(f"{url}/health/live", timeout=10) as answer:
        assert answer.read() == b'{"live":true}'
    out, err = capfd.readouterr()
    assert "/login/once" not in out + err
    assert NORMAL not in out + err


def test_a_port_that_is_taken_is_said(address, filled):
    with pytest.raises(OSError, match="in use"):
        Serving(filled.app, host=address[0], port=address[1]).start()


@pytest.mark.parametrize(
    "begun", [b"", b"GET /login HTTP/1.1\r\nHost: x\r\n", b"GET /login HTTP/1.1\r\nHost: x\r\n\r\nGET"]
)
def test_a_head_that_never_ends_is_cut_off(filled, monkeypatch, begun):
    monkeypatch.setattr(serve, "DEFAULT", replace(DEFAULT, head_seconds_max=0.4))
    serving = Serving(filled.app, host="127.0.0.1", port=0)
    with socket.create_connection(("127.0.0.1", serving.start()), timeout=5) as line:
        line.sendall(begun)
        while line.recv(65536):
            pass
    serving.stop()


def chromium(tmp_path, url, picture, *more):
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'browser'}", "--enable-logging=stderr", "--window-size=1280,900",
        f"--screenshot={picture}", *more, url,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stderr


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_real_browser_logs_in_by_link_and_draws_the_study(filled, address, tmp_path):
    picture = tmp_path / "study.png"
    url = f"http://{address[0]}:{address[1]}{filled.link()}?next=/studies/{NORMAL}"
    said = chromium(tmp_path, url, picture)
    assert "Content Security Policy" not in said
    assert "Uncaught" not in said
    drawn = np.asarray(Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")).astype(int)
    assert drawn.shape == (900, 1280, 3)
    assert np.median(drawn) < 60, "a reading room's page is dark"
    overlay = (drawn[..., 0] > 180) & (drawn[..., 1] > 120) & (drawn[..., 2] < 110)
    assert overlay.sum() > 5_000, "the overlay picture is on the page"


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_in_a_real_browser_the_list_refreshes_itself(filled, address, tmp_path, monkeypatch):
    asked = []
    rows = filled.app.state.room.pages.live

    def live(name, **values):
        asked.append(name)
        return rows(name, **values)

    monkeypatch.setattr(filled.app.state.room.pages, "live", live)
    url = f"http://{address[0]}:{address[1]}{filled.link()}?next=/studies"
    said = chromium(tmp_path, url, tmp_path / "list.png", "--virtual-time-budget=12000")
    assert "Content Security Policy" not in said
    assert "Uncaught" not in said
    assert asked.count("rows.html") >= 2
