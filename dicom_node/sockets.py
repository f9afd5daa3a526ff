"""Socket options and byte counts common to both directions.

Promises: no socket call waits for ever, and small PDUs leave at once.
Never: reads or writes a byte of its own.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pynetdicom.association import Association

# Where Linux has tcpi_bytes_received in its struct tcp_info: after 8 bytes, 24 words of 4 and 3 of 8.
_BYTES_RECEIVED: Final = slice(128, 136)


class Connection(socket.socket):
    """A socket whose shutdown never fails.

    The library closes a socket only if shutting it down succeeded, and it does not when the peer went first.
    Each refused or reset connection would leave a file descriptor to the garbage collector.
    """

    def shutdown(self, how: int) -> None:
        """Shut down what is still up."""
        with suppress(OSError):
            super().shutdown(how)


class TlsConnection(ssl.SSLSocket):
    """A connection under TLS that never blocks on reading, and on sending no longer than it may."""

    send_seconds_max: float = 0.0

    def shutdown(self, how: int) -> None:
        """Shut down what is still up."""
        with suppress(OSError):
            super().shutdown(how)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of `data`, waiting for room.

        Raises:
            TimeoutError: the peer took nothing in `send_seconds_max`.
        """
        deadline = time.monotonic() + self.send_seconds_max
        while True:
            try:
                return super().send(data, flags)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError) as want:
                poll = select.poll()
                poll.register(
                    self, select.POLLOUT if isinstance(want, ssl.SSLWantWriteError) else select.POLLIN
                )
                if not poll.poll(max(0.0, (deadline - time.monotonic()) * 1000)):
                    raise TimeoutError from None


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


def bytes_received(connection: socket.socket) -> int:
    """Return how many bytes ever came, read or not; a peer's farewell counts as one. 0 where nobody knows."""
    if not hasattr(socket, "TCP_INFO"):
        return 0
    try:
        # tcp_info's tcpi_bytes_received; what is under TLS counts as it came.
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.stop)
    except OSError:
        # Closed meanwhile.
        return 0
    return int.from_bytes(told[_BYTES_RECEIVED], sys.byteorder)


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
