"""What is done to DICOM under TLS: strangers, impostors, old protocols, bad certificates, new files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from dicom_node.echo import echo
from dicom_node.limits import Limits
from dicom_node.listener import Listener
from dicom_node.roster import Suspect
from dicom_node.send import send
from dicom_node.tls import Credentials, Files
from dicom_node.values import Peer
from tests.certificates import Authority, Pair
from tests.dicom_node import raw
from tests.dicom_node.raw import VERIFICATION, RawPeer
from tests.dicom_node.samples import IMPLICIT, LIMITS, Sample, Shelf, path_of, real, sample, sample_of
from tests.dicom_node.test_send import free_port, outgoing
from tests.faults.conftest import QUICK
from tests.faults.test_wire import closed, idle_again, said, silent, wait_for

Logs = Sequence[Mapping[str, Any]]
REJECTED = "Rejected Permanent"


def credentials(pair: Pair, trusted: Authority, **changes: Any) -> Credentials:
    return Credentials(Files(certificate=pair.certificate, key=pair.key, ca=trusted.path), **changes)


def fingerprint(pair: Pair) -> str:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).fingerprint(hashes.SHA256()).hex()


@dataclass
class Site:
    """A box under TLS, its authority, and the certificates of two peers; OTHER's is bound to OTHER alone."""

    authority: Authority
    foreign: Authority
    folder: Path
    shelf: Shelf
    suspects: list[Suspect]
    port: int = 0

    def pair(self, name: str, **changes: Any) -> Pair:
        return self.authority.issue(name, address="192.0.2.1", **changes)

    def dcmtk(self, tool: str, pair: Pair, calling_ae: str, *more: object) -> tuple[int, str]:
        """Call the box by one of DCMTK's tools; return its exit status and what it said."""
        where = shutil.which(tool)
        if where is None:
            pytest.skip(f"{tool} of DCMTK is not installed")
        titles = ["-v", "-aet", calling_ae, "-aec", "BOX", "-ta", "10", "-td", "10"]
        tls = ["+tls", pair.key, pair.certificate, "+cf", self.authority.path]
        command = [where, *titles, *tls, "127.0.0.1", self.port, *more]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def s_client(self, *options: object) -> subprocess.CompletedProcess[str]:
        """Shake hands by OpenSSL's own client."""
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", *options]
        return subprocess.run(
            list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )


@pytest.fixture
def site(tmp_path: Path, shelf: Shelf) -> Site:
    return Site(
        authority=Authority(tmp_path / "ours"),
        foreign=Authority(tmp_path / "theirs", "foreign"),
        folder=tmp_path,
        shelf=shelf,
        suspects=[],
    )


@pytest.fixture
def box(site: Site) -> Iterator[Callable[..., Listener]]:
    """Start a box; PINNED is known by the fingerprint it is given."""
    started: list[Listener] = []

    def start(*, pinned: Sequence[str] = (), tls: Credentials | None = None, **changes: Any) -> Listener:
        own = tls or credentials(site.authority.issue("box"), site.authority)
        peers = [
            Peer(name="ct", ae_title="CTSCAN", host="", port=0, may=frozenset({"store"})),
            Peer(name="other", ae_title="OTHER", host="", port=0, may=frozenset({"store"})),
            Peer(name="pinned", ae_title="PINNED", host="", port=0, certificate_sha256=frozenset(pinned)),
        ]
        listener = Listener(
            ae_title="BOX",
            host="127.0.0.1",
            port=0,
            peers=peers,
            intake=site.shelf,
            limits=Limits(**{**QUICK, **changes}),
            on_suspect=site.suspects.append,
            tls=own,
        )
        started.append(listener)
        site.port = listener.start()
        return listener

    yield start
    for listener in started:
        listener.stop()


@contextmanager
def secured(site: Site, pair: Pair) -> Iterator[RawPeer]:
    """A peer made of bytes, under TLS."""
    context = credentials(pair, site.authority).client(checks_name=False)
    with RawPeer(context.wrap_socket(socket.create_connection(("127.0.0.1", site.port), 10))) as peer:
        yield peer


def test_f01_silent_and_half_handshakes_cost_a_good_peer_nothing(
    site: Site, box: Callable[..., Listener], logs: Logs
) -> None:
    threads = threading.active_count() + 1
    listener = box(tls_handshake_seconds_max=2.0)
    hello = bytes.fromhex("16030100c8010000c40303")
    with silent(site.port, 25) as mute, silent(site.port, 25, hello) as half:
        assert site.dcmtk("echoscu", site.pair("CTSCAN"), "CTSCAN")[0] == 0
        assert all(closed(connection) for connection in [*mute, *half])
    assert said(logs, "gate.handshake_timeout")
    assert site.suspects == [], "silence is no crime"
    assert idle_again(listener, threads)


