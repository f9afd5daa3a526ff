"""Measure what one process of the registry's server takes: heartbeats, backlogs, a roll-out over bad links.

usage: scripts/bench-registry [--modes heartbeat drain rollout] [--databases sqlite postgresql] [--devices N]
Beside the server stands a bare FastAPI echo with the same uvicorn, given the same bytes in the same run: the
ratio says what signature, schema and database cost, whatever the machine. CPU seconds of the server (and of
PostgreSQL) are told beside the clock, which is worth little where others use the machine.
Every load is bounded by its options. Only this machine is used; PostgreSQL is a private one, with fsync.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import uvicorn
from fastapi import FastAPI, Request

from appliance.demo.box import free_ports
from appliance.health.codes import Kind
from appliance.health.fields import Value
from appliance.health.schema import Record
from provisioning.registry.book import Book
from provisioning.registry.database import tables, telemetry
from provisioning.registry.database.engine import open_database, url_of
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.run import uvicorn_options
from scripts.bench_registry_load import Sender, heartbeat, post, request, senders
from tests.appliance.ledger.conftest import Cluster, _binaries, _server_user

BASE_URL: Final = "/api/device/v1/batch"
START_SECONDS_MAX: Final = 120.0
DAY_SECONDS: Final = 86_400
MINUTE: Final = 60
FLEET: Final = 10_000
ECHO: Final = "--echo-port"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server under test: its port, and its processes' CPU."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Return the CPU seconds it used since it started."""
        return _cpu(self.process)


