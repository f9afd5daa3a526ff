"""The guarded door: who may connect, how many, and how long a handshake may take.

Promises: the accept thread does nothing but accept; a silent or slow peer costs others nothing; connections
that have not associated do not count against associations; every refusal is a log word, not a flood of them.
Never: reads a byte of DICOM.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from pynetdicom import evt
from pynetdicom.transport import AssociationSocket, RequestHandler

from dicom_node.association import Ground, GuardedAssociation
from dicom_node.roster import OnSuspect, Suspect
from dicom_node.server import Server
from dicom_node.sockets import TlsConnection
from dicom_node.tls import Credentials, finish_handshake, reason_of
from dicom_node.turnstile import Turnstile


class GuardedHandler(RequestHandler):
    """Sets one connection up, on a thread of its own."""

    server: GuardedServer

    def handle(self) -> None:
        """Shake hands where TLS is spoken, then start the association."""
        address, entered = str(self.client_address[0]), self.request
        secured = self.server.secure(entered, address)
        if secured is None:
            self.server.shutdown_request(entered)
            return
        self.request = secured
        self._associate(address, entered)

    def _associate(self, address: str, entered: socket.socket) -> None:
        turnstile = self.server.turnstile
        association = GuardedAssociation(
            self.ae,
            self.server.ground,
            warn=partial(turnstile.warn, address=address),
            on_end=partial(turnstile.leave, entered),
        )
        association._server = self.server
        # The library finds a server's associations by this name.
        association.name = f"AcceptorThread@{datetime.now():%Y%m%d%H%M%S}"
        association.dul.name = association.name.replace("AcceptorThread", "UpperLayer")
        association.set_socket(AssociationSocket(association, client_socket=self.request))
        self._introduce(association)
        # Before whoever judges the request.
        association.bind(evt.EVT_REQUESTED, lambda _event: turnstile.asked(entered))
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

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Let a connection in or not; on the accept thread, so nothing here waits."""
        return self.turnstile.enter(request, str(client_address[0]))

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that comes to no association, and count it out."""
        super().shutdown_request(request)
        self.turnstile.leave(request)

    def secure(self, plain: socket.socket, address: str) -> socket.socket | None:
        """Return the connection to speak DICOM on, or nothing if the peer did not finish its handshake."""
        if self._tls is None:
            return plain
        seconds = self.ground.reception.limits.tls_handshake_seconds_max
        try:
            return shake_hands(
                plain,
                self._tls.server(),
                seconds_max=seconds,
                on_wrapped=partial(self.turnstile.moved, plain),
            )
        except TimeoutError:
            self.turnstile.warn("gate.handshake_timeout", address)
        except OSError as error:
            if self.turnstile.gave_way(plain):
                return None
            reason = reason_of(error)
            # What is kept from the log is kept from the audit trail too: a flood of them tells nothing more.
            if self.turnstile.warned("tls.refused", address, reason=reason):
                self._on_suspect(Suspect(word="tls.refused", reason=reason, address=address))
        return None


def shake_hands(
    plain: socket.socket,
    tls: ssl.SSLContext,
    *,
    seconds_max: float,
    on_wrapped: Callable[[socket.socket], None],
) -> socket.socket:
    """Take the server's part of a TLS handshake within `seconds_max`.

    `on_wrapped` is told what `plain`, which is empty then, has become.

    Raises:
        TimeoutError: the peer was silent or slow.
        OSError: the peer offered what is not accepted, or went away.
    """
    tls.sslsocket_class = TlsConnection
    patience = plain.gettimeout()
    secured = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    assert isinstance(secured, TlsConnection)
    secured.send_seconds_max = patience or 0.0
    on_wrapped(secured)
    try:
        finish_handshake(secured, seconds_max=seconds_max)
    except BaseException:
        secured.close()
        raise
    return secured
