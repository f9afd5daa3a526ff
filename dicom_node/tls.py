"""TLS for DICOM (PS3.15 B.12, BCP 195): contexts out of files, which are read anew when they change.

Promises: TLS 1.2 at least, suites with forward secrecy and authenticated encryption only; both sides show a
certificate; files that cannot be used leave the former ones in force, and that is said.
Never: falls back to an older protocol or to none.
"""

from __future__ import annotations

import os
import select
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from dicom_node.sockets import TlsConnection

log = structlog.get_logger(__name__)

# RFC 9325 4.2. The suites of TLS 1.3 are all good and not chosen here. Level 2: keys of 112 bits and more.
_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=2"
)
_OPTIONS: Final = (
    ssl.OP_NO_COMPRESSION
    | ssl.OP_NO_RENEGOTIATION
    | ssl.OP_NO_TICKET
    | ssl.OP_CIPHER_SERVER_PREFERENCE
    | ssl.OP_SINGLE_ECDH_USE
)

# OpenSSL's X509_V_ERR_..., and its names for what else ends a handshake.
_CERTIFICATE_REASONS: Final = {
    9: "not_yet_valid",
    10: "expired",
    23: "revoked",
    26: "wrong_purpose",
    62: "wrong_name",
    64: "wrong_name",
    66: "weak_certificate",
    67: "weak_certificate",
    68: "weak_certificate",
}
_REASONS: Final = {
    "unsupported_protocol": "legacy",
    "version_too_low": "legacy",
    "tlsv1_alert_protocol_version": "legacy",
    "no_shared_cipher": "no_common_cipher",
    "sslv3_alert_handshake_failure": "no_common_cipher",
    "peer_did_not_return_a_certificate": "no_certificate",
    "tlsv13_alert_certificate_required": "no_certificate",
    "wrong_version_number": "not_tls",
    "http_request": "not_tls",
    "tlsv1_alert_unknown_ca": "not_trusted",
    "sslv3_alert_bad_certificate": "not_trusted",
    "sslv3_alert_certificate_unknown": "not_trusted",
    "sslv3_alert_certificate_expired": "not_trusted",
    "sslv3_alert_unsupported_certificate": "not_trusted",
    "tlsv1_alert_access_denied": "not_trusted",
}

_Stamp: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]
# A word for the log ("tls.reloaded", "tls.refused_files") and the reason behind it.
Notice: TypeAlias = Callable[[str, str], None]


@dataclass(frozen=True, kw_only=True)
class Files:
    """PEM files: our certificate with its chain, its private key, and the authorities we trust."""

    certificate: Path
    key: Path
    ca: Path


class TlsFault(Exception):
    """The files cannot be used; `faults` names each file by its part and says what is wrong with it."""

    def __init__(self, faults: Iterable[str]) -> None:
        """Keep the sentences."""
        self.faults = list(faults)
        super().__init__("; ".join(self.faults))


def faults_of(files: Files) -> list[str]:
    """Say what is wrong with files, all of it at once; nothing when they can be used."""
    faults: list[str] = []
    data = {field.name: _read(getattr(files, field.name), field.name, faults) for field in fields(files)}
    own = _certificates(data["certificate"], "certificate", faults)
    _certificates(data["ca"], "ca", faults)
    key = _public_key(data["key"], faults)
    if own and key and key != _spki(own[0].public_key()):
        faults.append("key: does not belong to the certificate")
    return faults


def expiries(files: Files) -> list[tuple[str, datetime]]:
    """Return until when our certificate and the last of the authorities are valid, each with its part.

    Raises:
        TlsFault: a file cannot be read.
    """
    faults: list[str] = []
    found = [
        (name, _certificates(_read(path, name, faults), name, faults))
        for name, path in (("certificate", files.certificate), ("ca", files.ca))
    ]
    if faults:
        raise TlsFault(faults)
    own, trusted = (one for _, one in found)
    return [
        ("certificate", own[0].not_valid_after_utc),
        ("ca", max(one.not_valid_after_utc for one in trusted)),
    ]


