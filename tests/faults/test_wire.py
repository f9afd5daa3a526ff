"""What is done to the wire: for each case the reply, the word for the log, and what is true afterwards."""

from __future__ import annotations

import random
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.core.clock import HeldClock
from appliance.disk.space import Floor
from appliance.ledger import counts, studies
from appliance.ledger.engine import Ledger
from appliance.spool.intake import SpoolIntake
from appliance.spool.keeper import RowWriter
from appliance.spool.store import Spool
from dicom_node.listener import Listener
from dicom_node.memory import MemoryIncoming
from dicom_node.status import Status
from dicom_node.tls import Credentials, Files
from tests.certificates import Authority
from tests.dicom_node import raw
from tests.dicom_node.raw import LAST_COMMAND, MORE_DATA, VERIFICATION, RawPeer
from tests.dicom_node.samples import CT, EXPLICIT, IMPLICIT, Sample, Shelf, element, sample

Logs = Sequence[Mapping[str, Any]]
Listen = Callable[..., Listener]
ABORTED_BY_PROVIDER = (7, b"\0\0\2\0")
DEFLATED = "1.2.840.10008.1.2.1.99"


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def said(logs: Logs, word: str) -> list[Mapping[str, Any]]:
    return [line for line in logs if line["event"] == word]


def sent(peer: RawPeer, data: bytes) -> bool:
    """Whether the connection still takes bytes."""
    try:
        peer.send(data)
    except OSError:
        return False
    return True


def closed(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, within the socket's timeout."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def echoes(port: int, *, wrap: ssl.SSLContext | None = None) -> bool:
    """Whether a good peer is served from its connection to its release."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    if wrap is not None:
        connection = wrap.wrap_socket(connection)
    with RawPeer(connection) as peer:
        peer.send(raw.associate_rq("MONITOR", contexts=[(VERIFICATION, IMPLICIT)]))
        accepted, _ = peer.read()
        peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.echo_rq())))
        status = peer.status()
        peer.send(raw.RELEASE)
        return (accepted, status, peer.rest()) == (2, 0, [(6, bytes(4))])


def large(bytes_more: int) -> Sample:
    """A sound instance with so many bytes behind its pixels, each unlike its neighbours."""
    known = sample()
    more = random.Random(3).randbytes(bytes_more)
    return replace(known, data=known.data + element(0x7FE10010, b"OB", more))


def idle_again(listener: Listener, threads: int) -> bool:
    """Whether nothing is left of what was connected."""
    return wait_for(lambda: not listener._associations() and threading.active_count() <= threads)


def connected(listener: Listener) -> int:
    """How many connections the door counts."""
    assert listener._server is not None
    return len(listener._server.turnstile)


@contextmanager
def silent(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say `first` and no more."""
    with ExitStack() as stack:
        made = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            made.append(stack.enter_context(connection))
            connection.sendall(first)
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(authority: Authority) -> Credentials:
    box = authority.issue("box")
    return Credentials(Files(certificate=box.certificate, key=box.key, ca=authority.path))


@pytest.fixture
def client_tls(authority: Authority) -> ssl.SSLContext:
    """Contexts of a peer whose certificate names the host that all peers of these tests have."""
    own = authority.issue("peer")
    peer = Credentials(Files(certificate=own.certificate, key=own.key, ca=authority.path))
    return peer.client(checks_name=False)


def test_f01_silent_tls(
    listen: Listen, logs: Logs, server_tls: Credentials, client_tls: ssl.SSLContext
) -> None:
    threads = threading.active_count() + 1
    listener = listen(tls=server_tls, tls_handshake_seconds_max=2.0)
    port = listener.start()
    with silent(port, 50) as connections:
        assert echoes(port, wrap=client_tls)
        assert all(closed(connection) for connection in connections)
    (line,) = said(logs, "gate.handshake_timeout")
    assert line["address"] == "127.0.0.1"
    assert idle_again(listener, threads)


def test_f01_what_is_not_tls_is_named(listen: Listen, logs: Logs, server_tls: Credentials) -> None:
    port = listen(tls=server_tls).start()
    with RawPeer.call(port) as peer:
        peer.send(raw.associate_rq())
        assert closed(peer.connection)
    assert wait_for(lambda: bool(said(logs, "tls.refused")))
    assert said(logs, "tls.refused")[0]["reason"] == "not_tls"


def test_instances_come_whole_over_tls(
    listen: Listen, shelf: Shelf, server_tls: Credentials, client_tls: ssl.SSLContext
) -> None:
    port = listen(tls=server_tls).start()
    known = large(1 << 20)
    with RawPeer(client_tls.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10))) as peer:
        peer.send(raw.associate_rq())
        peer.read()
        for piece in (100, 16_000, 120_000):
            peer.send(raw.stored(known, piece=piece))
            assert peer.status() == Status.KEPT
        peer.send(raw.RELEASE)
        assert peer.rest() == [(6, bytes(4))]
    assert [one.data for one in shelf.arrivals] == [known.data] * 3


