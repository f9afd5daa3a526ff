"""The guarded door: who may connect, how many, and how long a handshake may take.

Promises: the accept thread does nothing but accept; a silent or slow peer costs others nothing; connections
that have not associated do not count against associations; every refusal is a log word, not a flood of them.
Never: reads a byte of DICOM.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from pynetdicom import evt
from pynetdicom.transport import AssociationSocket, RequestHandler

from dicom_node.association import Ground, GuardedAssociation
from dicom_node.limits import Limits
from dicom_node.roster import OnSuspect, Suspect
from dicom_node.server import Server
from dicom_node.sockets import TlsConnection
from dicom_node.tls import Credentials, finish_handshake, reason_of

log = structlog.get_logger(__name__)


class Turnstile:
    """Counts connections by address; safe to ask from any thread."""

    def __init__(self, limits: Limits) -> None:
        """Count nothing yet."""
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def enter(self, address: str) -> bool:
        """Count one connection in, or say why it is turned away."""
        limits = self._limits
        with self._lock:
            total = self._counts.total()
            if total < limits.connections_max and self._counts[address] < limits.connections_per_address_max:
                self._counts[address] += 1
                return True
        self.warn("gate.total_cap" if total >= limits.connections_max else "gate.address_cap", address)
        return False

    def leave(self, address: str) -> None:
        """Count one connection out."""
        with self._lock:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def warn(self, word: str, address: str, **values: object) -> None:
        """Log a word once in a while for each address, with how often it was kept back."""
        self.warned(word, address, **values)

    def warned(self, word: str, address: str, **values: object) -> bool:
        """Do the same, and tell whether it was logged now."""
        now, key = time.monotonic(), (word, address)
        with self._lock:
            at, kept_back = self._said.get(key, (-self._limits.gate_log_seconds, 0))
            quiet = now - at < self._limits.gate_log_seconds
            if not quiet and len(self._said) >= self._limits.connections_max:
                self._said.clear()
            self._said[key] = (at, kept_back + 1) if quiet else (now, 0)
        if not quiet:
            log.warning(word, address=address, kept_back=kept_back, **values)
        return not quiet


class GuardedHandler(RequestHandler):
    """Sets one connection up, on a thread of its own."""

    server: GuardedServer

    def handle(self) -> None:
        """Shake hands where TLS is spoken, then start the association."""
        address = str(self.client_address[0])
        leave = _once(lambda: self.server.turnstile.leave(address))
        try:
            secured = self.server.secure(self.request, address)
            if secured is None:
                self.server.shutdown_request(self.request)
                leave()
                return
            self.request = secured
            self._associate(address, leave)
        except BaseException:
            leave()
            raise

    def _associate(self, address: str, leave: Callable[[], None]) -> None:
        warn = partial(self.server.turnstile.warn, address=address)
        association = GuardedAssociation(self.ae, self.server.ground, warn=warn, on_end=leave)
        association._server = self.server
        # The library finds a server's associations by this name.
        association.name = f"AcceptorThread@{datetime.now():%Y%m%d%H%M%S}"
        association.dul.name = association.name.replace("AcceptorThread", "UpperLayer")
        association.set_socket(AssociationSocket(association, client_socket=self.request))
        self._introduce(association)
        self._bind(association)
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        association.start()

    def _introduce(self, association: GuardedAssociation) -> None:
        """Tell an association who we are and who calls."""
        ours, entity = association.acceptor, self.ae
        ours.maximum_length = entity.maximum_pdu_size
        ours.ae_title = self.server.ae_title
        ours.address_info = self.local
        ours.implementation_class_uid = entity.implementation_class_uid
        ours.implementation_version_name = entity.implementation_version_name
        ours.supported_contexts = self.server.contexts
        association.requestor.address_info = self.remote

    def _bind(self, association: GuardedAssociation) -> None:
        """Bind the server's handlers."""
        for event in self.server.get_events():
            bound: Any = self.server.get_handlers(event)
            if isinstance(event, evt.NotificationEvent):
                for handler, arguments in bound:
                    association.bind(event, handler, arguments)
            elif bound:
                association.bind(event, *bound)


class GuardedServer(Server):
    """An accept loop with a turnstile, whose associations stream."""

    def __init__(
        self,
        *args: Any,
        ground: Ground,
        on_suspect: OnSuspect,
        tls: Credentials | None = None,
        reuse_port: bool = False,
        **kwargs: Any,
    ) -> None:
        """Take the library's arguments and what associations stand on.

        With `reuse_port` several processes may listen on one port, and the kernel shares connections out.
        """
        self.ground = ground
        self.turnstile = Turnstile(ground.reception.limits)
        self._tls, self._on_suspect = tls, on_suspect
        self._reuse_port = reuse_port
        super().__init__(*args, request_handler=GuardedHandler, **kwargs)

    def server_bind(self) -> None:
        """Bind the port."""
        assert self.socket is not None
        if self._reuse_port:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def verify_request(self, _request: Any, client_address: Any) -> bool:
        """Let a connection in or not; on the accept thread, so nothing here waits."""
        return self.turnstile.enter(str(client_address[0]))

    def secure(self, plain: socket.socket, address: str) -> socket.socket | None:
        """Return the connection to speak DICOM on, or nothing if the peer did not finish its handshake."""
        if self._tls is None:
            return plain
        seconds = self.ground.reception.limits.tls_handshake_seconds_max
        try:
            return shake_hands(plain, self._tls.server(), seconds_max=seconds)
        except TimeoutError:
            self.turnstile.warn("gate.handshake_timeout", address)
        except OSError as error:
            reason = reason_of(error)
            # What is kept from the log is kept from the audit trail too: a flood of them tells nothing more.
            if self.turnstile.warned("tls.refused", address, reason=reason):
                self._on_suspect(Suspect(word="tls.refused", reason=reason, address=address))
        return None


def shake_hands(plain: socket.socket, tls: ssl.SSLContext, *, seconds_max: float) -> socket.socket:
    """Take the server's part of a TLS handshake within `seconds_max`.

    Raises:
        TimeoutError: the peer was silent or slow.
        OSError: the peer offered what is not accepted, or went away.
    """
    tls.sslsocket_class = TlsConnection
    patience = plain.gettimeout()
    secured = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    assert isinstance(secured, TlsConnection)
    secured.send_seconds_max = patience or 0.0
    try:
        finish_handshake(secured, seconds_max=seconds_max)
    except BaseException:
        secured.close()
        raise
    return secured


def _once(action: Callable[[], None]) -> Callable[[], None]:
    """Return an action that happens the first time only."""
    left = [action]

    def act() -> None:
        if left:
            left.pop()()

    return act
