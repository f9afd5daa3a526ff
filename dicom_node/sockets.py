"""Socket options and byte counts common to both directions.

The whole guard of the wire (PDU length caps, whole-PDU deadlines, TLS) is not here yet.
What is: no socket call waits for ever, small PDUs leave at once, and one message has a size.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.association import Association


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
    if connection is None:
        return
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It was closed meanwhile: what was wanted.
        return
