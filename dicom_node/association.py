"""One accepted association: pynetdicom's own, with an upper layer that streams what is stored (PS3.8 7).

Promises: its thread sleeps while nothing is for it; whoever counts connections hears of its end exactly once.
Never: decides who may associate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION

from dicom_node.checkpoint import Checkpoint, Warn
from dicom_node.command import StoreCommand
from dicom_node.familiar import Judge
from dicom_node.receive import Reception, Request
from dicom_node.storage_classes import STORAGE_CLASSES
from dicom_node.stream import StreamingUpperLayer
from dicom_node.values import Peer

_SETTLE_SECONDS: Final = 1.0
_ANSWER_BYTES_MIN: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What every association of a listener stands on."""

    reception: Reception
    peer: Callable[[str], Peer | None]


class GuardedAssociation(Association):
    """An association that a peer asked for."""

    dul: StreamingUpperLayer

    def __init__(self, entity: AE, ground: Ground, *, warn: Warn, on_end: Callable[[], None]) -> None:
        """Put our upper layer in place of the library's; `on_end` is called on the association's thread."""
        super().__init__(entity, "acceptor")
        self.reception = ground.reception
        self.warn = warn
        self.judge = Judge(ground.reception.limits)
        self.partial_bytes = 0
        self.seated = False
        # What is done on this thread once the answer to an N-ACTION has left.
        self.afterwards: Callable[[], None] | None = None
        self._peer_of = ground.peer
        self._on_end = on_end
        self._requests: dict[int, tuple[str, str]] = {}
        artim, idle = self.acse_timeout, self.network_timeout
        self.dul = StreamingUpperLayer(self, ground.reception.limits)
        self.acse_timeout, self.network_timeout = artim, idle
        self.checkpoint = self._reactor_checkpoint = Checkpoint(self._nothing_to_do)

    def run_reactor(self) -> None:
        """Run to the end and say so."""
        began = time.monotonic()
        try:
            super().run_reactor()
        finally:
            waited = time.monotonic() - began
            if self.requestor.primitive is None and self.acse_timeout and waited >= self.acse_timeout:
                self.warn("gate.artim", seconds=self.acse_timeout)
            self._on_end()

    def settled(self) -> bool:
        """Tell whether the association stands; right after the acceptance it takes a moment to."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while not self.is_established and not self.is_aborted and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.is_established

    def may_stream(self, command: StoreCommand, context_id: int) -> bool:
        """Tell whether a request is plainly a store under an accepted context of its own class."""
        context = self._accepted_cx.get(context_id)
        longest = self.requestor.maximum_length
        return (
            context is not None
            and command.sop_class_uid == context.abstract_syntax
            and command.sop_class_uid in STORAGE_CLASSES
            and (not longest or longest >= _ANSWER_BYTES_MIN)
        )

    def announced(self, command: StoreCommand, context_id: int) -> Request:
        """Return what `command` asks for, and for whom."""
        context = self._accepted_cx[context_id]
        calling = self.requestor.ae_title.strip()
        peer = self._peer_of(calling)
        assert peer is not None, "only known peers are accepted"
        return Request(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            abstract_syntax_uid=str(context.abstract_syntax),
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            peer=peer,
            calling_ae=calling,
            called_ae=self.acceptor.ae_title.strip(),
        )

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve what the library gathered, and count it as done."""
        try:
            super()._serve_request(msg, context_id)
        except ValueError:
            # A request of one service that names the SOP class of another: the library has no answer.
            self.warn("node.protocol_error", message=type(msg).__name__)
            self.abort(block=False)
        finally:
            # A message that never was in the queue is served on a thread of its own.
            with suppress(ValueError):
                self.dimse.msg_queue.task_done()
            self.partial_bytes = 0
        if isinstance(msg, N_ACTION) and self.afterwards is not None:
            afterwards, self.afterwards = self.afterwards, None
            afterwards()

    def _nothing_to_do(self) -> bool:
        """Tell whether the loop would find nothing."""
        return self.dul.is_alive() and not self.dimse.msg_queue.queue and not self.dul.to_user_queue.queue
