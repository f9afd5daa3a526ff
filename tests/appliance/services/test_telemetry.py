"""Sending: what each answer of a registry means, and a service that touches the outbox and nothing else."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from appliance.core.config import Config, load
from appliance.health.codes import Kind
from appliance.health.outbox import Outbox, folder_of
from appliance.health.schema import decode
from appliance.services import telemetry
from appliance.sync import softkey
from appliance.sync.signing import verify
from tests.system.waiting import until


class Registry(http.server.BaseHTTPRequestHandler):
    """Answers what the test says, and keeps what it got."""

    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]]
    heard: ClassVar[list[tuple[str, Any, bytes]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.path, self.headers, body))
        taken: Any = (200, {}, json.dumps({"acknowledged": 2**53, "now": 1_700_000_000}).encode())
        status, headers, answer = self.answers.pop(0) if self.answers else taken
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[Any]:
    handler: Any = type("One", (Registry,), {"answers": [], "heard": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield handler
    server.shutdown()
    server.server_close()


def site(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "site.toml"
    path.write_text(
        f"""
[site]
name = "St Elsewhere"
[storage]
root = "{folder / "box"}"
[registry]
url = "{url}"
device = "box-1"
roots = "{folder / "roots"}"
{more}
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def config(tmp_path: Path, registry: Any) -> Config:
    """A site with an identity."""
    roots = tmp_path / "roots"
    roots.mkdir()
    softkey.make(roots / "device.key")
    key: Any = load_pem_private_key((roots / "device.key").read_bytes(), None)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "box-1")])
    now = datetime.now(tz=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=9))
    (roots / "device.crt").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return load(site(tmp_path, registry.url))


def test_a_batch_is_signed_and_taken(config: Config, registry: Any) -> None:
    posted = telemetry.post(config, b"bytes")
    assert (posted.word, posted.left) == ("taken", True)
    ((path, headers, body),) = registry.heard
    key = softkey.load(config.registry.roots / "device.key")
    assert (path, body) == ("/api/device/v1/batch", b"bytes")
    verify(key.public_pem, method="POST", path=path, body=body, headers=dict(headers), now=_now())


def _now() -> float:
    return datetime.now(tz=UTC).timestamp()


@pytest.mark.parametrize(
    ("status", "headers", "reason", "unfit", "pause"),
    [
        (503, {"Retry-After": "7"}, "overloaded", False, 7.0),
        (429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", False, 0.0),
        (503, {"Retry-After": "soon"}, "", False, None),
        (503, {"Retry-After": "9" * 400}, "", False, 999_999_999.0),
        (400, {}, "schema", True, None),
        (413, {}, "too_large", True, None),
        (400, {}, "", False, None),
        (401, {}, "unknown", False, None),
    ],
)
def test_each_refusal_is_understood(
    config: Config, registry: Any, status: int, headers: dict[str, str], reason: str, unfit: bool, pause: Any
) -> None:
    registry.answers.append((status, headers, json.dumps({"reason": reason}).encode()))
    posted = telemetry.post(config, b"bytes")
    assert posted.word != "taken"
    assert (posted.left, posted.unfit, posted.pause_seconds) == (True, unfit, pause)


def test_without_an_identity_or_a_connection_nothing_left(config: Config, tmp_path: Path) -> None:
    away = load(site(tmp_path, "http://127.0.0.1:1"))
    assert telemetry.post(away, b"bytes").left is False
    (config.registry.roots / "device.crt").unlink()
    posted = telemetry.post(config, b"bytes")
    assert (posted.word, posted.left) == ("not_claimed", False)


def test_the_service_sends_and_touches_nothing_but_the_outbox(
    config: Config, registry: Any, tmp_path: Path
) -> None:
    root = config.storage.root
    outbox = Outbox(folder=folder_of(root))
    seq = outbox.add(Kind.WORK, {"hour": 472_222, "release": 7})
    command = [sys.executable, "-m", "appliance.cli", "service", "telemetry", "--config"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, str(tmp_path / "site.toml")], stdout=log, stderr=log)
        try:
            until(lambda: registry.heard, seconds=120, what="a batch")
            until(lambda: outbox.backlog() == 0, seconds=60, what="the records are forgotten")
            opened = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert [one.seq for one in decode(registry.heard[0][2])] == [seq]
    assert [path.name for path in root.iterdir()] == ["telemetry"]
    assert not [name for name in opened if "ledger" in name]
    assert [one.answer for one in outbox.departures(9)] == ["taken"]
