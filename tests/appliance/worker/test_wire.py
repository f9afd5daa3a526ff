"""The line to a decoder child: whole messages, bounded bodies, no endless wait."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import pytest

from appliance.worker.wire import Gone, Line, WireError


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    one, other = socket.socketpair()
    with one, other:
        yield Line(one), Line(other)


def test_a_message_arrives_as_it_was_sent(ends: tuple[Line, Line]):
    ends[0].send({"a": 1}, b"body", seconds=1)
    got = ends[1].receive(lambda fields: 4 * fields["a"], seconds=1)
    assert (dict(got.fields), bytes(got.body)) == ({"a": 1}, b"body")


def test_a_body_longer_than_allowed_is_refused_before_it_is_read(ends: tuple[Line, Line]):
    ends[0].end.sendall(struct.pack(">4sIQ", b"RSD1", 2, 1 << 60) + b"{}")
    with pytest.raises(WireError, match="longer"):
        ends[1].receive(lambda _: 1024, seconds=1)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">4sIQ", b"RSD1", 1 << 30, 0),
        struct.pack(">4sIQ", b"RSD1", 2, 0) + b"[]",
        struct.pack(">4sIQ", b"RSD1", 3, 0) + b"{a}",
        struct.pack(">4sIQ", b"RSD1", 2, 0) + b"\xff\xfe",
    ],
)
def test_what_is_no_message_is_refused(ends: tuple[Line, Line], sent: bytes):
    ends[0].end.sendall(sent)
    with pytest.raises(WireError):
        ends[1].receive(lambda _: 0, seconds=1)


def test_a_closed_line_is_gone(ends: tuple[Line, Line]):
    ends[0].end.close()
    with pytest.raises(Gone):
        ends[1].receive(lambda _: 0, seconds=1)
    with pytest.raises(Gone):
        ends[1].send({}, bytes(1 << 20), seconds=1)


def test_a_silent_line_and_a_full_one_meet_the_deadline(ends: tuple[Line, Line]):
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        ends[1].receive(lambda _: 0, seconds=0.1)
    ends[0].end.sendall(b"RSD")
    with pytest.raises(TimeoutError):
        ends[1].receive(lambda _: 0, seconds=0.1)
    with pytest.raises(TimeoutError):
        ends[1].send({}, bytes(1 << 24), seconds=0.1)
    assert time.monotonic() - start < 5
