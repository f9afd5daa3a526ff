"""The load of `scripts/bench-registry`: signed heartbeats made beforehand, over connections that stay open.

Promises: what is sent is bounded by the list that was made; each wait is bounded; latency under an offered
load counts from the moment at which a request was due, not from when there was room to send it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from appliance.health.codes import Kind
from appliance.health.fields import Value
from appliance.health.schema import Record, encode
from appliance.sync.signing import sign
from appliance.sync.softkey import SoftwareKey
from provisioning.registry.server.device import PATH

ANSWER_SECONDS_MAX = 60.0
TURNAROUND = (0, 5, 10, 40, 25, 10, 5, 0, 0, 0, 0, 0)


@dataclass
class Sender:
    """A simulated device: its key, its slot, and the number of its last record."""

    key: SoftwareKey
    slot: str
    seq: int = 0


@dataclass
class Told:
    """What came back: seconds of each answer, and how often each status."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    elapsed: float = 0.0

    @property
    def taken(self) -> int:
        """Return how many were answered with 200."""
        return self.statuses.get(200, 0)

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def senders(count: int) -> list[Sender]:
    """Make simulated devices, each with a key of its own."""
    keys = (SoftwareKey(ec.generate_private_key(ec.SECP256R1())) for _ in range(count))
    return [Sender(key, f"slot-{number}") for number, key in enumerate(keys)]


def heartbeat(sender: Sender, at: int) -> list[Record]:
    """Return what a device with one release says each minute."""
    first, sender.seq = sender.seq + 1, sender.seq + 2
    state: dict[str, Value] = {
        "release": 0xABCDEF012345,
        "phase": 11,
        "reason": 1,
        "serving": True,
        "engine": 4,
        "stepped_down": False,
        "since": 480_000,
        "studies": at // 600 % 10_000 * 5,
        "failures": 0,
        "positives": 15,
        "turnaround": TURNAROUND,
    }
    machine: dict[str, Value] = {
        "version": 1_002_003,
        "up": at // 3600,
        "jobs_waiting": 0,
        "jobs_age": 0,
        "jobs_held": 0,
        "sends_waiting": 0,
        "sends_age": 0,
        "sends_dead": 0,
        "quarantined": 0,
        "balance": 0,
        "silent": 0,
        "alarms": 0,
        "disk_free": 400_000 - at % 1_000,
        "disk_free_percent": 41.5,
        "memory_free": 12_000 + at % 100,
        "memory_total": 64_000,
        "load": 1.25,
        "clock_offset": 0.01,
        "certificate_days": 60,
        "metadata_days": 6,
        "engine": 4,
        "gpu": 1,
        "gpu_temperature": 55.0,
        "gpu_power": 41.5,
        "gpu_memory_used": 8_000,
        "gpu_memory_total": 24_000,
        "lost": 0,
    }
    return [
        Record(seq=first, at=at, kind=Kind.STATE, values=state),
        Record(seq=first + 1, at=at, kind=Kind.MACHINE, values=machine),
    ]


def request(sender: Sender, records: Sequence[Record], *, path: str = PATH) -> bytes:
    """Return one signed request as it goes over the wire; it holds for five minutes."""
    body = encode(records)
    headers = sign(sender.key, method="POST", path=PATH, body=body, at=time.time())
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: registry",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def post(port: int, requests: Sequence[bytes], *, connections: int, rate: float | None = None) -> Told:
    """Send requests; `rate` a second if it is given, else as fast as they are answered."""
    return asyncio.run(_post(port, requests, connections, rate))


class _Line(asyncio.Protocol):
    """One connection with one request under way."""

    def __init__(self) -> None:
        self._read = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, separator, body = self._read.partition(b"\r\n\r\n")
        if not separator or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length and not self._answer.done():
            self._read = bytearray()
            self._answer.set_result(int(head.split(b" ", 2)[1]))

    async def ask(self, wire: bytes) -> int:
        """Send a request; return the status of its answer, 0 if the connection is gone."""
        if self._transport is None:
            return 0
        self._answer = asyncio.get_running_loop().create_future()
        # Head and body apart, as a box's HTTP client writes them.
        head, separator, body = wire.partition(b"\r\n\r\n")
        self._transport.write(head + separator)
        self._transport.write(body)
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await self._answer


async def _post(port: int, requests: Sequence[bytes], connections: int, rate: float | None) -> Told:
    loop, told, waiting = asyncio.get_running_loop(), Told(), iter(enumerate(requests))
    lines = [(await loop.create_connection(_Line, "127.0.0.1", port)) for _ in range(connections)]
    began = loop.time()

    async def work(line: _Line) -> None:
        for number, wire in waiting:
            due = began + number / rate if rate else loop.time()
            if (ahead := due - loop.time()) > 0:
                await asyncio.sleep(ahead)
            status = await line.ask(wire)
            told.seconds.append(loop.time() - due)
            told.statuses[status] = told.statuses.get(status, 0) + 1

    await asyncio.gather(*(work(line) for _, line in lines))
    told.elapsed = loop.time() - began
    for transport, _ in lines:
        transport.close()
    return told
