"""Where the bytes of one instance go while they arrive: the door between the wire and whatever keeps them.

The wire copies each fragment once, into room that the keeper gives; what came is judged where it lies, and
only then kept. Nothing of an instance can be found before `keep` returned.
Never: knows how or where bytes are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dicom_node.preflight import Header


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One instance that passed preflight: what its header says, and who sent it."""

    header: Header
    calling_ae: str
    called_ae: str
    peer_name: str


class Incoming(Protocol):
    """One instance on its way in; belongs to one thread of its association at a time."""

    def room(self) -> memoryview:
        """Return writable room for the next bytes, one at least; large instances spill to disk as they come.

        Raises:
            Refusal: NO_SPACE or STORAGE_FAULT; the instance is gone, and `abandon` need not be called.
        """

    def filled(self, count: int) -> None:
        """Say that the first `count` bytes of the last `room` hold what came."""

    def whole(self) -> memoryview:
        """Return every byte that came, read-only and contiguous, valid until `keep` or `abandon`."""

    def keep(self, arrival: Arrival) -> None:
        """Make the instance durable; it will be acknowledged when this returns.

        Raises:
            Refusal: NO_SPACE, STORAGE_FAULT or DRAINING; nothing of the instance is kept.
        """

    def abandon(self) -> None:
        """Forget what came: the association was cut, or the instance is refused."""


class Intake(Protocol):
    """Where instances go; called on the threads of associations, many at a time."""

    def begin(self) -> Incoming:
        """Open a place for one instance.

        Raises:
            Refusal: NO_SPACE, STORAGE_FAULT or DRAINING.
        """
