"""One HTTP/1.1 connection, either side of it: h11 reads the bytes, and here every wait has an end.

Promises: no call blocks beyond its deadline, and none waits for a silent peer longer than the wire allows.
Never: holds more of a body than one piece.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import h11

from dicom_node.limits import KIB

PIECE_BYTES: Final = 64 * KIB
Headers: TypeAlias = Sequence[tuple[str, str]]


class Gone(Exception):
    """The peer went away, or was silent or slow for too long; `word` is why, in one word."""

    def __init__(self, word: str) -> None:
        """Keep the word: "cut", "silent" or "slow"."""
        super().__init__(word)
        self.word = word


class HttpLine:
    """A connection on which requests are answered, or asked."""

    def __init__(
        self, connection: socket.socket, *, server: bool, head_bytes_max: int, silence_seconds_max: float
    ) -> None:
        """Take a connected socket, after the handshake where there is one."""
        connection.setblocking(False)
        self._connection, self._silence = connection, silence_seconds_max
        role = h11.SERVER if server else h11.CLIENT
        self.http = h11.Connection(role, max_incomplete_event_size=head_bytes_max)
        self.deadline = time.monotonic()

    def allow(self, seconds: float) -> None:
        """Give everything that follows so many seconds from now."""
        self.deadline = time.monotonic() + seconds

    def next_event(self) -> h11.Event:
        """Return what the peer says next (h11 has the list).

        Raises:
            Gone: it is gone, or said nothing in time.
            h11.RemoteProtocolError: it does not speak HTTP, or beyond the bounds.
        """
        while True:
            event = self.http.next_event()
            if not isinstance(event, type):
                return event
            if event is h11.PAUSED:
                raise Gone("cut")
            if self.http.they_are_waiting_for_100_continue:
                self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(self._receive())

    def send(self, event: h11.Event) -> None:
        """Say something.

        Raises:
            Gone: the peer is gone, or takes nothing.
        """
        if data := self.http.send(event):
            self.send_bytes(data)

    def send_bytes(self, data: bytes | memoryview) -> None:
        """Send bytes as they are. Raises: as `send`."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._connection.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except OSError:
                raise Gone("cut") from None

    def linger(self, *, seconds: float, bytes_max: int) -> None:
        """Read and drop what a peer still sends, so that it gets to what we said; then the end is near."""
        self.allow(seconds)
        with suppress(Gone, OSError):
            self._connection.shutdown(socket.SHUT_WR)
            while bytes_max > 0 and (data := self._receive()):
                bytes_max -= len(data)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def wake(self) -> None:
        """End what another thread waits for here."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> bytes:
        while True:
            try:
                return self._connection.recv(PIECE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except OSError:
                raise Gone("cut") from None

    def _wait(self, what: int) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise Gone("slow")
        poll = select.poll()
        try:
            poll.register(self._connection, what)
        except (OSError, ValueError):
            raise Gone("cut") from None
        if not poll.poll(min(left, self._silence) * 1000):
            raise Gone("slow" if left <= self._silence else "silent")