def test_f02_silent_tcp(listen: Listen, logs: Logs) -> None:
    threads = threading.active_count() + 1
    listener = listen(acse_seconds_max=1.0, associations_max=1)
    port = listener.start()
    with silent(port, 20) as connections:
        assert wait_for(lambda: len(listener._associations()) == 20)
        assert echoes(port), "a connection that says nothing is no association"
        assert all(closed(connection) for connection in connections)
    assert idle_again(listener, threads)
    assert len(said(logs, "gate.artim")) == 1, "a burst is one line"


@pytest.mark.parametrize("established", [False, True])
def test_f03_drip_pdu(listen: Listen, logs: Logs, shelf: Shelf, established: bool) -> None:
    listener = listen(pdu_seconds_max=0.5)
    port = listener.start()
    peer = RawPeer.associated(port) if established else RawPeer.call(port)
    with peer:
        stop = threading.Event()

        def drip() -> None:
            for byte in raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(sample()))):
                if stop.wait(0.1):
                    return
                try:
                    peer.send(bytes([byte]))
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert echoes(port)
        if established:
            assert peer.read() == ABORTED_BY_PROVIDER
        assert closed(peer.connection)
        stop.set()
        dripping.join(5)
    assert said(logs, "gate.pdu_deadline")
    assert not shelf.arrivals
    assert wait_for(lambda: not listener._associations())


def test_f04_giant_pdu(listen: Listen, logs: Logs) -> None:
    port = listen().start()
    assert echoes(port)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for kind in (1, 4):
        with RawPeer.call(port) as peer:
            peer.send(raw.pdu(kind, b"xyz", length=4_000_000_000))
            assert closed(peer.connection)
    (line,) = said(logs, "gate.pdu_too_long")
    assert line["bytes"] == 4_000_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "KiB; nothing was allocated"
    assert echoes(port)


def test_f05_oversize_pdata(listen: Listen, logs: Logs, shelf: Shelf) -> None:
    port = listen(pdu_bytes_max=16_384).start()
    known = large(100_000)
    with RawPeer.associated(port) as peer:
        peer.send(raw.stored(known, piece=16_384 - 6))
        assert peer.status() == Status.KEPT
        peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(known))))
        peer.send(raw.p_data(raw.value(1, MORE_DATA, known.data[: 16_384 - 5])))
        assert peer.rest() == [ABORTED_BY_PROVIDER]
    (line,) = said(logs, "gate.pdu_over_negotiated")
    assert line["bytes"] == 16_385
    assert len(shelf.arrivals) == 1


class Watched:
    """An intake that counts what was begun and what became of it."""

    def __init__(self) -> None:
        self.begun = self.abandoned = self.kept = 0

    def begin(self) -> MemoryIncoming:
        self.begun += 1
        outer = self

        class Incoming(MemoryIncoming):
            def abandon(self) -> None:
                outer.abandoned += 1
                super().abandon()

        return Incoming(self._keep)

    def _keep(self, _held: object) -> None:
        self.kept += 1