def test_dcmtk_stores_under_tls_and_the_bytes_are_the_same(site: Site, box: Callable[..., Listener]) -> None:
    box()
    names = ("CT_small.dcm", "MR_small.dcm")
    code, text = site.dcmtk("storescu", site.pair("CTSCAN"), "CTSCAN", *map(path_of, names))
    assert code == 0, text
    plain = Shelf()
    listener = Listener(
        ae_title="BOX",
        host="127.0.0.1",
        port=0,
        peers=[Peer(name="ct", ae_title="CTSCAN", host="", port=0, may=frozenset({"store"}))],
        intake=plain,
        limits=Limits(**QUICK),
    )
    try:
        titles = ["-aet", "CTSCAN", "-aec", "BOX", "127.0.0.1", str(listener.start())]
        subprocess.run(["storescu", *titles, *map(str, map(path_of, names))], check=True, timeout=60)
    finally:
        listener.stop()
    assert [one.data for one in site.shelf.arrivals] == [one.data for one in plain.arrivals]
    assert len(plain.arrivals) == 2


def test_our_sender_under_tls_reaches_our_listener_byte_for_byte(
    site: Site, box: Callable[..., Listener]
) -> None:
    box()
    knowns = [sample(SOPInstanceUID=f"2.25.{n}") for n in range(20)]
    large = sample(SOPInstanceUID="2.25.99", PatientComments="x" * 10_000)
    own = credentials(site.pair("CTSCAN"), site.authority)
    to = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=site.port, tls=own)
    objects = [outgoing(known) for known in [*knowns, large]]
    words = {one.word for one in send(to, calling_ae="CTSCAN", objects=objects, limits=LIMITS)}
    assert words == {"courier.accepted"}
    assert [one.data for one in site.shelf.arrivals] == [known.data for known in [*knowns, large]]


@pytest.mark.parametrize("calling_ae", ["CTSCAN", "PINNED"])
def test_f12_a_known_title_with_another_certificate_is_rejected(
    site: Site, box: Callable[..., Listener], logs: Logs, calling_ae: str
) -> None:
    mine = site.pair("PINNED")
    box(pinned=[fingerprint(mine)])
    other = site.pair("OTHER")
    with secured(site, other) as peer:
        peer.send(raw.associate_rq(calling_ae))
        assert peer.read() == (3, b"\0\1\1\3")
    (line,) = said(logs, "roster.identity_mismatch")
    assert (line["calling_ae"], line["address"]) == (calling_ae, "127.0.0.1")
    assert said(logs, "roster.shown")[0]["certificate_sha256"] == fingerprint(other)
    (suspect,) = site.suspects
    assert suspect == Suspect(
        word="roster.identity_mismatch",
        reason="another_certificate",
        address="127.0.0.1",
        calling_ae=calling_ae,
    )
    code, text = site.dcmtk("storescu", other, calling_ae, path_of("CT_small.dcm"))
    assert (code != 0, REJECTED in text, site.shelf.arrivals) == (True, True, [])
    assert site.dcmtk("echoscu", other, "OTHER")[0] == 0, "under its own title it is welcome"


def test_f12_a_fingerprint_binds_whatever_the_certificate_says(
    site: Site, box: Callable[..., Listener]
) -> None:
    nameless = site.pair("WHOEVER")
    box(pinned=["0" * 64, fingerprint(nameless)])
    assert site.dcmtk("echoscu", nameless, "PINNED")[0] == 0
    assert site.dcmtk("echoscu", site.pair("PINNED"), "PINNED")[0] != 0, "its name is not enough then"


def test_f12_no_certificate_ends_the_handshake(site: Site, box: Callable[..., Listener], logs: Logs) -> None:
    box()
    assert site.s_client("-tls1_2").returncode != 0
    assert wait_for(lambda: bool(said(logs, "tls.refused")))
    assert said(logs, "tls.refused")[0]["reason"] == "no_certificate"
    assert [one.reason for one in site.suspects] == ["no_certificate"]


