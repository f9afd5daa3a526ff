"""What stands before every request: a bound on its body and its path, and the headers of every answer.

It reads a whole small body before anybody else sees a byte of it: a slow or endless one reaches no handler.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.console.limits import Limits

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_NO_STORE = (b"cache-control", b"no-store")


class _Refused(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class Guard:
    """The outermost layer of the application (ASGI 3)."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through if it is within its bounds."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _with_headers(send)
        try:
            body = await self._body(scope, receive)
        except _Refused as refused:
            await _refuse(answer, refused)
            return
        await self._app(scope, _replay(body, receive), answer)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if len(scope["path"]) > self._limits.path_chars_max:
            raise _Refused(414, "The address is too long.")
        headers = dict(scope["headers"])
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            return b""
        if _announced(headers.get(b"content-length", b"0")) > self._limits.body_bytes_max:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.body_seconds_max):
                return await self._read(receive)
        except TimeoutError:
            raise _Refused(408, "The request came too slowly.") from None

    async def _read(self, receive: Receive) -> bytes:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "The request ended before it was complete.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limits.body_bytes_max:
                raise self._too_large()
        return body

    def _too_large(self) -> _Refused:
        return _Refused(413, f"The request is too large; {self._limits.body_bytes_max} bytes are allowed.")


def _announced(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 20 else 2**63


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand the body on as one message; after it, only the end of the connection is waited for."""
    waiting = [body]

    async def _receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return _receive


def _with_headers(send: Send) -> Send:
    async def _send(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_missing(message["headers"])]
        await send(message)

    return _send


def _missing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Patient data must lie in no cache: what does not say otherwise is not stored."""
    there = {name.lower() for name, _ in headers}
    return [pair for pair in (*_HEADERS, _NO_STORE) if pair[0] not in there]


async def _refuse(send: Send, refused: _Refused) -> None:
    body = json.dumps({"error": refused.sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
