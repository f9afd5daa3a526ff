"""An intake that gathers each instance in memory and hands it over whole: for tests and small tools.

Promises: memory follows what came and never a claim; one instance is one `Held`.
Never: keeps anything by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dicom_node.intake import Arrival
from dicom_node.limits import KIB

_FIRST_BYTES: Final = 64 * KIB


@dataclass(frozen=True, kw_only=True)
class Held(Arrival):
    """One instance that passed preflight, with its encoded data set exactly as received."""

    data: bytes


class MemoryIncoming:
    """Bytes of one instance in one buffer that doubles when it is full."""

    def __init__(self, take: Callable[[Held], None]) -> None:
        """Hold nothing yet."""
        self._take = take
        self._buffer = memoryview(bytearray(_FIRST_BYTES))
        self._length = 0

    def room(self) -> memoryview:
        """Return the room that is left, after more was made when there was none."""
        if self._length == len(self._buffer):
            larger = memoryview(bytearray(2 * self._length))
            larger[: self._length] = self._buffer
            self._buffer = larger
        return self._buffer[self._length :]

    def filled(self, count: int) -> None:
        """Count what came."""
        self._length += count

    def whole(self) -> memoryview:
        """Return what came."""
        return self._buffer[: self._length].toreadonly()

    def keep(self, arrival: Arrival) -> None:
        """Hand the instance over.

        Raises:
            Refusal: the taker refuses it.
        """
        self._take(
            Held(
                header=arrival.header,
                calling_ae=arrival.calling_ae,
                called_ae=arrival.called_ae,
                peer_name=arrival.peer_name,
                data=bytes(self.whole()),
            )
        )

    def abandon(self) -> None:
        """Let go of the buffer."""
        self._buffer, self._length = memoryview(bytearray(_FIRST_BYTES)), 0


class MemoryIntake:
    """Gathers instances and gives each to `take`, on the thread that brought it."""

    def __init__(self, take: Callable[[Held], None]) -> None:
        """Remember who takes."""
        self._take = take

    def begin(self) -> MemoryIncoming:
        """Open a place for one instance."""
        return MemoryIncoming(self._take)
