"""A ticket: sixteen bytes that say what may be worth looking at.

Parsed by a fixed schema, never unpickled.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_LAYOUT = struct.Struct(">4sBxxxQ")
_MAGIC = b"RST1"


class Bell(IntEnum):
    """What a ticket hints at."""

    HELLO = 0
    ARRIVED = 1
    JOB = 2
    DELIVERY = 3
    IDLE = 4


class BadTicket(ValueError):
    """A message that is not one of ours."""


@dataclass(frozen=True)
class Ticket:
    """A hint and the id it is about, 0 where there is none."""

    bell: Bell
    id: int = 0


def encode(ticket: Ticket) -> bytes:
    """Return a ticket's sixteen bytes."""
    return _LAYOUT.pack(_MAGIC, ticket.bell, ticket.id)


def decode(message: bytes) -> Ticket:
    """Read a ticket.

    Raises:
        BadTicket: the message has another length, magic or kind.
    """
    try:
        magic, bell, number = _LAYOUT.unpack(message)
        if magic != _MAGIC:
            raise BadTicket("wrong magic")
        return Ticket(Bell(bell), number)
    except (struct.error, ValueError) as error:
        raise BadTicket("not a ticket") from error
