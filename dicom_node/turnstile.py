"""How many connections stand at a port, from each address and in all, and which of them gives way.

Promises: at most twice as many as stand are open, those that are on their way out among them; a connection
whose peer has asked for something is never cut to make room.
Never: waits, or reads a byte.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from dicom_node.limits import Limits
from dicom_node.sockets import bytes_received

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _Place:
    """One connection that is open.

    Attributes:
        line: what is spoken through: the connection itself, or what TLS made of it.
        has_asked: the peer has asked for an association, or shown that it is a known client.
        gives_way: it was cut to make room, and its thread is winding up.
    """

    address: str
    line: socket.socket
    has_asked: bool = False
    gives_way: bool = False

    def cut(self) -> None:
        """Wake and end whoever reads from it; what TLS keeps of its own is left to its thread."""
        # Closed meanwhile is what was wanted.
        with suppress(OSError):
            socket.socket.shutdown(self.line, socket.SHUT_RDWR)


class Turnstile:
    """Counts connections by address; safe to ask from any thread.

    Silent connections cost nothing to make: a port scanner may take all the places of the address that it
    shares with a good peer. So where no place is left, the oldest that never sent a byte is cut for the
    newcomer; where all have sent some, the oldest that has asked for nothing yet.
    """

    def __init__(self, limits: Limits) -> None:
        """Count nothing yet."""
        self._limits = limits
        # In the order they came.
        self._places: dict[socket.socket, _Place] = {}
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count what is open."""
        return len(self._places)

    def enter(self, connection: socket.socket, address: str) -> bool:
        """Let one connection in, in the place of another where there is no place left, or turn it away."""
        with self._lock:
            word, weakest = self._crowding(address)
            if not word or weakest is not None:
                self._places[connection] = _Place(address=address, line=connection)
            if weakest is not None:
                weakest.gives_way = True
                weakest.cut()
        if weakest is not None:
            self.warn("gate.gave_way", weakest.address)
        elif word:
            self.warn(word, address)
        return weakest is not None or not word

    def moved(self, connection: socket.socket, line: socket.socket) -> None:
        """Note that what is said on `connection` goes through `line` from now on."""
        with self._lock:
            place = self._places[connection]
            place.line = line
            if place.gives_way:
                place.cut()

    def asked(self, connection: socket.socket) -> None:
        """Note that the peer of `connection` has asked for something: it gives way to nobody."""
        with self._lock:
            place = self._places.get(connection)
            if place is not None:
                place.has_asked = True

    def gave_way(self, connection: socket.socket) -> bool:
        """Tell whether `connection` was cut to make room."""
        place = self._places.get(connection)
        return place is not None and place.gives_way

    def leave(self, connection: socket.socket) -> None:
        """Count one connection out; again does nothing."""
        with self._lock:
            self._places.pop(connection, None)

    def _crowding(self, address: str) -> tuple[str, _Place | None]:
        """Return the word for why there is no place for one more from `address`, and who may give way."""
        limits, places = self._limits, list(self._places.values())
        standing = Counter(place.address for place in places if not place.gives_way)
        if standing[address] >= limits.connections_per_address_max:
            word, near = "gate.address_cap", [place for place in places if place.address == address]
        elif standing.total() >= limits.connections_max:
            word, near = "gate.total_cap", places
        else:
            return "", None
        may_leave = len(places) - standing.total() < limits.connections_max
        return word, _weakest(near, standing) if may_leave else None

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


def _weakest(places: Iterable[_Place], standing: Counter[str]) -> _Place | None:
    """Return who gives way: who never spoke before who did, of the busiest address, the oldest of those."""
    waiting = [place for place in places if not place.has_asked and not place.gives_way]
    return min(
        waiting,
        key=lambda place: (bytes_received(place.line) > 0, -standing[place.address]),
        default=None,
    )
