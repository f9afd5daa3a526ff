"""A batch that comes whole is read as h11 would read it, and whatever is not plain is left to h11."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import h11
import pytest
import uvicorn
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.clock import HeldClock
from appliance.health.schema import encode
from appliance.sync.signing import sign
from provisioning.registry.database.engine import Database
from provisioning.registry.server.device import PATH
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.run import uvicorn_options
from provisioning.registry.server.swift import SwiftProtocol, plain
from tests.provisioning.registry.given import SECONDS_MAX, enrolled, machine

BODY = b"0123456789"
HEADS = [
    b"Host: registry",
    b"Content-Length: 10",
    b"Content-Length: 9",
    b"Content-Length: +10",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Signature: device=:abc:",
    b"X: a\nY: b",
    b"X : a",
    b" folded",
    b"X: \x00",
    b"X: a b\tc",
    b"X:  \t padded  ",
    b"X:",
    b"content-length:10",
]


def wire(*heads: bytes, body: bytes = BODY) -> bytes:
    return b"\r\n".join([f"POST {PATH} HTTP/1.1".encode(), *heads]) + b"\r\n\r\n" + body


def by_h11(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
    """What h11 makes of the bytes, if it is one whole request and nothing after it."""
    connection, body = h11.Connection(h11.SERVER), b""
    connection.receive_data(data)
    try:
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                return None
            body += event.data
    except h11.RemoteProtocolError:
        return None
    return (list(request.headers), body) if not connection.trailing_data[0] else None


@given(st.lists(st.sampled_from(HEADS), max_size=6), st.sampled_from([BODY, BODY + b"x", b"", BODY[:5]]))
def test_what_is_read_here_h11_reads_the_same(heads: list[bytes], body: bytes):
    data = wire(*heads, body=body)
    found = plain(data)
    assert found is None or found[2] or found[:2] == by_h11(data)


@given(st.lists(st.sampled_from(HEADS), max_size=6), st.integers(1, 10))
def test_what_is_begun_here_h11_would_go_on_with(heads: list[bytes], cut: int):
    data = wire(*heads)
    found = plain(data[:-cut])
    if found is not None and found[2]:
        assert found[2] == cut
        assert by_h11(data) == (found[0], BODY)


def test_the_plain_form_is_read():
    found = plain(wire(b"Host: registry", b"Content-Length: 10", b"Signature: s"))
    assert found == ([(b"host", b"registry"), (b"content-length", b"10"), (b"signature", b"s")], BODY, 0)


PROTOCOLS: list[Any] = []


class Watched(SwiftProtocol):
    """The protocol, where a test finds it."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        PROTOCOLS.append(self)


@pytest.fixture
def line(app: FastAPI, database: Database) -> Iterator[Any]:
    """A connection to the application, as it is served for real."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, **{**uvicorn_options(DEFAULT), "http": Watched}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with socket.create_connection(listener.getsockname(), timeout=SECONDS_MAX) as made:
        yield made
    server.should_exit = True
    thread.join(SECONDS_MAX)
    assert not thread.is_alive()
    listener.close()


def signed(key: Any, clock: HeldClock, seq: int, *more: bytes) -> bytes:
    body = encode([machine(seq, clock.now())])
    heads = sign(key, method="POST", path=PATH, body=body, at=clock.now())
    lines = [f"{name}: {value}".encode() for name, value in heads.items()]
    return wire(b"Host: registry", f"Content-Length: {len(body)}".encode(), *lines, *more, body=body)


def answer(line: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += line.recv(1)
    head = data.lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += line.recv(length - len(body))
    return int(head.split()[1]), json.loads(body)


def test_one_connection_carries_all_forms(line: Any, database: Database, clock: HeldClock):
    key = enrolled(database)
    for seq in (1, 2):
        line.sendall(signed(key, clock, seq))
        assert answer(line)[1]["acknowledged"] == seq
    line.sendall(b"GET /health/live HTTP/1.1\r\nHost: registry\r\n\r\n")
    assert answer(line) == (200, {"live": True})
    whole = signed(key, clock, 3)
    line.sendall(whole[:100])
    threading.Event().wait(0.2)
    line.sendall(whole[100:])
    assert answer(line)[1]["acknowledged"] == 3
    line.sendall(signed(key, clock, 4))
    assert answer(line)[1]["acknowledged"] == 4


def test_a_body_may_come_after_its_head(line: Any, database: Database, clock: HeldClock):
    key = enrolled(database)
    for seq in (1, 2):
        head, separator, body = signed(key, clock, seq).partition(b"\r\n\r\n")
        for piece in (head + separator, body[:10], body[10:]):
            line.sendall(piece)
            threading.Event().wait(0.1)
        assert answer(line)[1]["acknowledged"] == seq


def test_a_body_that_does_not_come_is_h11s_in_the_end(line: Any, database: Database, clock: HeldClock):
    whole = signed(enrolled(database), clock, 1)
    line.sendall(whole[:-10])
    threading.Event().wait(0.2)
    protocol = PROTOCOLS[-1]
    for _ in range(2):
        protocol.loop.call_soon_threadsafe(protocol._look)
    threading.Event().wait(0.2)
    assert protocol._begun == b""
    line.sendall(whole[-10:])
    assert answer(line)[1]["acknowledged"] == 1


def test_what_is_sent_before_the_answer_waits_its_turn(line: Any, database: Database, clock: HeldClock):
    key = enrolled(database)
    line.sendall(signed(key, clock, 1))
    line.sendall(signed(key, clock, 2) + signed(key, clock, 3))
    assert [answer(line)[1]["acknowledged"] for _ in range(3)] == [1, 2, 3]


def test_who_asks_for_the_end_gets_it(line: Any, database: Database, clock: HeldClock):
    line.sendall(signed(enrolled(database), clock, 1, b"Connection: close"))
    assert answer(line)[1]["acknowledged"] == 1
    assert line.recv(1) == b""


def test_a_refusal_leaves_the_connection(line: Any, database: Database, clock: HeldClock):
    line.sendall(wire(b"Host: registry", b"Content-Length: 10"))
    assert answer(line)[0] == 401
    line.sendall(signed(enrolled(database), clock, 1))
    assert answer(line)[0] == 200
