"""The connection that calls a peer under TLS: connect, shake hands, see who it is, and only then speak.

Promises: not a byte of DICOM leaves before the peer has proven itself; what failed is kept as a word.
Never: goes on without TLS.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from dicom_node.limits import Limits
from dicom_node.proof import proof_of
from dicom_node.sockets import TlsConnection
from dicom_node.tls import finish_handshake, reason_of
from dicom_node.values import Peer


class CallingConnection(TlsConnection):
    """A connection under TLS to one peer."""

    peer: Peer
    handshake_seconds_max: float
    failure: str = ""

    def connect(self, address: Any) -> None:
        """Connect, shake hands within the time there is, and check whose certificate it is.

        Raises:
            OSError: one of the three failed; `failure` is set unless it was the first.
        """
        super().connect(address)
        try:
            finish_handshake(self, seconds_max=self.handshake_seconds_max)
        except OSError as error:
            self._fail(reason_of(error))
            raise
        proof = proof_of(self)
        pinned = self.peer.certificate_sha256
        if pinned and (proof is None or proof.sha256 not in pinned):
            self._fail("wrong_certificate")
            raise ConnectionAbortedError("the peer showed another certificate")

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive; in TLS 1.3 this is where a peer says that it does not take our certificate."""
        try:
            return super().recv(buflen, flags)
        except ssl.SSLError as error:
            self._fail(reason_of(error))
            raise

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or f"tls_{reason}"


def secured(plain: socket.socket, peer: Peer, limits: Limits) -> CallingConnection:
    """Return a connection to `peer` that is not connected yet.

    Raises:
        TlsFault: our own files cannot be used.
    """
    assert peer.tls is not None, "asked for where the peer has TLS"
    context = peer.tls.client(checks_name=not peer.certificate_sha256)
    context.sslsocket_class = CallingConnection
    wrapped = context.wrap_socket(plain, do_handshake_on_connect=False, server_hostname=peer.host)
    assert isinstance(wrapped, CallingConnection)
    wrapped.peer, wrapped.handshake_seconds_max = peer, limits.tls_handshake_seconds_max
    return wrapped
