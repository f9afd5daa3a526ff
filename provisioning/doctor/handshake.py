"""One TLS handshake that proves the other side, and what it showed where the proof fails.

Never: sends anything behind the handshake.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from cryptography import x509

from dicom_node.tls import reason_of
from provisioning.doctor.road import Unreached, certificate_shown, name_in

Open: TypeAlias = Callable[[], socket.socket]


class Unproven(Exception):
    """No proof came about: the word of `dicom_node.tls.reason_of`, and a sentence with both issuers."""

    def __init__(self, reason: str, sentence: str) -> None:
        """Keep both."""
        super().__init__(sentence)
        self.reason, self.sentence = reason, sentence


def shake(open_line: Open, host: str, context: ssl.SSLContext, *, expected: str) -> x509.Certificate:
    """Shake hands with a host and return the certificate that it proved itself with.

    `expected` says for a person who should have issued it.

    Raises:
        Unreached: no connection came about.
        Unproven: the handshake failed.
    """
    try:
        with open_line() as line, context.wrap_socket(line, server_hostname=host) as secured:
            data = secured.getpeercert(binary_form=True) or b""
    except OSError as error:
        reason = reason_of(error)
        raise Unproven(reason, f"{reason}; {_shown(open_line, host, expected)}") from error
    return x509.load_der_x509_certificate(data)


def _shown(open_line: Open, host: str, expected: str) -> str:
    """Say what the other side shows, and what is expected, for a person to compare."""
    try:
        with open_line() as line:
            found = certificate_shown(line, host)
    except Unreached:
        found = None
    if found is None:
        return "no certificate was shown"
    return (
        f"shown: {name_in(found.subject)}, issued by {name_in(found.issuer)}, valid until "
        f"{found.not_valid_after_utc:%Y-%m-%d}; expected: {host}, issued by {expected}"
    )


def said_of(certificate: x509.Certificate) -> str:
    """Say until when a certificate holds, and who issued it."""
    return f"valid until {certificate.not_valid_after_utc:%Y-%m-%d}, issued by {name_in(certificate.issuer)}"


def authorities_in(ca: Path) -> str:
    """Name the authorities in a PEM file for a person."""
    try:
        return " or ".join(name_in(one.subject) for one in x509.load_pem_x509_certificates(ca.read_bytes()))
    except (OSError, ValueError):
        return "an authority that cannot be read"
