"""Messages between a worker and its decoder child: a fixed head, a small JSON object, raw bytes.

Nothing that arrives is ever unpickled or evaluated.
Every length is checked against a bound before memory is taken for it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any

_HEAD = Struct(">4sIQ")
_MAGIC = b"RSD1"
_JSON_BYTES_MAX = 16_384
# One kernel buffer takes a 512 x 512 slice, so the child can go on while the parent is busy.
SOCKET_BUFFER_BYTES = 1 << 20


class WireError(Exception):
    """The other side sent something that is no message."""


class Gone(WireError):
    """The other side closed the connection."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message as it came: the JSON object and the raw bytes behind it."""

    fields: Mapping[str, Any]
    body: bytearray


@dataclass(frozen=True)
class Line:
    """One end of a connected stream socket; `seconds` bounds a whole send or receive, None waits for ever."""

    end: socket.socket

    def send(
        self, fields: Mapping[str, Any], body: bytes | memoryview = b"", *, seconds: float | None = None
    ) -> None:
        """Send one message.

        Raises:
            TimeoutError: the other side did not take it in time.
            Gone: there is no other side.
        """
        text = json.dumps(fields, separators=(",", ":")).encode()
        assert len(text) <= _JSON_BYTES_MAX, "fields are a handful of numbers and words"
        self.end.settimeout(seconds)
        try:
            self.end.sendall(_HEAD.pack(_MAGIC, len(text), len(body)) + text)
            self.end.sendall(body)
        except ConnectionError as error:
            raise Gone from error

    def receive(
        self, body_bytes_allowed: Callable[[Mapping[str, Any]], int], *, seconds: float | None = None
    ) -> Message:
        """Receive one message; `body_bytes_allowed` says from its fields how long its body may be.

        Raises:
            TimeoutError: it was not whole in time.
            Gone: the other side closed.
            WireError: it is no message, or its body is longer than allowed.
        """
        until = None if seconds is None else time.monotonic() + seconds
        magic, text_bytes, body_bytes = _HEAD.unpack(self._take(_HEAD.size, until))
        if magic != _MAGIC or text_bytes > _JSON_BYTES_MAX:
            raise WireError("not a message")
        try:
            fields = json.loads(bytes(self._take(text_bytes, until)))
        except ValueError as error:
            raise WireError("not a message") from error
        if not isinstance(fields, dict) or body_bytes > body_bytes_allowed(fields):
            raise WireError("the body is longer than allowed")
        return Message(fields=fields, body=self._take(body_bytes, until))

    def _take(self, count: int, until: float | None) -> bytearray:
        taken = bytearray(count)
        view, at = memoryview(taken), 0
        while at < count:
            self.end.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            try:
                got = self.end.recv_into(view[at:])
            except ConnectionError as error:
                raise Gone from error
            if not got:
                raise Gone
            at += got
        return taken
