"""Who a peer is by the certificate it showed: a fingerprint, or the names that its authority wrote into it.

The chain was verified before, in the handshake; here it is only asked whose certificate it is.
"""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dicom_node.values import Peer


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A verified certificate.

    Attributes:
        sha256: fingerprint of its DER form, in hexadecimal digits.
        hosts: DNS names and addresses of its subject's alternative names, in lower case.
        titles: its common names and DNS names as they are written: what an AE title is compared with.
    """

    sha256: str
    hosts: frozenset[str] = frozenset()
    titles: frozenset[str] = frozenset()

    def is_of(self, peer: Peer) -> bool:
        """Say whether this certificate is bound to `peer`.

        Where the peer has fingerprints, it is one of those. Else it names the peer: the host that the peer
        is known by stands in its alternative names, or the AE title there or as its common name.
        """
        if peer.certificate_sha256:
            return self.sha256 in peer.certificate_sha256
        return peer.ae_title in self.titles or (bool(peer.host) and _host(peer.host) in self.hosts)


def proof_of(connection: object) -> Proof | None:
    """Return what the other side of a connection showed; none without TLS, or without a certificate."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    der, told = connection.getpeercert(binary_form=True), connection.getpeercert()
    if not der or not told:
        return None
    alternative = _pairs(told.get("subjectAltName", ()))
    subject = _pairs(pair for part in _parts(told.get("subject", ())) for pair in part)
    dns = [value for kind, value in alternative if kind == "DNS"]
    return Proof(
        sha256=hashlib.sha256(der).hexdigest(),
        hosts=frozenset(_host(value) for kind, value in alternative if kind in ("DNS", "IP Address")),
        titles=frozenset([*dns, *(value for kind, value in subject if kind == "commonName")]),
    )


def _parts(told: Any) -> Iterator[Any]:
    """Yield the parts of a subject as the ssl module gives them."""
    yield from told


def _pairs(told: Any) -> list[tuple[str, str]]:
    """Return kinds and values as the ssl module gives them."""
    return [(str(pair[0]), str(pair[1])) for pair in told]


def _host(text: str) -> str:
    """Write a host so that two spellings of one are equal; wildcards stay what they are and match nobody."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text.rstrip(".").lower()
