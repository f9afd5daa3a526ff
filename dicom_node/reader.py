"""Read a connection without ever blocking on it alone: bytes, a bell from another thread, or a deadline.

Promises: what is asked for is read once, straight to where it shall lie; no wait lasts longer than its bound.
Never: knows what the bytes mean.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from dicom_node.limits import KIB
from dicom_node.sockets import acknowledge_at_once

_AHEAD_BYTES: Final = 64 * KIB
# A large fragment goes straight to its place and takes only the next two headers along (PS3.8 9.3.5).
_DIRECT_BYTES: Final = 32 * KIB
_HEADERS_BYTES: Final = 12


class Cut(Exception):
    """The connection ended, or its socket failed."""


class Late(Exception):
    """A deadline passed in the middle of what was being read."""


class Called(Exception):
    """Somebody on this side wants the association to end, in the middle of what was being read."""


class Sink(Protocol):
    """Where bytes go."""

    def room(self) -> memoryview:
        """Return writable room, one byte at least."""

    def filled(self, count: int) -> None:
        """Take `count` bytes of the last room as written."""


class Bell:
    """Wakes a thread that waits for its socket; rung from any thread, and after its end too."""

    def __init__(self) -> None:
        """Make the file descriptor that is polled."""
        self.fileno: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Wake the waiting thread."""
        with self._lock:
            if self.fileno is not None:
                os.eventfd_write(self.fileno, 1)

    def hush(self) -> None:
        """Take note of what was rung."""
        with self._lock:
            if self.fileno is not None:
                try:
                    os.eventfd_read(self.fileno)
                except BlockingIOError:
                    return

    def close(self) -> None:
        """Give the file descriptor back."""
        with self._lock:
            if self.fileno is not None:
                os.close(self.fileno)
                self.fileno = None


class Reader:
    """One connection as its association's own thread reads it."""

    def __init__(self, connection: socket.socket, bell: Bell, called: Callable[[], bool]) -> None:
        """Watch `connection` and `bell`; `called` says whether reading must stop in mid-PDU."""
        assert bell.fileno is not None, "a bell is closed after its reader"
        self._connection, self._bell, self._called = connection, bell, called
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)
        self._poll.register(bell.fileno, select.POLLIN)
        self._socket_fd, self._bell_fd = connection.fileno(), bell.fileno
        self._ahead = memoryview(bytearray(_AHEAD_BYTES))
        self._start = self._end = 0
        tls = isinstance(connection, ssl.SSLSocket)
        self._receive = self._receive_tls if tls else self._receive_plain

    def waiting(self, seconds: float) -> bool:
        """Wait for bytes, for the bell, or for `seconds`; tell whether bytes (or an end) can be read."""
        if self._start < self._end or self._decrypted():
            return True
        if seconds > 0:
            acknowledge_at_once(self._connection)
        return self._wait(seconds)

    def exactly(self, count: int, deadline: float | None) -> memoryview:
        """Return the next `count` bytes; few are valid until the next call, many are the caller's own.

        Raises:
            Cut, Late, Called: see there; the bytes read so far are lost.
        """
        if count > _AHEAD_BYTES:
            whole = memoryview(bytearray(count))
            self.into(_Fixed(whole), count, deadline)
            return whole
        while self._end - self._start < count:
            if self._start:
                held = self._end - self._start
                self._ahead[:held] = self._ahead[self._start : self._end]
                self._start, self._end = 0, held
            self._end += self._read([self._ahead[self._end :]], deadline)
        start = self._start
        self._start += count
        return self._ahead[start : self._start]

    def glance(self, count: int) -> memoryview | None:
        """Wait for a byte, and return the next `count` if so many came with it; none of them is taken.

        Raises:
            Cut, Called: see there.
        """
        if self._start == self._end:
            self._start, self._end = 0, self._read([self._ahead], None)
        return self._ahead[self._start : self._start + count] if self._end - self._start >= count else None

    def skip(self, count: int) -> None:
        """Take bytes that `glance` returned."""
        self._start += count

    def into(self, sink: Sink, count: int, deadline: float | None) -> None:
        """Read `count` bytes into the rooms of `sink`.

        Raises:
            Cut, Late, Called: see there.
        """
        while count:
            room = sink.room()[:count]
            held = min(self._end - self._start, len(room))
            if held:
                room[:held] = self._ahead[self._start : self._start + held]
                self._start += held
                got = held
            else:
                got = self._read_direct(room, deadline)
            sink.filled(got)
            count -= got

    def discard(self, seconds: float) -> bool:
        """Read and drop what comes within `seconds`; tell whether the connection has ended."""
        self._start = self._end = 0
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                if self._wait(left) and not self._receive([self._ahead]):
                    return True
            except (OSError, ValueError):
                return True
        return False

    def _read_direct(self, room: memoryview, deadline: float | None) -> int:
        """Read into `room`, and what comes behind it into what was read ahead."""
        size = len(room)
        ahead = self._ahead[:_HEADERS_BYTES] if size >= _DIRECT_BYTES else self._ahead
        got = self._read([room, ahead], deadline)
        self._start, self._end = 0, max(0, got - size)
        return min(got, size)

    def _read(self, rooms: list[memoryview], deadline: float | None) -> int:
        """Read at least one byte into `rooms`."""
        while True:
            try:
                got = self._receive(rooms)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._await(deadline)
                continue
            except (OSError, ValueError) as error:
                raise Cut from error
            if not got:
                raise Cut
            return got

    def _await(self, deadline: float | None) -> None:
        """Wait until the socket can be read, the deadline passes or this side wants to end."""
        # Peers that keep Nagle's algorithm wait for the acknowledgement of what came so far.
        acknowledge_at_once(self._connection)
        while True:
            if self._called():
                raise Called
            left = 60.0 if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise Late
            if self._wait(left):
                return

    def _wait(self, seconds: float) -> bool:
        """Poll once; tell whether the socket is ready."""
        ready = dict(self._poll.poll(max(0.0, seconds * 1000)))
        if self._bell_fd in ready:
            self._bell.hush()
        return self._socket_fd in ready

    def _decrypted(self) -> bool:
        """Tell whether bytes wait where poll does not see them."""
        return isinstance(self._connection, ssl.SSLSocket) and self._connection.pending() > 0

    def _receive_plain(self, rooms: list[memoryview]) -> int:
        return os.readv(self._socket_fd, rooms)

    def _receive_tls(self, rooms: list[memoryview]) -> int:
        return self._connection.recv_into(rooms[0])


class _Fixed:
    """A sink of one buffer."""

    def __init__(self, whole: memoryview) -> None:
        self._left = whole

    def room(self) -> memoryview:
        return self._left

    def filled(self, count: int) -> None:
        self._left = self._left[count:]