def test_f12_a_peer_that_has_tls_is_not_taken_in_the_clear(site: Site, shelf: Shelf, logs: Logs) -> None:
    own = credentials(site.pair("CTSCAN"), site.authority)
    peers = [
        Peer(name="ct", ae_title="CTSCAN", host="", port=0, tls=own),
        Peer(name="pinned", ae_title="PINNED", host="", port=0, certificate_sha256=frozenset({"0" * 64})),
        Peer(name="old", ae_title="OLD", host="", port=0),
    ]
    plain = Listener(
        ae_title="BOX", host="127.0.0.1", port=0, peers=peers, intake=shelf, limits=Limits(**QUICK)
    )
    port = plain.start()
    try:
        for title, answer in (("CTSCAN", 3), ("PINNED", 3), ("OLD", 2)):
            with RawPeer.call(port) as peer:
                peer.send(raw.associate_rq(title, contexts=[(VERIFICATION, IMPLICIT)]))
                assert peer.read()[0] == answer, title
    finally:
        plain.stop()
    assert len(said(logs, "roster.identity_mismatch")) == 2


OLD = "ALL:@SECLEVEL=0"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-tls1", "-cipher", OLD), "legacy"),
        (("-tls1_1", "-cipher", OLD), "legacy"),
        (("-tls1_2", "-cipher", "AES128-SHA256:@SECLEVEL=0"), "no_common_cipher"),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"), "no_common_cipher"),
        (("-tls1_2", "-cipher", "NULL-SHA256:@SECLEVEL=0"), "no_common_cipher"),
        (("-tls1_2", "-cipher", "AECDH-AES128-SHA:@SECLEVEL=0"), "no_common_cipher"),
    ],
)
def test_f13_old_protocols_and_weak_suites_are_refused(
    site: Site, box: Callable[..., Listener], logs: Logs, options: tuple[str, ...], reason: str
) -> None:
    box()
    own = site.pair("CTSCAN")
    done = site.s_client("-cert", own.certificate, "-key", own.key, *options)
    assert done.returncode != 0
    assert "alert" in done.stderr, done.stderr
    assert wait_for(lambda: bool(said(logs, "tls.refused")))
    assert said(logs, "tls.refused")[0]["reason"] == reason


def test_f13_the_versions_that_are_left_work(site: Site, box: Callable[..., Listener]) -> None:
    box()
    own = site.pair("CTSCAN")
    for option, suite in (("-tls1_2", "ECDHE"), ("-tls1_3", "TLS_")):
        done = site.s_client(
            "-cert", own.certificate, "-key", own.key, "-CAfile", site.authority.path, option
        )
        assert done.returncode == 0, done.stderr
        assert f"Cipher is {suite}" in done.stdout
        assert "Verify return code: 0" in done.stdout
        assert "TLS session ticket" not in done.stdout


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda site: site.pair("CTSCAN", days=-1), "expired"),
        (lambda site: site.foreign.issue("CTSCAN"), "foreign_ca"),
    ],
)
def test_f13_bad_certificates_are_refused(
    site: Site, box: Callable[..., Listener], logs: Logs, made: Callable[[Site], Pair], reason: str
) -> None:
    box()
    code, _ = site.dcmtk("storescu", made(site), "CTSCAN", path_of("CT_small.dcm"))
    assert (code != 0, site.shelf.arrivals) == (True, [])
    assert wait_for(lambda: bool(said(logs, "tls.refused")))
    assert said(logs, "tls.refused")[0]["reason"] == reason
    assert [(one.word, one.reason) for one in site.suspects] == [("tls.refused", reason)]


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (lambda site: site.authority.issue("pacs", days=-1), "echo.tls_expired"),
        (lambda site: site.foreign.issue("pacs"), "echo.tls_foreign_ca"),
        (lambda site: site.authority.issue("pacs", address="192.0.2.1"), "echo.tls_wrong_name"),
    ],
)
def test_f13_nothing_is_sent_to_who_cannot_prove_itself(
    site: Site, box: Callable[..., Listener], made: Callable[[Site], Pair], word: str
) -> None:
    """The listener plays the PACS: it would log any association that comes about."""
    box(tls=credentials(made(site), site.authority))
    own = credentials(site.pair("CTSCAN"), site.authority)
    to = Peer(name="pacs", ae_title="BOX", host="127.0.0.1", port=site.port, tls=own)
    assert echo(to, calling_ae="CTSCAN", limits=LIMITS).word == word
    (sent,) = send(to, calling_ae="CTSCAN", objects=[outgoing(sample())], limits=LIMITS)
    assert (sent.outcome, sent.word) == ("later", word.replace("echo", "courier"))
    assert site.shelf.arrivals == []


