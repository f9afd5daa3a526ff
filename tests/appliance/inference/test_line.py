"""Messages come whole or not at all, and a child can say nothing but bounded JSON."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from appliance.inference.line import Gone, Line, WireError

SECONDS_MAX = 10.0
HEAD = struct.Struct(">4sIIB")


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    ours, theirs = socket.socketpair()
    yield Line(ours), Line(theirs)
    ours.close()
    theirs.close()


def raw(
    text: bytes, *, magic: bytes = b"RSE1", body: int = 0, fds: int = 0, length: int | None = None
) -> bytes:
    return HEAD.pack(magic, len(text) if length is None else length, body, fds) + text


def test_a_message_comes_with_its_body_and_its_files(ends: tuple[Line, Line], tmp_path):
    ours, theirs = ends
    path = tmp_path / "file"
    path.write_text("content")
    with path.open() as file:
        ours.send({"do": "share", "n": [1, 2]}, body=b"more", fds=[file.fileno()], seconds=SECONDS_MAX)
    message = theirs.receive(seconds=SECONDS_MAX, trusted=True)
    assert (message.fields, message.body) == ({"do": "share", "n": [1, 2]}, b"more")
    (fd,) = message.fds
    assert not os.get_inheritable(fd)
    with os.fdopen(fd) as copy:
        assert copy.read() == "content"


def test_one_message_after_the_other(ends: tuple[Line, Line]):
    ours, theirs = ends
    for n in range(3):
        ours.send({"n": n}, seconds=SECONDS_MAX)
    assert [theirs.receive(seconds=SECONDS_MAX).fields["n"] for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "said",
    [
        raw(b"{}", magic=b"HTTP"),
        raw(b"[]"),
        raw(b"not JSON"),
        raw(b"[" * 100_000),
        raw(b"", length=(16 << 20) + 1),
        raw(b"{}", body=4) + b"more",
        raw(b"{}", fds=1),
    ],
)
def test_what_a_child_may_not_say_is_no_message(ends: tuple[Line, Line], said: bytes):
    ours, theirs = ends
    ours.end.settimeout(SECONDS_MAX)
    ours.end.sendall(said)
    with pytest.raises(WireError):
        theirs.receive(seconds=SECONDS_MAX)


def test_files_that_a_child_sends_are_not_taken(ends: tuple[Line, Line], tmp_path):
    ours, theirs = ends
    with (tmp_path / "file").open("w") as file:
        ours.send({}, fds=[file.fileno()], seconds=SECONDS_MAX)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(WireError):
        theirs.receive(seconds=SECONDS_MAX)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_end_is_told_from_silence(ends: tuple[Line, Line]):
    ours, theirs = ends
    with pytest.raises(TimeoutError):
        theirs.receive(seconds=0.01)
    ours.end.sendall(raw(b"{}")[:7])
    with pytest.raises(TimeoutError):
        theirs.receive(seconds=0.01)
    ours.end.close()
    with pytest.raises(Gone):
        theirs.receive(seconds=SECONDS_MAX)
    with pytest.raises(Gone):
        theirs.send({"n": 1}, seconds=SECONDS_MAX)
