"""What tests of the registry begin with: slots, devices with keys of their own, records, a server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI

from appliance.health.codes import Kind
from appliance.health.schema import Record, encode
from appliance.sync.signing import sign
from appliance.sync.softkey import SoftwareKey
from provisioning.registry.database import devices
from provisioning.registry.database.devices import Slot
from provisioning.registry.database.engine import Database
from provisioning.registry.server.device import PATH

SECONDS_MAX = 20
RELEASE = 0xABCDEF012345


def key() -> SoftwareKey:
    return SoftwareKey(ec.generate_private_key(ec.SECP256R1()))


def enrolled(database: Database, slot: str = "box-1", at: float = 1.0, **words: Any) -> SoftwareKey:
    """A slot with a device in it."""
    made = key()
    with database.write() as tx:
        devices.add_slot(tx, Slot(name=slot, **words), at=at)
        devices.enrol(tx, made.id, slot=slot, serial="S1", public_key=made.public_pem.decode(), at=at)
    return made


def machine(seq: int, at: float, **values: Any) -> Record:
    return Record(seq=seq, at=int(at), kind=Kind.MACHINE, values=values or {"silent": 0})


def state(seq: int, at: float, **values: Any) -> Record:
    return Record(seq=seq, at=int(at), kind=Kind.STATE, values={"release": RELEASE, **values})


@dataclass
class Served:
    """A server of this process on loopback."""

    url: str
    app: FastAPI

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=SECONDS_MAX, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", timeout=SECONDS_MAX, **options)

    def batch(
        self,
        key: SoftwareKey,
        records: list[Record] | bytes,
        *,
        at: float,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send what a device sends."""
        body = records if isinstance(records, bytes) else encode(records)
        signed = sign(key, method="POST", path=PATH, body=body, at=at)
        return self.post(PATH, content=body, headers={**signed, **(headers or {})})


@contextmanager
def serving(app: FastAPI) -> Iterator[Served]:
    """Serve an application until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", app)
    finally:
        server.should_exit = True
        thread.join(SECONDS_MAX)
        listener.close()
