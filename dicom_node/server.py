"""pynetdicom's accept loop with our socket options.

It accepts and hands over; the association's own thread does the rest.
"""

from __future__ import annotations

import socket
import socketserver
import sys
from typing import Any

import structlog
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.sockets import adopt, prepare

log = structlog.get_logger(__name__)


class SharedContexts(list[PresentationContext]):
    """Contexts that every association reads and none changes.

    The library copies them deeply for each association: 20,000 objects before the first byte is answered.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContexts:
        """Return itself."""
        return self


class Server(ThreadedAssociationServer):
    """Accepts connections, bounds their sockets and gives each its own thread."""

    # Waiting connections: a modality with many senders opens them in one burst.
    request_queue_size = 64
    daemon_threads = True

    def __init__(self, *args: Any, socket_seconds_max: float, **kwargs: Any) -> None:
        """Take the library's arguments and the time one socket call may last."""
        self._socket_seconds_max = socket_seconds_max
        super().__init__(*args, **kwargs)
        self.contexts = SharedContexts(self.contexts)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept one connection."""
        accepted, address = super().get_request()
        connection = adopt(accepted)
        prepare(connection, seconds_max=self._socket_seconds_max)
        return connection, address

    def service_actions(self) -> None:
        """Do nothing: the library's own collects garbage every few seconds while all associations wait."""

    def shutdown(self) -> None:
        """Stop accepting and close the port; the library's own also forgets a list we are not on."""
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the kind of a fault while a connection was set up; the default prints a traceback."""
        log.error("node.connection_fault", error=getattr(sys.exc_info()[0], "__name__", ""))