def test_f14_a_new_bundle_holds_for_new_handshakes_and_drops_nobody(
    site: Site, box: Callable[..., Listener], logs: Logs
) -> None:
    bundle = site.folder / "bundle.pem"
    shutil.copy(site.authority.path, bundle)
    own = site.authority.issue("box")
    changes: list[tuple[str, str]] = []
    box(
        tls=Credentials(
            Files(certificate=own.certificate, key=own.key, ca=bundle),
            notice=lambda word, reason: changes.append((word, reason)),
        )
    )
    stranger = site.foreign.issue("OTHER", address="192.0.2.1")
    with secured(site, site.pair("CTSCAN")) as peer:
        peer.send(raw.associate_rq())
        assert peer.read()[0] == 2
        assert site.dcmtk("echoscu", stranger, "OTHER")[0] != 0
        put(bundle, site.foreign.path.read_bytes())
        assert site.dcmtk("echoscu", stranger, "OTHER")[0] == 0
        assert site.dcmtk("echoscu", site.pair("CTSCAN"), "CTSCAN")[0] != 0, "the old authority is gone"
        peer.send(raw.stored(sample()))
        assert peer.status() == 0
        peer.send(raw.RELEASE)
        assert peer.rest() == [(6, bytes(4))]
    assert said(logs, "tls.reloaded")
    assert changes == [("tls.reloaded", "")]


def test_f14_a_bad_new_file_leaves_the_former_in_force(
    site: Site, box: Callable[..., Listener], logs: Logs
) -> None:
    own, another = site.authority.issue("box"), site.authority.issue("another")
    changes: list[tuple[str, str]] = []
    tls = credentials(own, site.authority, notice=lambda *said: changes.append(said))
    box(tls=tls)
    peer = site.pair("CTSCAN")
    former = own.key.read_bytes()
    for bad, fault in (
        (another.key.read_bytes(), "key: does not belong to the certificate"),
        (b"nothing", "key: holds no private key in PEM form"),
    ):
        put(own.key, bad)
        assert site.dcmtk("echoscu", peer, "CTSCAN")[0] == 0
        assert site.dcmtk("echoscu", peer, "CTSCAN")[0] == 0
        assert changes.pop() == ("tls.refused_files", fault)
        assert changes == [], "said once for each"
    put(own.key, former)
    tls.look()
    assert changes == [("tls.reloaded", "")]


def put(path: Path, data: bytes) -> None:
    """Put a file in another's place, as tools that renew certificates do."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


def test_our_sender_reaches_dcmtk_under_tls(site: Site, tmp_path: Path) -> None:
    storescp = shutil.which("storescp")
    if storescp is None:
        pytest.skip("storescp of DCMTK is not installed")
    pacs, port = site.authority.issue("pacs"), free_port()
    kept = tmp_path / "kept"
    kept.mkdir()
    tls = ["+tls", pacs.key, pacs.certificate, "+cf", site.authority.path]
    options = ["--bit-preserving", "+xa", "-aet", "PACS", "-od", kept]
    receiver = subprocess.Popen(
        list(map(str, [storescp, *options, *tls, port])),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    own = credentials(site.pair("BOX"), site.authority)
    knowns = [real("CT_small.dcm"), real("JPEG2000.dcm"), large_sample()]
    try:
        to = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, tls=own)
        assert wait_for(lambda: echo(to, calling_ae="BOX", limits=LIMITS).ok, 20)
        objects = [outgoing(known) for known in knowns]
        words = {one.word for one in send(to, calling_ae="BOX", objects=objects, limits=LIMITS)}
        foreign = credentials(site.foreign.issue("BOX"), site.authority)
        stranger = Peer(name="pacs", ae_title="PACS", host="127.0.0.1", port=port, tls=foreign)
        refused = echo(stranger, calling_ae="BOX", limits=LIMITS)
    finally:
        receiver.terminate()
        receiver.wait(10)
    assert words == {"courier.accepted"}
    assert {one.sop_instance_uid: one.data for one in map(sample_of, kept.iterdir())} == {
        known.sop_instance_uid: known.data for known in knowns
    }
    assert refused.word == "echo.tls_not_trusted"


def large_sample() -> Sample:
    """An instance of many TLS records."""
    return sample(SOPInstanceUID="2.25.7", PatientComments="x" * 10_000, ImageComments="y" * 10_000)


def test_no_plain_peer_is_served_by_the_port_under_tls(
    site: Site, box: Callable[..., Listener], logs: Logs
) -> None:
    box()
    with RawPeer.call(site.port) as peer:
        peer.send(raw.associate_rq())
        assert closed(peer.connection)
    assert wait_for(lambda: bool(site.suspects))
    assert site.suspects[0].reason == "not_tls"