def test_f06_endless_dataset(listen: Listen, logs: Logs) -> None:
    intake = Watched()
    port = listen(intake=intake, instance_bytes_max=300_000).start()
    with RawPeer.associated(port) as peer:
        peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(sample()))))
        endless = raw.p_data(raw.value(1, MORE_DATA, bytes(50_000)))
        assert wait_for(lambda: not sent(peer, endless * 20))
    assert wait_for(lambda: intake.abandoned == 1)
    (line,) = said(logs, "receive.instance_too_large")
    assert line["bytes"] <= 350_000
    assert (intake.begun, intake.kept) == (1, 0)
    assert echoes(port)


def test_f06_the_abort_is_read_by_a_peer_that_stops_to_read(listen: Listen) -> None:
    port = listen(instance_bytes_max=100_000).start()
    with RawPeer.associated(port) as peer:
        peer.send(raw.p_data(raw.value(1, LAST_COMMAND, raw.store_rq(sample()))))
        for _ in range(4):
            peer.send(raw.p_data(raw.value(1, MORE_DATA, bytes(50_000))))
        assert peer.rest() == [ABORTED_BY_PROVIDER]


def test_f07_half_open_flood(listen: Listen, logs: Logs) -> None:
    listener = listen(connections_per_address_max=8)
    port = listener.start()
    with silent(port, 8) as first, silent(port, 30) as more:
        assert all(closed(connection) for connection in first + more[:-8])
        with socket.create_connection(("127.0.0.1", port), 10, source_address=("127.0.0.2", 0)) as other:
            peer = RawPeer(other)
            peer.send(raw.associate_rq())
            assert peer.read()[0] == 2, "another address is served"
        assert echoes(port), "and so is this one"
        more[-1].sendall(raw.associate_rq())
        assert RawPeer(more[-1]).read()[0] == 2, "those that came last stand"
    assert len(said(logs, "gate.gave_way")) == 1, "a burst is one line"
    assert wait_for(lambda: not listener._associations() and not connected(listener))


@pytest.mark.parametrize("speaks_tls", [False, True])
@pytest.mark.parametrize("first", [b"", b"\1\0\0"], ids=["silent", "three bytes"])
def test_f07_a_flood_beside_a_good_peer(
    listen: Listen,
    logs: Logs,
    server_tls: Credentials,
    client_tls: ssl.SSLContext,
    first: bytes,
    speaks_tls: bool,
) -> None:
    """At one address: what was associated before stands, and the good peer is let in again and again."""
    tls, wrap = (server_tls, client_tls) if speaks_tls else (None, None)
    listener = listen(tls=tls, connections_per_address_max=4, acse_seconds_max=60.0, network_seconds_max=60.0)
    port = listener.start()
    own = socket.create_connection(("127.0.0.1", port), timeout=10)
    with RawPeer(wrap.wrap_socket(own) if wrap else own) as standing:
        standing.send(raw.associate_rq())
        assert standing.read()[0] == 2
        for number in range(3):
            with silent(port, 20, first):
                assert echoes(port, wrap=wrap)
                assert number or not said(logs, "tls.refused"), "who is cut for another is no suspect"
        standing.send(raw.stored(sample()))
        assert standing.status() == Status.KEPT
    assert said(logs, "gate.gave_way")
    assert wait_for(lambda: not connected(listener))


def test_f07_who_never_spoke_gives_way_before_who_did(listen: Listen) -> None:
    port = listen(connections_per_address_max=3, acse_seconds_max=60.0, pdu_seconds_max=60.0).start()
    asked = raw.associate_rq()
    with silent(port, 1, asked[:50]) as spoke, silent(port, 2) as mute:
        assert echoes(port)
        assert closed(mute[0])
        spoke[0].sendall(asked[50:])
        assert RawPeer(spoke[0]).read()[0] == 2