def _cpu(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            # Of children that ended, the parent has their times.
            total += times.user + times.system + times.children_user + times.children_system
    return total


def main() -> None:
    """Measure and tell."""
    options = _options()
    if options.echo_port is not None:
        _echo(options.echo_port)
        return
    found: dict[str, Any] = {"cores": os.cpu_count(), "devices": options.devices}
    with tempfile.TemporaryDirectory(prefix="readside-bench-registry-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        for database in options.databases:
            with _database(database, folder) as (url, server):
                found[database] = _measured(options, folder / database, url, server)
        if "rollout" in options.modes:
            found["rollout"] = _rollout(options, folder / "rollout")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--modes", nargs="+", default=["heartbeat", "drain"], help="heartbeat, drain, rollout"
    )
    parser.add_argument("--databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--devices", type=int, default=FLEET, help="simulated devices")
    parser.add_argument("--requests", type=int, default=20_000, help="in each measurement as fast as it goes")
    parser.add_argument("--connections", type=int, default=256, help="open at once")
    parser.add_argument("--offered", type=float, nargs="*", default=[FLEET / MINUTE, 10 * FLEET / MINUTE])
    parser.add_argument("--offered-seconds", type=float, default=15.0)
    parser.add_argument("--drain-devices", type=int, default=4, help="devices that come back")
    parser.add_argument("--drain-days", type=int, default=30, help="for how long they were away")
    parser.add_argument("--rollout-devices", type=int, default=200)
    parser.add_argument("--rollout-mb", type=int, default=200, help="size of the release")
    parser.add_argument("--rollout-cut-mb", type=int, default=64, help="after which each link breaks")
    parser.add_argument("--rollout-at-once", type=int, default=16)
    parser.add_argument("--json", type=Path, help="write what was measured here as well")
    parser.add_argument(ECHO, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _measured(
    options: argparse.Namespace, folder: Path, url: str, database: psutil.Process | None
) -> dict[str, Any]:
    """Measure one database."""
    Book(folder=folder / "registry", passphrase="bench").create(folder / "keys")
    found: dict[str, Any] = {}
    if "heartbeat" in options.modes:
        found["heartbeat"] = _heartbeats(options, folder / "registry", url, database)
    if "drain" in options.modes:
        found["drain"] = _drain(options, folder / "registry", url, database)
    return found


def _heartbeats(
    options: argparse.Namespace, registry: Path, url: str, database: psutil.Process | None
) -> list[dict[str, Any]]:
    fleet = senders(options.devices)
    _enrol(url_of(registry, url), fleet)
    rounds = _Rounds(fleet)
    told = []
    with _echo_server() as echo, _server(registry, url) as server:
        post(server.port, rounds.take(options.connections), connections=options.connections)
        for rate in (None, *options.offered):
            count = options.requests if rate is None else int(rate * options.offered_seconds)
            for name, running in (("echo", echo), ("registry", server)):
                if name == "echo" and rate is not None:
                    continue
                wires = rounds.take(count, path="/echo" if name == "echo" else BASE_URL)
                told.append(_line(name, rate, running, database, wires, options.connections))
    return told


def _line(
    name: str,
    rate: float | None,
    running: Running,
    database: psutil.Process | None,
    wires: Sequence[bytes],
    connections: int,
) -> dict[str, Any]:
    before = running.cpu(), _cpu(database) if database else 0.0
    told = post(running.port, wires, connections=connections, rate=rate)
    own = running.cpu() - before[0]
    beside = _cpu(database) - before[1] if database else 0.0
    return _say(
        {
            "what": name,
            "offered_per_second": rate,
            "requests": len(wires),
            "bytes_each": round(sum(map(len, wires)) / len(wires)),
            "statuses": told.statuses,
            "per_second": told.taken / told.elapsed,
            "p50_ms": 1000 * told.quantile(0.5),
            "p99_ms": 1000 * told.quantile(0.99),
            "cpu_seconds": own,
            "per_cpu_second": told.taken / own if own else 0.0,
            "database_cpu_seconds": beside,
        }
    )


class _Rounds:
    """Heartbeats of the whole fleet, minute after minute of a time of their own."""

    def __init__(self, fleet: Sequence[Sender]) -> None:
        self._fleet, self._next, self._at = fleet, 0, int(time.time()) // 900 * 900

    def take(self, count: int, *, path: str = BASE_URL) -> list[bytes]:
        """Return the next requests, signed now."""
        made = []
        for _ in range(count):
            minute, place = divmod(self._next, len(self._fleet))
            sender = self._fleet[place]
            made.append(request(sender, heartbeat(sender, self._at + MINUTE * minute), path=path))
            self._next += 1
        return made


def _drain(
    options: argparse.Namespace, registry: Path, url: str, database: psutil.Process | None
) -> dict[str, Any]:
    """Let devices come back that were away for days, with what their outbox held back."""
    fleet = senders(options.drain_devices)
    for one in fleet:
        one.slot = f"away-{one.slot}"
    address = url_of(registry, url)
    _enrol(address, fleet)
    rows, size = _held(address)
    minutes = options.drain_days * DAY_SECONDS // MINUTE
    wires = [wire for one in fleet for wire in _backlog(one, minutes)]
    with _server(registry, url) as server:
        line = _line("drain", None, server, database, wires, len(fleet))
    more, larger = _held(address)
    days = options.drain_days * len(fleet)
    return _say(
        {
            **line,
            "devices": len(fleet),
            "days": options.drain_days,
            "posts_each": len(wires) / len(fleet),
            "wire_bytes_each": sum(map(len, wires)) / len(fleet),
            "records_sent_each_day": 2 * DAY_SECONDS // MINUTE + 24,
            "rows_each_day": (more - rows) / days,
            "bytes_each_day": (larger - size) / days,
            "gib_each_day_of_10000": (larger - size) / days * FLEET / 2**30,
        }
    )


def _backlog(sender: Sender, minutes: int) -> Iterator[bytes]:
    """Write a backlog as a box does: oldest first, two hundred minutes in a batch."""
    begin = int(time.time()) // 3600 * 3600 - minutes * MINUTE
    for start in range(0, minutes, 200):
        records: list[Record] = []
        for minute in range(start, min(start + 200, minutes)):
            records += heartbeat(sender, begin + minute * MINUTE)
            if minute % 60 == 59:
                sender.seq += 1
                records.append(_work(sender.seq, begin + minute * MINUTE))
        yield request(sender, records)


def _work(seq: int, at: int) -> Record:
    values: dict[str, Value] = {
        "hour": at // 3600,
        "release": 0xABCDEF012345,
        "done": 12,
        "positives": 5,
        "negatives": 7,
        "turnaround": (0, 0, 0, 6, 6, 0, 0, 0, 0, 0, 0, 0),
    }
    return Record(seq=seq, at=at, kind=Kind.WORK, values=values)


def _enrol(url: str, fleet: Sequence[Sender]) -> None:
    now = time.time()
    opened = open_database(url)
    with contextlib.closing(opened), opened.write() as tx:
        empty = {"site": "", "gpu": "", "vendor": "", "created_at": now}
        tx.execute(tables.slots.insert(), [{"name": one.slot, **empty} for one in fleet])
        same = {"serial": "", "state": "enrolled", "enrolled_at": now}
        rows = [
            {"id": one.key.id, "slot": one.slot, "public_key": one.key.public_pem.decode(), **same}
            for one in fleet
        ]
        tx.execute(tables.devices.insert(), rows)


def _held(url: str) -> tuple[int, int]:
    """Return how many records are there, and how many bytes the database has."""
    opened = open_database(url)
    with contextlib.closing(opened), opened.read() as tx:
        count = telemetry.count(tx)
        if opened.dialect == "postgresql":
            size = tx.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        else:
            pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
            size = pages * tx.exec_driver_sql("PRAGMA page_size").scalar_one()
    return count, int(size)


@contextlib.contextmanager
def _database(name: str, folder: Path) -> Iterator[tuple[str, psutil.Process | None]]:
    """Give an empty database and, where it is a server, its process."""
    if name == "sqlite":
        yield "", None
        return
    binaries = _binaries()
    if binaries is None:
        raise SystemExit("PostgreSQL's initdb and postgres are not installed")
    place = Path(tempfile.mkdtemp(prefix="readside-pg-"))
    cluster = Cluster(binaries=binaries, folder=place, user=_server_user())
    if cluster.user is not None:
        shutil.chown(place, cluster.user)
    data = str(place / "data")
    try:
        cluster.run("initdb", "-D", data, "-U", "readside", "-A", "trust", "-E", "UTF8", "--no-locale")
        options = f"-k {place} -c listen_addresses='' -c shared_buffers=256MB"
        cluster.run("pg_ctl", "-D", data, "-l", f"{place}/log", "-o", options, "-w", "-t", "60", "start")
        try:
            number = int((place / "data" / "postmaster.pid").read_text().splitlines()[0])
            yield cluster.url(cluster.database()), psutil.Process(number)
        finally:
            cluster.run("pg_ctl", "-D", data, "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _server(registry: Path, url: str) -> Iterator[Running]:
    (port,) = free_ports(1)
    command = ["-m", "appliance.cli", "registry", "serve", str(registry), "--port", str(port)]
    with _started([*command, "--database", url], port) as running:
        yield running


@contextlib.contextmanager
def _echo_server() -> Iterator[Running]:
    (port,) = free_ports(1)
    with _started(["-m", "scripts.bench_registry", ECHO, str(port)], port) as running:
        yield running


@contextlib.contextmanager
def _started(command: Sequence[str], port: int) -> Iterator[Running]:
    process = subprocess.Popen([sys.executable, *command])
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start")
            time.sleep(0.2)
        yield Running(port=port, process=psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/health/live")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def _echo(port: int) -> None:
    """Serve a FastAPI application that says how long a body is, and nothing else."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(asked: Request) -> dict[str, int]:
        return {"bytes": len(await asked.body())}

    @app.get("/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    uvicorn.run(app, host="127.0.0.1", port=port, **uvicorn_options(DEFAULT))


def _rollout(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Let devices fetch one file of the tree over links that break, going on by range each time."""
    registry, size = folder / "registry", options.rollout_mb * 10**6
    Book(folder=registry, passphrase="bench").create(folder / "keys")
    place = registry / "public" / "image" / "targets" / "bench.bin"
    digest = hashlib.sha256()
    with place.open("wb") as file:
        for _ in range(options.rollout_mb):
            piece = os.urandom(10**6)
            digest.update(piece)
            file.write(piece)
    with _server(registry, "") as server, ThreadPoolExecutor(options.rollout_at_once) as pool:
        before, began = server.cpu(), time.monotonic()
        cut = options.rollout_cut_mb * 10**6
        got = list(pool.map(lambda _: _fetch(server.port, size, cut), range(options.rollout_devices)))
        elapsed, used = time.monotonic() - began, server.cpu() - before
    whole = sum(one.digest == digest.hexdigest() for one in got)
    return _say(
        {
            "what": "rollout",
            "devices": len(got),
            "bytes_each": size,
            "cut_after_bytes": cut,
            "whole": whole,
            "requests_each": sum(one.requests for one in got) / len(got),
            "wire_bytes_each": sum(one.read for one in got) / len(got),
            "seconds": elapsed,
            "mb_per_second": size * whole / elapsed / 10**6,
            "cpu_seconds": used,
        }
    )


@dataclass(frozen=True)
class _Fetched:
    digest: str
    requests: int
    read: int


def _fetch(port: int, size: int, cut: int) -> _Fetched:
    """Fetch the file with a connection that breaks after `cut` bytes; bounded by the size and the cut."""
    digest, read, requests = hashlib.sha256(), 0, 0
    while read < size and requests <= size // cut + 1:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        line.request("GET", "/image/targets/bench.bin", headers={"Range": f"bytes={read}-"})
        answer, requests, left = line.getresponse(), requests + 1, cut
        while left and (piece := answer.read(min(left, 1 << 18))):
            digest.update(piece)
            read, left = read + len(piece), left - len(piece)
        line.close()
    return _Fetched(digest.hexdigest(), requests, read)


def _say(line: dict[str, Any]) -> dict[str, Any]:
    shown = {key: round(value, 2) if isinstance(value, float) else value for key, value in line.items()}
    print(json.dumps(shown), flush=True)
    return line


if __name__ == "__main__":
    main()