def _read(path: Path, name: str, faults: list[str]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        faults.append(f"{name}: cannot be read: {error.strerror}")
        return b""


def _certificates(data: bytes, name: str, faults: list[str]) -> list[x509.Certificate]:
    """Return the certificates of a PEM file; a file that was not read has its fault already."""
    if not data:
        return []
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        faults.append(f"{name}: holds no certificate in PEM form")
        return []


def _public_key(data: bytes, faults: list[str]) -> bytes:
    """Return the public half of a private key, encoded."""
    if not data:
        return b""
    try:
        return _spki(serialization.load_pem_private_key(data, None).public_key())
    except TypeError:
        faults.append("key: needs a password, and nobody is there to give it when the box starts")
    except (ValueError, UnsupportedAlgorithm):
        faults.append("key: holds no private key in PEM form")
    return b""


def _spki(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _nobody(_word: str, _reason: str) -> None:
    """Do nothing: the default for `notice`."""


@dataclass(frozen=True, kw_only=True)
class _Contexts:
    """What was made of the files as they were at `stamp`."""

    stamp: _Stamp
    server: ssl.SSLContext
    by_name: ssl.SSLContext
    by_fingerprint: ssl.SSLContext


class Credentials:
    """The contexts of a set of files, for both directions; safe to ask from any thread.

    A handshake that has begun, and an association that stands, keep the context they began with.
    """

    def __init__(
        self, files: Files, *, notice: Notice = _nobody, callers: ssl.VerifyMode = ssl.CERT_REQUIRED
    ) -> None:
        """Read nothing yet; `notice` hears of each change, on the thread that found it.

        `callers` is whether those who call us must, may or need not show a certificate.
        """
        self._files, self._notice, self._callers = files, notice, callers
        self._lock = threading.Lock()
        self._contexts: _Contexts | None = None
        self._refused: _Stamp | None = None

    def look(self) -> None:
        """See whether the files changed, and use what is in them.

        Raises:
            TlsFault: they cannot be used, and never could.
        """
        self._current()

    def server(self) -> ssl.SSLContext:
        """Return what accepts connections; peers have to show a certificate. Raises: as `look`."""
        return self._current().server

    def client(self, *, checks_name: bool) -> ssl.SSLContext:
        """Return what opens connections; without the check of names, the caller knows the certificate.

        Raises: as `look`.
        """
        contexts = self._current()
        return contexts.by_name if checks_name else contexts.by_fingerprint

    def _current(self) -> _Contexts:
        with self._lock:
            stamp = _stamp(self._files)
            former = self._contexts
            if former is not None and stamp in (former.stamp, self._refused):
                return former
            try:
                self._contexts = made = _made(self._files, stamp)
                made.server.verify_mode = self._callers
            except TlsFault as fault:
                if former is None:
                    raise
                self._refused = stamp
                log.error("tls.refused_files", reason=str(fault))
                self._notice("tls.refused_files", str(fault))
                return former
            if former is not None:
                log.info("tls.reloaded")
                self._notice("tls.reloaded", "")
            return made


def _stamp(files: Files) -> _Stamp:
    """Return what changes when a file does."""
    return tuple(_stamp_of(getattr(files, field.name)) for field in fields(files))


def _stamp_of(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def _made(files: Files, stamp: _Stamp) -> _Contexts:
    if faults := faults_of(files):
        raise TlsFault(faults)
    server = _context(ssl.PROTOCOL_TLS_SERVER, files)
    server.verify_mode = ssl.CERT_REQUIRED
    # Without tickets nothing is resumed in TLS 1.3, and in TLS 1.2 only from this context, which is replaced
    # when the files are: whoever is not trusted any more cannot go on with an old session.
    server.num_tickets = 0
    by_name = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    # RFC 9525: a host stands in the subject's alternative names.
    by_name.hostname_checks_common_name = False
    by_fingerprint = _context(ssl.PROTOCOL_TLS_CLIENT, files)
    by_fingerprint.check_hostname = False
    return _Contexts(stamp=stamp, server=server, by_name=by_name, by_fingerprint=by_fingerprint)


def _context(protocol: int, files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    context.set_ciphers(_SUITES)
    try:
        # Without a password of ours OpenSSL would ask for one at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
        context.load_verify_locations(files.ca)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsFault([f"certificate, key or ca: OpenSSL does not take it ({reason_of(error)})"]) from error
    return context


def finish_handshake(secured: TlsConnection, *, seconds_max: float) -> None:
    """Shake hands within `seconds_max`, whichever side we are; the connection does not block afterwards.

    Raises:
        TimeoutError: the peer was silent or slow.
        OSError: the peer offered what is not accepted, or went away; `reason_of` says which.
    """
    deadline = time.monotonic() + seconds_max
    secured.setblocking(False)
    while True:
        try:
            secured.do_handshake()
            return
        except ssl.SSLWantReadError:
            _await(secured, select.POLLIN, deadline)
        except ssl.SSLWantWriteError:
            _await(secured, select.POLLOUT, deadline)


def _await(secured: TlsConnection, what: int, deadline: float) -> None:
    """Wait for a socket until `deadline`."""
    poll = select.poll()
    poll.register(secured, what)
    if not poll.poll(max(0.0, (deadline - time.monotonic()) * 1000)):
        raise TimeoutError


def reason_of(error: BaseException) -> str:
    """Say in one word why a handshake failed: OpenSSL's own where we have no better one."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_REASONS.get(error.verify_code, "foreign_ca")
    if isinstance(error, TimeoutError):
        return "silent"
    if isinstance(error, ssl.SSLError) and error.reason:
        reason = error.reason.lower()
        return _REASONS.get(reason, reason)
    return "cut"