def test_f07_an_association_never_gives_way(listen: Listen, logs: Logs) -> None:
    port = listen(connections_per_address_max=2, network_seconds_max=60.0).start()
    with RawPeer.associated(port) as one, RawPeer.associated(port) as other:
        with silent(port, 3) as more:
            assert all(closed(connection) for connection in more)
        for peer in (one, other):
            peer.send(raw.stored(sample()))
            assert peer.status() == Status.KEPT
    assert said(logs, "gate.address_cap")
    assert not said(logs, "gate.gave_way")


def test_f07_the_busiest_address_gives_way_where_the_door_is_full(listen: Listen, logs: Logs) -> None:
    port = listen(connections_max=6, acse_seconds_max=60.0).start()

    def calls(address: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), 10, source_address=(address, 0))

    with ExitStack() as stack:
        lone = stack.enter_context(calls("127.0.0.2"))
        stack.enter_context(silent(port, 5))
        newcomer = stack.enter_context(RawPeer(calls("127.0.0.3")))
        newcomer.send(raw.associate_rq())
        assert newcomer.read()[0] == 2
        lone.sendall(raw.associate_rq())
        assert RawPeer(lone).read()[0] == 2, "it was the oldest, but alone"
    assert [line["address"] for line in said(logs, "gate.gave_way")] == ["127.0.0.1"]


@pytest.mark.parametrize(
    "first",
    [b"", b"\1\0\0", raw.pdu(1, b"xyz", length=4_000_000_000), raw.pdu(2, bytes(68))],
    ids=["silent", "half", "giant", "wrong"],
)
def test_f07_a_connection_that_ended_before_it_asked_counts_no_more(listen: Listen, first: bytes) -> None:
    listener = listen(connections_per_address_max=2, acse_seconds_max=60.0)
    port = listener.start()
    for _ in range(3):
        with silent(port, 2, first):
            pass
        assert wait_for(lambda: not connected(listener))
    assert echoes(port)
    assert wait_for(lambda: not connected(listener)), "all of them were accepted by now"


def test_f07_too_many_connections_in_all_and_too_many_associations(listen: Listen, logs: Logs) -> None:
    port = listen(connections_max=2, associations_max=2).start()
    with RawPeer.associated(port), RawPeer.associated(port), silent(port, 1) as more:
        assert closed(more[0])
    assert said(logs, "gate.total_cap")
    port = listen(associations_max=2).start()
    with RawPeer.associated(port), RawPeer.associated(port), RawPeer.call(port) as third:
        third.send(raw.associate_rq())
        assert third.read() == (3, b"\0\2\3\2")
    assert said(logs, "node.full")


def test_f08_slow_association(listen: Listen, logs: Logs) -> None:
    listener = listen(network_seconds_max=0.5)
    with RawPeer.associated(listener.start()) as peer:
        assert peer.rest() == [(7, b"\0\0\0\0")]
    assert said(logs, "node.idle")
    assert wait_for(lambda: not listener._associations())


