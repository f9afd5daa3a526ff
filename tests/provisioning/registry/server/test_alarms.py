"""What is absent becomes an alert once, ends once, and is told outside until somebody has it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from appliance.console.forms import FormKey
from appliance.core.alarming import AlarmKind
from appliance.core.clock import HeldClock, as_text
from appliance.health.kinds import bit_of
from provisioning.registry.database import alerts, certificates, devices, telemetry
from provisioning.registry.database.alerts import Alert
from provisioning.registry.database.certificates import Issued
from provisioning.registry.database.engine import Database
from provisioning.registry.database.telemetry import Batch
from provisioning.registry.database.words import DeviceState
from provisioning.registry.server import alarms, notices
from provisioning.registry.server.access import Doorkeeper
from provisioning.registry.server.limits import DEFAULT
from provisioning.registry.server.room import Room
from provisioning.registry.server.setting import Setting, Ways
from tests.provisioning.registry.given import enrolled, machine

DAY = 86_400
SECONDS_MAX = 20


def made(folder: Path, database: Database, clock: HeldClock, **ways: Any) -> Room:
    return Room(
        setting=Setting(folder=folder, clock=clock, ways=Ways(**ways)),
        database=database,
        doorkeeper=Doorkeeper(database, clock, DEFAULT),
        form_key=FormKey(),
    )


@pytest.fixture
def dialect(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture
def room(folder: Path, database: Database, clock: HeldClock) -> Room:
    return made(folder, database, clock)


def standing(database: Database, *, every: bool = False) -> list[tuple[str, str]]:
    with database.read() as tx:
        found = alerts.listed(tx, only_open=not every, limit=50)
    return sorted((one.kind, one.subject) for one in found)


def says(database: Database, device: str, seq: int, clock: HeldClock, **values: Any) -> None:
    batch = Batch(device=device, records=[machine(seq, clock.now(), **values)])
    with database.write() as tx:
        telemetry.store(tx, [batch], at=clock.now())


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)
def test_a_silent_device_is_one_alert_until_it_is_heard(room: Room, database: Database, clock: HeldClock):
    device = enrolled(database, at=clock.now()).id
    alarms.look(room)
    assert standing(database) == []
    clock.advance(DEFAULT.silent_seconds + 1)
    for _ in range(3):
        alarms.look(room)
    assert standing(database) == [("device.silent", device)]
    says(database, device, 1, clock)
    alarms.look(room)
    assert standing(database) == []
    clock.advance(DEFAULT.silent_seconds + 1)
    alarms.look(room)
    assert standing(database, every=True) == [("device.silent", device)] * 2


def test_a_planned_silence_is_none_until_it_is_over(room: Room, database: Database, clock: HeldClock):
    device = enrolled(database, at=clock.now()).id
    until = clock.now() + 10 * DAY
    with database.write() as tx:
        devices.change_slot(tx, "box-1", offline_until=until)
    clock.advance(10 * DAY + DEFAULT.silent_seconds - 1)
    alarms.look(room)
    assert standing(database) == []
    clock.advance(2)
    alarms.look(room)
    assert standing(database) == [("device.silent", device)]


def test_a_device_that_is_gone_is_not_missed(room: Room, database: Database, clock: HeldClock):
    first = enrolled(database, "a", at=clock.now())
    second = enrolled(database, "b", at=clock.now())
    clock.advance(DAY)
    alarms.look(room)
    with database.write() as tx:
        devices.set_state(tx, first.id, DeviceState.DECOMMISSIONED)
        devices.change_slot(tx, "b", retired_at=clock.now())
    alarms.look(room)
    assert standing(database) == []
    assert {subject for _, subject in standing(database, every=True)} == {first.id, second.id}


def test_a_certificate_that_ends_is_one_alert_until_it_is_renewed(
    room: Room, database: Database, clock: HeldClock
):
    device = enrolled(database, at=clock.now()).id

    def issue(serial: str, ends_at: float) -> None:
        with database.write() as tx:
            one = Issued(
                serial=serial, device=device, slot="box-1", pem="", begins_at=clock.now(), ends_at=ends_at
            )
            certificates.add(tx, one)

    issue("1", clock.now() + DEFAULT.certificate_seconds + 60)
    alarms.look(room)
    assert standing(database) == []
    clock.advance(120)
    says(database, device, 1, clock)
    alarms.look(room)
    assert standing(database) == [("certificate.ends", device)]
    issue("2", clock.now() + 90 * DAY)
    alarms.look(room)
    assert standing(database) == []


def test_lists_that_end_soon_are_an_alert(room: Room, database: Database, clock: HeldClock, folder: Path):
    place = folder / "public" / "image" / "metadata"
    soon, late = as_text(clock.now() + DAY), as_text(clock.now() + 300 * DAY)
    (place / "1.root.json").write_text(json.dumps({"signed": {"expires": soon}}))
    (place / "9.root.json").write_text(json.dumps({"signed": {"expires": late}}))
    (place / "10.root.json").write_text(json.dumps({"signed": {"expires": late}}))
    (place / "timestamp.json").write_text(json.dumps({"signed": {"expires": soon}}))
    (place / "1.snapshot.json").write_text("torn")
    alarms.look(room)
    assert standing(database) == [("metadata.ends", "image.timestamp")]


def test_what_a_box_raises_is_an_alert_until_it_says_otherwise(
    room: Room, database: Database, clock: HeldClock
):
    device = enrolled(database).id
    says(database, device, 1, clock, alarms=bit_of(AlarmKind.NO_ARRIVALS) | bit_of(AlarmKind.DISK_LOW))
    alarms.look(room)
    assert standing(database) == [("box.disk_low", device), ("box.no_arrivals", device)]
    says(database, device, 2, clock, alarms=bit_of(AlarmKind.DISK_LOW))
    alarms.look(room)
    assert standing(database) == [("box.disk_low", device)]
    says(database, device, 3, clock, alarms=0)
    alarms.look(room)
    assert standing(database) == []


@dataclass
class Heard:
    """What a stand-in was told, and how it answers."""

    status: int = 200
    notices: list[dict[str, Any]] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    port: int = 0


@contextmanager
def running(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(SECONDS_MAX)
        server.server_close()


@pytest.fixture
def webhook() -> Iterator[Heard]:
    """A server that takes notices."""
    heard = Heard()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            heard.notices.append(json.loads(self.rfile.read(length)))
            self.send_response(heard.status)
            if 300 <= heard.status < 400:
                self.send_header("Location", f"http://127.0.0.1:{heard.port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    heard.port = server.server_address[1]
    with running(server):
        yield heard


@pytest.fixture
def relay() -> Iterator[Heard]:
    """A mail relay (RFC 5321) that takes whatever comes."""
    heard = Heard()

    class Taking(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 relay\r\n")
            while line := self.rfile.readline():
                word = line.split()[0].upper() if line.split() else b""
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    heard.mails.append(b"".join(lines).decode())
                    self.wfile.write(b"250 taken\r\n")
                elif word == b"QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                else:
                    self.wfile.write(b"250 well\r\n")

    class Relay(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Relay(("127.0.0.1", 0), Taking)
    heard.port = server.server_address[1]
    with running(server):
        yield heard


def silent(room: Room, database: Database, clock: HeldClock) -> str:
    device = enrolled(database, at=clock.now()).id
    clock.advance(DEFAULT.silent_seconds + 1)
    alarms.look(room)
    return device


def newest(database: Database) -> Alert:
    with database.read() as tx:
        return alerts.listed(tx, only_open=False, limit=1)[0]


def test_an_alert_and_its_end_are_each_told_once(
    folder: Path, database: Database, clock: HeldClock, webhook: Heard
):
    room = made(folder, database, clock, webhook=f"http://127.0.0.1:{webhook.port}/alerts?team=1")
    device, opened_at = silent(room, database, clock), clock.now()
    for _ in range(3):
        notices.tell(room)
    says(database, device, 1, clock)
    alarms.look(room)
    for _ in range(3):
        notices.tell(room)
    assert [(one["kind"], one["slot"], one["closed_at"]) for one in webhook.notices] == [
        ("device.silent", "box-1", None),
        ("device.silent", "box-1", clock.now()),
    ]
    assert webhook.notices[0]["subject"] == device
    assert webhook.notices[0]["opened_at"] == opened_at


@pytest.mark.parametrize("status", [500, 302, 404])
def test_what_was_not_taken_is_told_again(
    folder: Path, database: Database, clock: HeldClock, webhook: Heard, status: int
):
    room = made(folder, database, clock, webhook=f"http://127.0.0.1:{webhook.port}/")
    silent(room, database, clock)
    webhook.status = status
    notices.tell(room)
    assert newest(database).told_open_at is None
    webhook.status = 204
    notices.tell(room)
    notices.tell(room)
    assert len(webhook.notices) == 2
    assert newest(database).told_open_at == clock.now()


def test_nobody_is_told_for_ever(folder: Path, database: Database, clock: HeldClock, webhook: Heard):
    room = made(folder, database, clock, webhook=f"http://127.0.0.1:{webhook.port}/")
    silent(room, database, clock)
    clock.advance(DEFAULT.tell_seconds_max + 1)
    notices.tell(room)
    assert webhook.notices == []


def test_a_webhook_that_is_not_there_holds_nothing_up(folder: Path, database: Database, clock: HeldClock):
    room = made(folder, database, clock, webhook="http://127.0.0.1:1/")
    silent(room, database, clock)
    notices.tell(room)
    assert newest(database).told_open_at is None


def test_an_alert_goes_out_by_mail(folder: Path, database: Database, clock: HeldClock, relay: Heard):
    room = made(
        folder,
        database,
        clock,
        mail_relay=f"127.0.0.1:{relay.port}",
        mail_from="registry@example.org",
        mail_to="oncall@example.org",
    )
    device = silent(room, database, clock)
    notices.tell(room)
    notices.tell(room)
    (mail,) = relay.mails
    assert "Subject: Readside registry: device.silent at box-1" in mail
    assert "To: oncall@example.org" in mail
    assert device in mail


def test_a_relay_without_tls_is_not_used_where_tls_is_wanted(
    folder: Path, database: Database, clock: HeldClock, relay: Heard
):
    room = made(
        folder,
        database,
        clock,
        mail_relay=f"127.0.0.1:{relay.port}",
        mail_from="registry@example.org",
        mail_to="oncall@example.org",
        mail_tls=True,
    )
    silent(room, database, clock)
    notices.tell(room)
    assert relay.mails == []
    assert newest(database).told_open_at is None
