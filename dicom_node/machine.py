"""pynetdicom's state machine, which a peer cannot break (PS3.8 9.2).

The library decodes a command while it acts on it: what it stumbles over there would end its thread, and the
association without an abort.

Promises: an error in an action ends one association, as an unexpected PDU does.
Never: changes a transition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pynetdicom.fsm import StateMachine

if TYPE_CHECKING:
    from pynetdicom.dul import DULServiceProvider


class Machine(StateMachine):
    """The state machine of one association that a peer asked for."""

    def __init__(self, dul: DULServiceProvider, stumbled: Callable[[Exception], None]) -> None:
        """Act for `dul`; `stumbled` hears of the first error and sees to an abort."""
        super().__init__(dul)
        self._stumbled = stumbled
        self._broken = False

    def do_action(self, event: str) -> None:
        """Act on an event."""
        killed = self.dul._kill_thread
        try:
            super().do_action(event)
        # Whatever the library stumbles over in a message is the peer's doing.
        except Exception as fault:
            if self._broken:
                raise
            self._broken = True
            self._stumbled(fault)
            # The library has told its thread to end; it is needed for the abort.
            self.dul._kill_thread = killed