def test_f08_a_slow_data_set_is_not_idle_while_it_comes(listen: Listen, shelf: Shelf) -> None:
    port = listen(network_seconds_max=1.5).start()
    known = sample()
    with RawPeer.associated(port) as peer:
        for one in raw.messages(known, piece=len(known.data) // 4 + 1):
            peer.send(one)
            time.sleep(0.5)
        assert peer.status() == Status.KEPT
    assert len(shelf.arrivals) == 1


BAD: dict[str, bytes] = {
    "an unknown type": raw.pdu(0x2A, b"abcd"),
    "an item beyond its PDU": raw.pdu(4, raw.value(1, 3, b"abcdef")[:-2]),
    "an item of one byte": raw.pdu(4, b"\0\0\0\1\1"),
    "an item header cut": raw.pdu(4, b"\0\0\0"),
    "a release of no length": raw.pdu(5, b""),
    "an association within one": raw.associate_rq(),
    "an acceptance of nothing": raw.pdu(2, bytes(68)),
    "a command that is no command": raw.p_data(raw.value(1, 3, b"\1\2\3\4\5\6\7\10\11")),
    "a data set of no command": raw.p_data(raw.value(1, 2, b"abcdef")),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_f09_bad_pdu(listen: Listen, shelf: Shelf, logs: Logs, bad: bytes) -> None:
    listener = listen()
    port = listener.start()
    with RawPeer.associated(port) as peer:
        peer.send(raw.stored(sample()))
        assert peer.status() == Status.KEPT
        peer.send(bad)
        peer.connection.shutdown(socket.SHUT_WR)
        ends = peer.rest()
    assert ends in ([], [ABORTED_BY_PROVIDER], [(6, bytes(4))])
    assert wait_for(lambda: not listener._associations())
    assert len(shelf.arrivals) == 1
    assert echoes(port)


def test_f09_random_mutations(listen: Listen, shelf: Shelf) -> None:
    """Mutated bytes at any place of a conversation end it or are answered; what is kept is what was sent."""
    dice = random.Random(5)
    threads = threading.active_count() + 2
    listener = listen(pdu_seconds_max=1.0, network_seconds_max=2.0)
    port = listener.start()
    known = sample()
    whole = [raw.associate_rq(), raw.stored(known, piece=200), raw.RELEASE]
    for _ in range(150):
        twisted = bytearray(b"".join(whole))
        for _ in range(dice.randint(1, 4)):
            twisted[dice.randrange(len(twisted))] = dice.randrange(256)
        with RawPeer.call(port) as peer:
            try:
                peer.send(bytes(twisted))
                peer.connection.shutdown(socket.SHUT_WR)
                peer.rest()
            except OSError:
                continue
    assert idle_again(listener, threads)
    assert echoes(port)
    assert all(len(one.data) <= len(known.data) + 200 for one in shelf.arrivals)


@pytest.mark.parametrize(
    ("calling_ae", "called_ae", "reply"),
    [("CTSCAN", "OTHER", b"\0\1\1\7"), ("STRANGER", "BOX", b"\0\1\1\3")],
    ids=["f10_wrong_called_ae", "f11_unknown_calling_ae"],
)
def test_f10_f11_ae_titles(listen: Listen, logs: Logs, calling_ae: str, called_ae: str, reply: bytes) -> None:
    port = listen().start()
    with RawPeer.call(port) as peer:
        peer.send(raw.associate_rq(calling_ae, called_ae))
        assert peer.rest() == [(3, reply)]
    (line,) = said(logs, "node.refused_ae")
    assert line["reason"] == reply[-1]
    assert not said(logs, "node.association")


def test_f15_not_authorised(listen: Listen, logs: Logs, shelf: Shelf) -> None:
    intake = Watched()
    port = listen(intake=intake).start()
    known = large(500_000)
    with RawPeer.associated(port, calling_ae="MONITOR") as peer:
        peer.send(raw.stored(known, piece=100_000))
        assert peer.status() == Status.NOT_AUTHORISED
        peer.send(raw.RELEASE)
        assert peer.rest() == [(6, bytes(4))]
    assert said(logs, "receive.not_authorised")
    assert intake.begun == 0, "not a byte of it went anywhere"


def test_f16_unknown_context(listen: Listen, logs: Logs, shelf: Shelf) -> None:
    port = listen().start()
    contexts = [(CT, EXPLICIT), (CT, DEFLATED), ("1.2.3", EXPLICIT)]
    for context_id in (3, 5, 77):
        with RawPeer.call(port) as peer:
            peer.send(raw.associate_rq(contexts=contexts))
            _, body = peer.read()
            results = {body[at + 4]: body[at + 6] for at in _items(body, 0x21)}
            assert results == {1: 0, 3: 4, 5: 3}
            peer.send(raw.stored(sample(), context_id=context_id))
            assert peer.rest() == [(7, b"\0\0\0\0")]
    assert len(said(logs, "node.context_refused")) == 3
    assert not shelf.arrivals


def _items(body: bytes, kind: int) -> Iterator[int]:
    at = 68
    while at < len(body):
        if body[at] == kind:
            yield at
        at += 4 + int.from_bytes(body[at + 2 : at + 4], "big")


@pytest.mark.parametrize("how", ["abort", "reset", "close"])
def test_f17_abort_mid_instance(listen: Listen, logs: Logs, how: str) -> None:
    intake = Watched()
    listener = listen(intake=intake)
    port = listener.start()
    known = large(200_000)
    with RawPeer.associated(port) as peer:
        peer.send(raw.stored(known, piece=50_000))
        assert peer.status() == Status.KEPT
        peer.send(b"".join(list(raw.messages(known, piece=50_000))[:-1])[: -100 if how != "abort" else None])
        assert wait_for(lambda: intake.begun == 2)
        if how == "abort":
            peer.send(raw.ABORT)
        if how == "reset":
            peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert wait_for(lambda: intake.abandoned == 1 and not listener._associations())
    (line,) = said(logs, "receive.aborted")
    assert 0 < line["bytes"] <= len(known.data)
    with RawPeer.associated(port) as peer:
        peer.send(raw.stored(known, piece=50_000))
        assert peer.status() == Status.KEPT
    assert (intake.begun, intake.kept) == (3, 2)


def test_f17_an_abort_of_ours_in_mid_instance(listen: Listen) -> None:
    intake = Watched()
    listener = listen(intake=intake)
    with RawPeer.associated(listener.start()) as peer:
        peer.send(b"".join(list(raw.messages(sample(), piece=100))[:-1])[:-50])
        assert wait_for(lambda: intake.begun == 1)
        listener.drain(0.1)
        assert peer.rest() == [(7, b"\0\0\0\0")]
    assert (intake.abandoned, intake.kept) == (1, 0)


@pytest.fixture
def kept(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Iterator[tuple[SpoolIntake, RowWriter]]:
    """A spool on disk with its ledger, as a box has it."""
    spool, faults = Spool(tmp_path / "root"), list[str]()
    rows = RowWriter(ledger, spool, on_rows=lambda: None, on_fault=lambda: faults.append("rows"))
    intake = SpoolIntake(
        spool, Floor(tmp_path / "root", 0), rows, on_fault=lambda: faults.append("disk"), clock=clock
    )
    rows.start()
    intake.start()
    yield intake, rows
    intake.close()
    assert not faults


def finish(kept: tuple[SpoolIntake, RowWriter]) -> None:
    """Let everything that was acknowledged become rows."""
    intake, rows = kept
    intake.finish()
    rows.finish()


def test_f18_reply_lost(listen: Listen, kept: tuple[SpoolIntake, RowWriter], ledger: Ledger) -> None:
    listener = listen(intake=kept[0])
    port = listener.start()
    known = sample()
    with RawPeer.associated(port) as peer:
        peer.send(raw.stored(known))
        # The answer is never read.
    with RawPeer.associated(port) as peer:
        for _ in range(2):
            peer.send(raw.stored(known))
            assert peer.status() == Status.KEPT
        peer.send(raw.RELEASE)
        peer.rest()
    assert wait_for(lambda: not listener._associations())
    listener.stop()
    finish(kept)
    with ledger.read() as tx:
        assert len(studies.instances_of(tx, "2.25.102")) == 1
        assert counts.count(tx).balance == 0


def test_f19_interleaved_associations(
    listen: Listen, kept: tuple[SpoolIntake, RowWriter], ledger: Ledger
) -> None:
    listener = listen(intake=kept[0])
    port = listener.start()
    numbers = list(range(96))
    random.Random(7).shuffle(numbers)

    def send(sender: int) -> list[int]:
        with RawPeer.associated(port) as peer:
            statuses = []
            for number in numbers[sender::8]:
                known = sample(SOPInstanceUID=f"2.25.7.{number}", InstanceNumber=number)
                peer.send(raw.stored(known, piece=300))
                statuses.append(peer.status())
            return statuses

    with ThreadPoolExecutor(8) as pool:
        answers = [status for some in pool.map(send, range(8)) for status in some]
    assert answers == [Status.KEPT] * 96
    listener.stop()
    finish(kept)
    with ledger.read() as tx:
        found = studies.instances_of(tx, "2.25.102")
        assert {one.sop_instance_uid for one in found} == {f"2.25.7.{number}" for number in numbers}
        assert counts.count(tx).balance == 0


def test_several_listeners_share_one_port(listen: Listen) -> None:
    first = listen(reuse_port=True)
    port = first.start()
    assert listen(reuse_port=True, port=port).start() == port
    assert all(echoes(port) for _ in range(10))
    first.stop()
    assert all(echoes(port) for _ in range(10))


def test_f50_stop_and_upgrade_in_traffic(
    listen: Listen, logs: Logs, kept: tuple[SpoolIntake, RowWriter], ledger: Ledger
) -> None:
    """What runs ends well, who comes is asked to come again, and the new process finds all of it."""
    old = listen(intake=kept[0], reuse_port=True)
    port = old.start()
    images = [sample(SOPInstanceUID=f"2.25.50.{number}", InstanceNumber=number) for number in range(4)]
    draining = threading.Thread(target=old.drain, args=(10.0,))
    with RawPeer.associated(port) as running:
        running.send(raw.stored(images[0]))
        assert running.status() == Status.KEPT
        draining.start()
        assert wait_for(lambda: bool(said(logs, "node.draining")))
        with RawPeer.call(port) as early:
            early.send(raw.associate_rq())
            assert early.read() == (3, b"\0\2\3\1"), "rejected for now, by the provider, congestion"
        # On an association that stands everything goes on, however long the drain has asked for its end.
        for known in images[1:3]:
            running.send(raw.stored(known, piece=300))
            assert running.status() == Status.KEPT
        running.send(raw.RELEASE)
        assert running.rest() == [(6, bytes(4))]
    draining.join(10)
    assert not draining.is_alive()
    old.stop()
    new = listen(intake=kept[0], reuse_port=True, port=port)
    assert new.start() == port
    with RawPeer.associated(port) as again:
        for known in (images[0], images[3]):
            again.send(raw.stored(known))
            assert again.status() == Status.KEPT
        again.send(raw.RELEASE)
        again.rest()
    new.stop()
    finish(kept)
    with ledger.read() as tx:
        found = studies.instances_of(tx, "2.25.102")
        assert {one.sop_instance_uid for one in found} == {known.sop_instance_uid for known in images}
        assert counts.count(tx).balance == 0
    assert not said(logs, "receive.aborted")


def test_f50_what_does_not_end_in_time_is_aborted_and_was_not_acknowledged(
    listen: Listen, kept: tuple[SpoolIntake, RowWriter], ledger: Ledger
) -> None:
    listener = listen(intake=kept[0])
    port = listener.start()
    whole, half = sample(SOPInstanceUID="2.25.50.1"), sample(SOPInstanceUID="2.25.50.2")
    with RawPeer.associated(port) as peer:
        peer.send(raw.stored(whole))
        assert peer.status() == Status.KEPT
        peer.send(raw.stored(half, piece=200)[:-100])
        listener.drain(0.2)
        assert peer.rest() == [(7, b"\0\0\0\0")]
    listener.stop()
    finish(kept)
    with ledger.read() as tx:
        found = studies.instances_of(tx, "2.25.102")
        assert [one.sop_instance_uid for one in found] == [whole.sop_instance_uid]
