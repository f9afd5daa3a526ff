"""Messages between a box and a serving child: a fixed head, a JSON object, and what only the box may add.

The box may add a pickled body and file descriptors, because a child trusts whoever started it.
Never: the other way round. What a child says is JSON, with a bound on its length, and nothing else.
"""

from __future__ import annotations

import json
import socket
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any

_HEAD = Struct(">4sIIB")
_MAGIC = b"RSE1"
_FDS_MAX = 2
# A builder may list each layer of a large network.
_TEXT_BYTES_MAX = 16 << 20
_BODY_BYTES_MAX = 16 << 20


class WireError(Exception):
    """The other side sent something that is no message."""


class Gone(WireError):
    """The other side closed the connection."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message as it came; the receiver owns the file descriptors."""

    fields: Mapping[str, Any]
    body: bytes = b""
    fds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """One end of a connected stream socket; `seconds` bounds a whole send or receive, None waits for ever."""

    end: socket.socket

    def send(
        self,
        fields: Mapping[str, Any],
        *,
        body: bytes = b"",
        fds: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        """Send one message.

        Raises:
            TimeoutError: the other side did not take it in time.
            Gone: there is no other side.
        """
        text = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
        assert len(text) <= _TEXT_BYTES_MAX, "a message is a description, not the thing itself"
        assert len(body) <= _BODY_BYTES_MAX, "a body is a manifest and a few settings"
        head = _HEAD.pack(_MAGIC, len(text), len(body), len(fds))
        self.end.settimeout(seconds)
        try:
            sent = socket.send_fds(self.end, [head], list(fds)) if fds else self.end.send(head)
            self.end.sendall(head[sent:] + text + body)
        except ConnectionError as error:
            raise Gone from error

    def receive(self, *, seconds: float | None = None, trusted: bool = False) -> Message:
        """Receive one message; only from who is `trusted` may it hold a body and file descriptors.

        Raises:
            TimeoutError: it was not whole in time.
            Gone: the other side closed.
            WireError: it is no message, or longer than allowed.
        """
        until = None if seconds is None else time.monotonic() + seconds
        head, fds = self._take_head(until, fds_max=_FDS_MAX if trusted else 0)
        magic, text_bytes, body_bytes, count = _HEAD.unpack(head)
        body_bytes_max = _BODY_BYTES_MAX if trusted else 0
        if magic != _MAGIC or text_bytes > _TEXT_BYTES_MAX or body_bytes > body_bytes_max:
            raise WireError("not a message")
        if count != len(fds):
            raise WireError("not the file descriptors it speaks of")
        fields = _parsed(self._take(text_bytes, until))
        return Message(fields=fields, body=bytes(self._take(body_bytes, until)), fds=tuple(fds))

    def _take_head(self, until: float | None, *, fds_max: int) -> tuple[bytes, list[int]]:
        """Take the head; file descriptors come with its first byte."""
        if not fds_max:
            return bytes(self._take(_HEAD.size, until)), []
        self._bound(until)
        try:
            # Not socket.recv_fds, which takes flags and ignores them.
            space = socket.CMSG_SPACE(fds_max * array("i").itemsize)
            got, beside, _, _ = self.end.recvmsg(_HEAD.size, space, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError as error:
            raise Gone from error
        if not got:
            raise Gone
        fds = array("i")
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        return got + bytes(self._take(_HEAD.size - len(got), until)), list(fds)

    def _take(self, count: int, until: float | None) -> bytearray:
        taken = bytearray(count)
        view, at = memoryview(taken), 0
        while at < count:
            self._bound(until)
            try:
                got = self.end.recv_into(view[at:])
            except ConnectionError as error:
                raise Gone from error
            if not got:
                raise Gone
            at += got
        return taken

    def _bound(self, until: float | None) -> None:
        self.end.settimeout(None if until is None else max(until - time.monotonic(), 0.001))


def _parsed(text: bytearray) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("not a message") from error
    if not isinstance(fields, dict):
        raise WireError("not a message")
    return fields
