"""What takes the bytes of an instance that is already refused: they must be read before the answer.

Promises: constant memory; only the head stays, so that people can be told which study is short of an image.
Never: keeps an instance.
"""

from __future__ import annotations

from typing import Final

from dicom_node.intake import Arrival
from dicom_node.limits import KIB

_HEAD_BYTES: Final = 64 * KIB


class TurnedAway:
    """An instance that will be answered with `fault`, whatever its bytes are."""

    def __init__(self, fault: Exception) -> None:
        """Remember why."""
        self.fault = fault
        self._head = memoryview(bytearray(_HEAD_BYTES))
        self._rest = memoryview(bytearray(_HEAD_BYTES))
        self._length = 0

    def room(self) -> memoryview:
        """Return the room left in the head, then the same bytes again and again."""
        return self._head[self._length :] if self._length < _HEAD_BYTES else self._rest

    def filled(self, count: int) -> None:
        """Count what lies in the head."""
        self._length = min(self._length + count, _HEAD_BYTES)

    def whole(self) -> memoryview:
        """Return the head: never the whole, if there was more."""
        return self._head[: self._length].toreadonly()

    def keep(self, _arrival: Arrival) -> None:
        """Refuse.

        Raises:
            Exception: `fault`.
        """
        raise self.fault

    def abandon(self) -> None:
        """Do nothing: nothing was kept."""
