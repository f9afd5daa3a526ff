"""A server that reads with llhttp hangs up on heads that never end, and on no others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvicorn
from fastapi import FastAPI

from appliance.console.limits import DEFAULT as CONSOLE
from provisioning.registry.server import hasty
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.run import uvicorn_options
from tests.provisioning.registry.given import SECONDS_MAX

_HEAD = b"POST /echo HTTP/1.1\r\nHost: registry\r\nContent-Length: 4\r\n"
_HEAD_SECONDS = 0.4


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(hasty, "DEFAULT", replace(CONSOLE, head_seconds_max=_HEAD_SECONDS))
    app = FastAPI()

    @app.post("/echo")
    def echo() -> dict[str, bool]:
        return {"ok": True}

    server = uvicorn.Server(uvicorn.Config(app, **uvicorn_options(DEFAULT)))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(SECONDS_MAX)
    listening.close()


def said(line: socket.socket) -> bytes:
    """Return what comes until the other side ends the connection, or is silent."""
    found = b""
    while part := line.recv(65_536):
        found += part
        if found.endswith(b'{"ok":true}'):
            break
    return found


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX)


def test_it_is_llhttp_that_reads() -> None:
    assert hasty.PROTOCOL.__mro__[1].__name__ == "HttpToolsProtocol"


def test_requests_follow_one_another_on_a_connection(port: int) -> None:
    with connected(port) as line:
        for _ in range(3):
            line.sendall(_HEAD + b"\r\nbody")
            assert said(line).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"POST /echo HT", _HEAD])
def test_a_head_that_does_not_end_is_hung_up_on(port: int, begun: bytes) -> None:
    with connected(port) as line:
        if begun:
            line.sendall(begun)
        assert said(line) == b""


def test_a_pause_between_requests_is_no_slow_head(port: int) -> None:
    with connected(port) as line:
        line.sendall(_HEAD + b"\r\nbody")
        assert said(line).startswith(b"HTTP/1.1 200")
        line.settimeout(3 * _HEAD_SECONDS)
        with pytest.raises(TimeoutError):
            line.recv(1)
        line.settimeout(SECONDS_MAX)
        line.sendall(_HEAD + b"\r\nbody")
        assert said(line).startswith(b"HTTP/1.1 200")


def test_a_head_without_end_is_cut_off(port: int) -> None:
    filler = b"X: " + b"y" * 1000 + b"\r\n"
    with connected(port) as line, pytest.raises(OSError, match=r"reset|Broken pipe"):
        line.sendall(_HEAD)
        for _ in range(CONSOLE.head_bytes_max // 1000 * 100):
            line.sendall(filler)


def test_what_is_no_http_is_refused(port: int) -> None:
    with connected(port) as line:
        line.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert said(line).startswith(b"HTTP/1.1 400")
