"""Who asks, when a device does: its signature over the request, held against the key in the database.

Promises: the body that a handler gets is the one that was signed.
Never: answers why a device is not known, beside that the clocks differ: that a technician must be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from appliance.sync.signing import SignatureFault, keyid, verify
from provisioning.registry.database import certificates, devices
from provisioning.registry.database.devices import Device
from provisioning.registry.database.words import DeviceState
from provisioning.registry.server.room import Room


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that a device signed."""

    device: Device
    body: bytes


class Unsigned(Exception):
    """The request is not one of a device that is known; the word is one of `SignatureFault` or `unknown`."""

    def __init__(self, word: str) -> None:
        """Keep the word."""
        super().__init__(word)
        self.word = word


def asked(room: Room, request: Request, body: bytes, *, ended: bool = False) -> Asked:
    """Return who signed a request; with `ended` an enrolled device whose certificate ended is known too.

    Raises:
        Unsigned: nobody who is known did.
    """
    now, path = room.clock.now(), _path(request)
    headers = request.headers
    try:
        device_id = keyid(headers)
        with room.database.read() as tx:
            device = devices.find(tx, device_id) if ended else certificates.holder(tx, device_id, at=now)
        if device is None or device.state is not DeviceState.ENROLLED:
            raise Unsigned("unknown")
        verify(device.public_key, method=request.method, path=path, body=body, headers=headers, now=now)
    except SignatureFault as fault:
        raise Unsigned(fault.word) from fault
    return Asked(device=device, body=body)


def unsigned(room: Room, word: str) -> Response:
    """Answer a request that nobody known signed."""
    said: dict[str, object] = {"error": "No device that is known here signed this.", "reason": "unknown"}
    if word == "clock":
        said = {
            "error": "The clocks of the device and of the registry differ by more than 300 seconds.",
            "reason": "clock",
            "now": int(room.clock.now()),
        }
    return JSONResponse(said, 401)


def _path(request: Request) -> str:
    """Return the path as it was sent, without what a proxy took off or `root_path` adds (RFC 9421 2.2.6)."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return str(raw.decode("ascii", "replace")).partition("?")[0]
