"""What devices ask: `POST /api/device/v1/batch`, signed by the device, answered when it is durable.

It stands before the rest of the application and not in its table of routes: ten thousand devices ask for
nothing else.

Promises: nobody but the holder of an enrolled device's key writes for that device; a body is read within a
bound of bytes and of time, and unpacked within the schema's bounds; every refusal has a word for the device.
Never: answers with what was sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.core.clock import Clock
from appliance.health.limits import BATCH
from appliance.health.schema import Record, SchemaFault, decode
from appliance.ledger.reading import LedgerFault
from appliance.sync.signing import SignatureFault, keyid, verify
from provisioning.registry.database import devices, telemetry
from provisioning.registry.database.engine import Database
from provisioning.registry.database.words import DeviceState
from provisioning.registry.server.intake import Intake, Overloaded
from provisioning.registry.server.limits import ServerLimits
from provisioning.registry.server.versions import Versions

PATH: Final = "/api/device/v1/batch"
_METHOD = "POST"
_SMALL_BYTES = 8_192
_READ = frozenset((b"content-length", b"content-digest", b"signature-input", b"signature"))
# Words that are not a signature's: what the device is to the registry, or what became of its batch.
UNKNOWN, OVERLOADED, TOO_LARGE, TOO_SLOW, SCHEMA = "unknown", "overloaded", "too_large", "too_slow", "schema"


class Turned(Exception):
    """A batch that is not taken."""

    def __init__(self, status: int, reason: str, sentence: str) -> None:
        """Keep the HTTP status, the word for the device and the sentence for a person."""
        super().__init__(sentence)
        self.status, self.reason, self.sentence = status, reason, sentence


class Keys:
    """Public keys of devices. An id is the key's own digest, so what is remembered can never be wrong."""

    def __init__(self, database: Database, limits: ServerLimits) -> None:
        self._database, self._limits = database, limits
        self._known: dict[str, str] = {}

    def load(self) -> None:
        """Read the keys of all enrolled devices at once, as far as they may be remembered."""
        with self._database.read() as tx:
            self._known = telemetry.keys(tx, limit=self._limits.keys_max)

    async def of(self, device: str) -> str | None:
        """Return the key of a device, whatever it is to the registry; nothing if it is unknown."""
        known = self._known.get(device)
        if known is None:
            known = await asyncio.to_thread(self._read, device)
        return known

    def _read(self, device: str) -> str | None:
        with self._database.read() as tx:
            found = devices.find(tx, device)
        if found is None:
            return None
        if len(self._known) < self._limits.keys_max:
            self._known[device] = found.public_key
        return found.public_key


class Devices:
    """The outermost layer of the application (ASGI 3): it takes batches, and hands everything else on."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        intake: Intake,
        versions: Versions,
        clock: Clock,
        limits: ServerLimits,
    ) -> None:
        self._app, self._keys, self._intake, self._versions = app, keys, intake, versions
        self._clock, self._limits = clock, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a batch, or hand the request on."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != _METHOD:
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._take(scope, receive)
        except Turned as turned:
            await self._refuse(send, turned)
            return
        await _send(send, 200, answer)

    async def _take(self, scope: Scope, receive: Receive) -> dict[str, int]:
        headers = _headers(scope)
        body = await self._body(headers, receive)
        device = await self._device(headers, body)
        try:
            # A backlog is unpacked aside: others' heartbeats must not wait for it.
            records = decode(body) if len(body) <= _SMALL_BYTES else await asyncio.to_thread(decode, body)
        except SchemaFault as fault:
            raise Turned(422, SCHEMA, str(fault)) from fault
        await self._write(device, records)
        newest = max((record.seq for record in records), default=0)
        return {"acknowledged": newest, **self._versions.look(), "now": int(self._clock.now())}

    async def _device(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return whose request it is, proven."""
        try:
            device = keyid(headers)
            key = await self._keys.of(device)
            if key is None:
                raise Turned(401, UNKNOWN, "no device of this key was ever enrolled here")
            verify(key, method=_METHOD, path=PATH, body=body, headers=headers, now=self._clock.now())
        except SignatureFault as fault:
            raise Turned(401, fault.word, fault.sentence) from fault
        except LedgerFault as fault:
            raise _overloaded() from fault
        return device

    async def _write(self, device: str, records: list[Record]) -> None:
        try:
            state = await self._intake.take(device, records)
        except Overloaded as overloaded:
            raise _overloaded() from overloaded
        if state is None:
            raise Turned(401, UNKNOWN, "no device of this key was ever enrolled here")
        if state is not DeviceState.ENROLLED:
            raise Turned(403, state.value, f"this device is {state.value}; what it reports is not taken")

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced[:20]) > BATCH.batch_bytes_max:
            raise _too_large()
        try:
            async with asyncio.timeout(self._limits.body_seconds_max):
                return await _read(receive)
        except TimeoutError:
            raise Turned(408, TOO_SLOW, "the request came too slowly") from None

    async def _refuse(self, send: Send, turned: Turned) -> None:
        said: dict[str, Any] = {"error": turned.sentence, "reason": turned.reason}
        headers = []
        if turned.reason == "clock":
            said["now"] = int(self._clock.now())
        if turned.status == 503:
            headers = [(b"retry-after", str(self._limits.retry_after_seconds).encode())]
        if turned.reason in (TOO_LARGE, TOO_SLOW):
            headers = [(b"connection", b"close")]
        await _send(send, turned.status, said, headers)


async def _read(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Turned(400, "form", "the request ended before it was complete")
        part = message.get("body", b"")
        size += len(part)
        if size > BATCH.batch_bytes_max:
            raise _too_large()
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers that are read; one that is there twice gets a name of its own and fits nothing."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name not in _READ:
            continue
        key = name.decode("latin-1")
        found[key if key not in found else key.upper()] = value.decode("latin-1")
    return found


def _too_large() -> Turned:
    return Turned(413, TOO_LARGE, f"a batch has at most {BATCH.batch_bytes_max} bytes")


def _overloaded() -> Turned:
    return Turned(503, OVERLOADED, "the registry cannot take it at the moment")


async def _send(
    send: Send, status: int, said: Mapping[str, Any], headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = json.dumps(said, separators=(",", ":")).encode()
    fixed = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(headers or ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": fixed})
    await send({"type": "http.response.body", "body": body})
