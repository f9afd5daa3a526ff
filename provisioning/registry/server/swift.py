"""HTTP/1.1 for batches that come whole: read in a few splits, and everything else by h11.

A heartbeat is a head and a small body on a connection that stays open. Only what is exactly one request for
the batches' path, in the plain form below, is read here; in all other cases h11 gets the same bytes.

Promises: what is read here h11 would read as the same request (RFC 9112): one Host, one Content-Length that
fits the bytes, no Transfer-Encoding, no Connection, no Expect, nothing but printable ASCII in a header.
Never: keeps more than a plain head and a small body, or keeps them for long: h11 gets them, and judges.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

import structlog

from appliance.console.serve import HastyProtocol
from appliance.core import log
from provisioning.registry.server.device import PATH

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
_BEGIN = f"POST {PATH} HTTP/1.1\r\n".encode()
_HEAD_BYTES_MAX = 4_096
_BODY_BYTES_MAX = 16_384
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
# What would change how a request or its connection is read.
_NOT_PLAIN = frozenset(
    (b"transfer-encoding", b"connection", b"expect", b"upgrade", b"te", b"trailer", b"keep-alive")
)
_ONCE = frozenset((b"host", b"content-length"))
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}

Headers = list[tuple[bytes, bytes]]


def plain(data: bytes) -> tuple[Headers, bytes, int] | None:
    """Return headers, body and how many bytes of it are to come, if this is a plain request for a batch."""
    if not data.startswith(_BEGIN):
        return None
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or len(head) > _HEAD_BYTES_MAX:
        return None
    headers: Headers = []
    seen: dict[bytes, bytes] = {}
    for line in head[len(_BEGIN) :].split(b"\r\n"):
        match = _HEADER.fullmatch(line)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        if name in _NOT_PLAIN or (name in _ONCE and name in seen):
            return None
        seen[name] = value
        headers.append((name, value))
    length = seen.get(b"content-length", b"")
    if b"host" not in seen or not (length.isdigit() and len(length) < 6):
        return None
    lacking = int(length) - len(body)
    return (headers, body, lacking) if 0 <= lacking <= int(length) <= _BODY_BYTES_MAX else None


class SwiftProtocol(HastyProtocol):
    """Serves plain batches itself, one at a time on a connection."""

    _under_way = False
    _served = False
    _ending = False
    _held = b""
    _begun = b""
    _begun_before = False

    def data_received(self, data: bytes) -> None:
        """Serve a batch, or let h11 read on."""
        if self._under_way:
            # Nobody sends before he was answered; what he does send waits, and no more is read.
            self._held += data
            self.transport.pause_reading()
            return
        data, self._begun = self._begun + data, b""
        found = plain(data) if self._rests() else None
        if found is None:
            super().data_received(data)
            return
        headers, body, lacking = found
        self._unset_keepalive_if_required()
        if lacking:
            self._begun = data
            return
        self._under_way = self._served = True
        task = self.loop.create_task(self._serve(headers, body))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def shutdown(self) -> None:
        """Close the connection, when what is under way was answered."""
        self._ending = True
        self._begun = b""
        if not self._under_way:
            super().shutdown()

    def _rests(self) -> bool:
        """Say whether h11 is between two requests, and there is room for one."""
        room = self.limit_concurrency is None or len(self.connections) < self.limit_concurrency
        between = self.cycle is None or self.cycle.response_complete
        return room and between and not self._ending and not self.conn.trailing_data[0]

    async def _serve(self, headers: Headers, body: bytes) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": "POST",
            "root_path": "",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": headers,
            "state": self.app_state.copy(),
        }
        answer = _Answer(body)
        try:
            await self.app(scope, answer.receive, answer.send)
        except Exception as error:  # noqa: BLE001 - as uvicorn does: one request ends, the server does not
            _log.error("registry.fault", error=type(error).__name__)
            answer.fail()
        self._finish(answer)

    def _finish(self, answer: _Answer) -> None:
        self._under_way = False
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.transport.write(answer.wire)
        if self._ending or answer.closes:
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        held, self._held = self._held, b""
        if held:
            self.transport.resume_reading()
            self.data_received(held)

    def _look(self) -> None:
        # A body that does not come: h11 gets what is there, and the application's clock runs.
        if self._begun and self._begun_before:
            begun, self._begun = self._begun, b""
            super().data_received(begun)
        self._begun_before = bool(self._begun)
        # Between two batches no head is on its way, though h11 has seen no request yet.
        if self._served and self.cycle is None and not self.conn.trailing_data[0]:
            self._slow = False
            self._again()
            return
        super()._look()


class _Answer:
    """What the application says to one request."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._parts: list[bytes] = []
        self.closes = False

    @property
    def wire(self) -> bytes:
        return b"".join(self._parts)

    async def receive(self) -> dict[str, Any]:
        if self._body is None:
            # Only the end of the connection could follow, and nobody who takes a batch waits for it.
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._parts = [_LINES[message["status"]]]
            for name, value in message["headers"]:
                self.closes = self.closes or (name, value) == (b"connection", b"close")
                self._parts.append(name + b": " + value + b"\r\n")
            self._parts.append(b"\r\n")
        else:
            self._parts.append(message.get("body", b""))

    def fail(self) -> None:
        self._parts, self.closes = [_LINES[500], b"content-length: 0\r\nconnection: close\r\n\r\n"], True
