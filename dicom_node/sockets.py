"""Socket options and byte counts common to both directions.

The whole guard of the wire (PDU length caps, whole-PDU deadlines, TLS) is not here yet.
What is: no socket call waits for ever, small PDUs leave at once, and one message has a size.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association


class Connection(socket.socket):
    """A socket whose shutdown never fails.

    The library closes a socket only if shutting it down succeeded, and it does not when the peer went first.
    Each refused or reset connection would leave a file descriptor to the garbage collector.
    """

    def shutdown(self, how: int) -> None:
        """Shut down what is still up."""
        with suppress(OSError):
            super().shutdown(how)


def adopt(plain: socket.socket) -> Connection:
    """Return a Connection over the same file descriptor; `plain` is empty afterwards."""
    return Connection(plain.family, plain.type, plain.proto, plain.detach())


def prepare(connection: socket.socket, *, seconds_max: float) -> None:
    """Bound every later call on `connection` and switch Nagle's algorithm off.

    With it, each C-STORE waits 40 ms for an acknowledgement that the other side delays.
    """
    connection.settimeout(seconds_max)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def acknowledge_at_once(connection: socket.socket) -> None:
    """Send pending acknowledgements now: peers that keep Nagle's algorithm wait for them."""
    if hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def connection_of(association: Association) -> socket.socket | None:
    """Return the socket under an association while it has one."""
    wrapped = association.dul.socket
    return wrapped.socket if wrapped is not None else None


def cut(association: Association) -> None:
    """Shut the socket under an association, which wakes and ends its threads."""
    connection = connection_of(association)
    if connection is not None:
        # Closed meanwhile is what was wanted.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
