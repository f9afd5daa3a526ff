"""The trail leaves over TLS, in order and whole: to a genuine rsyslog, and to receivers that misbehave."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.audit.limits import Limits
from appliance.audit.ship import Shipper
from appliance.audit.syslog import NotHandedOver, Repository, framed, packet
from appliance.ledger import audit as rows
from tests.appliance.audit.schema import faults
from tests.certificates import Authority
from tests.system.programs import need

SECONDS_MAX = 30.0
LIMITS = Limits(connect_seconds_max=5.0, send_seconds_max=2.0, drain_seconds_max=2.0, ship_rows_max=4)
_CONFIGURATION = """
global(
    workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
    defaultNetstreamDriverCAFile="{ca}"
    defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}"
)
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/port")
template(name="raw" type="string" string="%pri% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{folder}/received" template="raw")
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def shipper(ledger, trail, happened, authority):
    """Ten rows that wait, for a repository at a port that the test names."""
    for number in range(9):
        happened("console.login", user=f"user{number}")
    while trail.turn():
        pass
    mine = authority.issue("readside")

    def to(port: int, *, ca: Path | None = None) -> Shipper:
        repository = Repository(
            host="127.0.0.1", port=port, ca=ca or authority.path, certificate=mine.certificate, key=mine.key
        )
        return Shipper(ledger=ledger, repository=repository, host="box", limits=LIMITS)

    return to


def until(happened_yet, what: str):
    """Wait for a condition, not for ever."""
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := happened_yet()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


@contextmanager
def rsyslog(folder: Path, authority: Authority) -> Iterator[int]:
    """Run a genuine rsyslog that asks for a certificate; give its port."""
    folder.mkdir()
    pair = authority.issue("repository")
    text = _CONFIGURATION.format(folder=folder, ca=authority.path, certificate=pair.certificate, key=pair.key)
    (folder / "conf").write_text(text)
    command = [need("rsyslogd"), "-n", "-f", str(folder / "conf"), "-i", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        port = until(lambda: _read(folder / "port"), "rsyslog does not listen: " + _read(folder / "log"))
        yield int(port)
    finally:
        process.terminate()
        process.wait(SECONDS_MAX)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@contextmanager
def receiver(authority: Authority, behaviour, *, days: float = 30) -> Iterator[int]:
    """Listen with TLS; `behaviour` gets each connection in turn."""
    pair = authority.issue("receiver", days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS_MAX)
        thread = threading.Thread(target=_serve, args=(listening, context, behaviour), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        # Wakes the thread that waits for another connection.
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(SECONDS_MAX)


def _serve(listening, context, behaviour):
    try:
        while True:
            plain, _ = listening.accept()
            with plain, context.wrap_socket(plain, server_side=True) as secured:
                secured.settimeout(SECONDS_MAX)
                behaviour(secured)
    except OSError:
        return


def test_a_genuine_rsyslog_gets_every_message_once_and_in_order(ledger, shipper, authority, tmp_path):
    with ledger.read() as tx:
        bodies = [row.body for row in rows.rows_after(tx, 0, limit=100)]
    with rsyslog(tmp_path / "rsyslog", authority) as port:
        sending = shipper(port)
        assert sending.behind() == 10
        assert sending.turn() == 10
        assert (sending.behind(), sending.turn()) == (0, 0)
        received = tmp_path / "rsyslog" / "received"
        lines = until(
            lambda: len(_read(received).splitlines()) >= 10 and _read(received).splitlines(), "ten lines"
        )
    heads = {line.split("<", 1)[0].strip().removesuffix("\ufeff").strip() for line in lines}
    assert heads == {"85 readside DICOM+RFC3881"}
    arrived = ["<" + line.split("<", 1)[1] for line in lines]
    assert arrived == bodies
    assert [faults(body) for body in arrived] == [[]] * 10


def test_a_repository_that_was_away_gets_what_it_missed(shipper, authority, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with pytest.raises(NotHandedOver, match="no connection"):
        shipper(port).turn()
    with rsyslog(tmp_path / "rsyslog", authority) as there:
        assert shipper(there).turn() == 10


def test_after_a_break_the_rest_is_sent_from_where_it_was_left(ledger, shipper, authority):
    _add_rows(ledger, 800, body_bytes=30_000)
    connections: list[bytearray] = []

    def first_hangs_up(secured):
        got = bytearray()
        connections.append(got)
        while data := secured.recv(65_536):
            got.extend(data)
            if len(connections) == 1 and len(got) > 100_000:
                return

    with receiver(authority, first_hangs_up) as port:
        sending = shipper(port)
        # More than the buffers of both machines hold: it cannot all be handed over before the line breaks.
        with pytest.raises(NotHandedOver):
            sending.turn()
        with ledger.read() as tx:
            left = rows.shipped(tx, sending.repository.name)
        assert left < 810
        assert sending.turn() == 810 - left
        until(lambda: len(connections) == 2 and b" last" in connections[1], "the rest never came")
    assert connections[1].count(b"DICOM+RFC3881") == 810 - left


@pytest.mark.parametrize("fault", ["another authority", "expired"])
def test_nothing_is_sent_to_a_machine_that_cannot_prove_itself(shipper, authority, tmp_path, fault):
    got = bytearray()
    days = -1 if fault == "expired" else 30
    ca = Authority(tmp_path / "other", "other").path if fault == "another authority" else None
    with receiver(authority, lambda secured: got.extend(secured.recv(65_536)), days=days) as port:
        sending = shipper(port, ca=ca)
        with pytest.raises(NotHandedOver, match="does not verify"):
            sending.turn()
        assert sending.behind() == 10
    assert not got


def test_a_machine_that_stops_reading_is_given_up_and_only_what_it_took_is_recorded(
    ledger, shipper, authority
):
    _add_rows(ledger, 800, body_bytes=30_000)
    stop = threading.Event()
    with receiver(authority, lambda _secured: stop.wait(SECONDS_MAX)) as port:
        sending = shipper(port)
        try:
            with pytest.raises(NotHandedOver, match=r"broke|acknowledge"):
                sending.turn()
            assert sending.behind() > 0
        finally:
            stop.set()


def test_of_a_message_that_is_too_large_the_repository_gets_its_place(ledger, shipper, authority):
    _add_rows(ledger, 1, body_bytes=3_000_000)
    got = bytearray()

    def collect(secured):
        while data := secured.recv(65_536):
            got.extend(data)

    with receiver(authority, collect) as port:
        assert shipper(port).turn() == 11
        until(lambda: b'"row": 11' in got, "the row's place")
    assert len(got) < 100_000


def _add_rows(ledger, count: int, *, body_bytes: int) -> None:
    made = [
        {"seq": 11 + number, "event_id": None, "at": 1.0, "body": "x" * body_bytes, "hash": "sha256:00"}
        for number in range(count)
    ]
    made[-1]["body"] = "x" * body_bytes + " last"
    with ledger.write() as tx:
        rows.add(tx, made)


def test_a_machine_that_talks_no_tls_is_given_up(shipper):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 10)
            time.sleep(0.2)
            connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(NotHandedOver, match="no connection"):
            shipper(listening.getsockname()[1]).turn()
        thread.join(SECONDS_MAX)


def test_a_packet_is_what_the_syslog_protocol_asks_for():
    made = packet("<a/>", at=1_700_000_000.5, host="box", application="readside")
    head = f"<85>1 2023-11-14T22:13:20.500Z box readside {os.getpid()} DICOM+RFC3881 - "
    assert made == head.encode() + b"\xef\xbb\xbf<a/>"
    assert framed(made).startswith(f"{len(made)} <85>1 ".encode())
