"""The files of TLS, what is made of them, and whose a certificate is."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from dicom_node.echo import echo
from dicom_node.listener import Listener
from dicom_node.proof import Proof
from dicom_node.roster import IDENTITY_MISMATCH, Roster
from dicom_node.tls import Credentials, Files, TlsFault, expiries, faults_of, reason_of
from dicom_node.values import Peer
from tests.certificates import Authority
from tests.dicom_node.samples import LIMITS, Shelf


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def files(authority: Authority) -> Files:
    own = authority.issue("box")
    return Files(certificate=own.certificate, key=own.key, ca=authority.path)


def with_password(files: Files) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )


@pytest.mark.parametrize(
    ("spoil", "faults"),
    [
        (lambda files: None, []),
        (lambda files: files.key.unlink(), ["key: cannot be read: No such file or directory"]),
        (lambda files: files.key.write_text("x"), ["key: holds no private key in PEM form"]),
        (
            lambda files: files.key.write_bytes(files.ca.read_bytes()),
            ["key: holds no private key in PEM form"],
        ),
        (with_password, ["key: needs a password, and nobody is there to give it when the box starts"]),
        (
            lambda files: (files.certificate.write_text("x"), files.ca.write_text("x")),
            ["certificate: holds no certificate in PEM form", "ca: holds no certificate in PEM form"],
        ),
        (
            lambda files: files.certificate.write_bytes(files.ca.read_bytes()),
            ["key: does not belong to the certificate"],
        ),
    ],
)
def test_every_fault_of_the_files_is_named(
    files: Files, spoil: Callable[[Files], object], faults: list[str]
) -> None:
    spoil(files)
    assert faults_of(files) == faults
    if faults:
        with pytest.raises(TlsFault) as caught:
            Credentials(files).look()
        assert caught.value.faults == faults


def test_until_when_the_files_are_valid_is_told(authority: Authority) -> None:
    own = authority.issue("box", days=3)
    told = dict(expiries(Files(certificate=own.certificate, key=own.key, ca=authority.path)))
    now = datetime.now(tz=UTC)
    assert timedelta(days=2) < told["certificate"] - now < timedelta(days=4)
    assert timedelta(days=29) < told["ca"] - now < timedelta(days=31)


def test_nothing_older_than_tls_1_2_and_nothing_without_forward_secrecy_is_offered(files: Files) -> None:
    made = Credentials(files)
    for context in (made.server(), made.client(checks_name=True), made.client(checks_name=False)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
        suites = [suite for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]
        assert suites
        assert all(suite["kea"] == "kx-ecdhe" and suite["aead"] for suite in suites)
    assert made.client(checks_name=True).check_hostname
    assert made.server() is made.server(), "files that stay are read once"


PROOF = Proof(
    sha256="ab" * 32, hosts=frozenset({"pacs.example", "10.0.0.1", "::1"}), titles=frozenset({"PACS"})
)


@pytest.mark.parametrize(
    ("ae_title", "host", "pins", "bound"),
    [
        ("PACS", "", (), True),
        ("pacs", "", (), False),
        ("OTHER", "pacs.example", (), True),
        ("OTHER", "PACS.Example.", (), True),
        ("OTHER", "10.0.0.1", (), True),
        ("OTHER", "0:0:0:0:0:0:0:1", (), True),
        ("OTHER", "10.0.0.2", (), False),
        ("OTHER", "www.pacs.example", (), False),
        ("OTHER", "", (), False),
        ("OTHER", "", ("cd" * 32, "ab" * 32), True),
        ("PACS", "pacs.example", ("cd" * 32,), False),
    ],
)
def test_a_certificate_is_bound_by_its_fingerprint_or_else_by_its_names(
    ae_title: str, host: str, pins: tuple[str, ...], bound: bool
) -> None:
    peer = Peer(name="p", ae_title=ae_title, host=host, port=0, certificate_sha256=frozenset(pins))
    assert PROOF.is_of(peer) is bound
    rejection = Roster("BOX", [peer]).rejection(calling_ae=ae_title, called_ae="BOX", proof=PROOF)
    assert rejection is (None if bound else IDENTITY_MISMATCH)


def test_a_fingerprint_takes_the_place_of_the_name_when_we_call(authority: Authority, files: Files) -> None:
    pacs = authority.issue("pacs", address="192.0.2.1")
    made = Credentials(Files(certificate=pacs.certificate, key=pacs.key, ca=authority.path))
    known = Peer(name="box", ae_title="BOX", host="127.0.0.1", port=0)
    listener = Listener(
        ae_title="PACS",
        host="127.0.0.1",
        port=0,
        peers=[known],
        intake=Shelf(),
        limits=LIMITS,
        tls=made,
    )
    port = listener.start()
    own = Credentials(files)
    sha256 = fingerprint(pacs.certificate)

    def word(*pins: str) -> str:
        peer = Peer(
            name="pacs",
            ae_title="PACS",
            host="127.0.0.1",
            port=port,
            tls=own,
            certificate_sha256=frozenset(pins),
        )
        return echo(peer, calling_ae="BOX", limits=LIMITS).word

    try:
        assert word() == "echo.tls_wrong_name"
        assert word(sha256) == "echo.ok"
        assert word("0" * 64) == "echo.tls_wrong_certificate"
        files.key.unlink()
        assert word(sha256) == "echo.ok", "what was loaded stays in force"
        own = Credentials(files)
        assert word(sha256) == "echo.tls_files"
    finally:
        listener.stop()


def fingerprint(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def test_what_ends_without_a_reason_has_one_too() -> None:
    assert reason_of(ConnectionResetError()) == "cut"
    assert reason_of(TimeoutError()) == "silent"
