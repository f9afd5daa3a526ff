"""pynetdicom's upper layer with the data path of a C-STORE taken out of its hands (PS3.7 9.3.1, PS3.8 9.3).

It waits in poll() where the library sleeps, and copies a data set's fragments once, from the socket to where
they are kept. Association, release, abort, timers and every other message stay the library's own, and so
does any C-STORE with something unusual about it, which is decided before a byte of its data set was read.

Promises: the same bytes, statuses and ends as the library's own path, through the same `Receiving`.
Never: patches the library; what is touched of its inside is named in `INSIDE` and held by a test.
"""

from __future__ import annotations

import hashlib
import time
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import structlog
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT

from dicom_node.checkpoint import Checkpoint, Warn
from dicom_node.command import StoreCommand, read_store, store_response
from dicom_node.familiar import Judge
from dicom_node.fragment import Broken, take_usual
from dicom_node.limits import Limits
from dicom_node.machine import Machine
from dicom_node.reader import Bell, Called, Cut, Late, Reader
from dicom_node.receive import Receiving, Reception, Request

if TYPE_CHECKING:
    from pynetdicom.association import Association

log = structlog.get_logger(__name__)

# The private names of pynetdicom 3.0.4 that this module, `association` and `gate` override or read.
INSIDE: Final = {
    "dul.DULServiceProvider": (
        *("_decode_pdu", "_idle_timer", "_is_transport_event", "_kill_thread", "_process_recv_primitive"),
        *("_recv_pdu", "_run_loop_delay"),
    ),
    "association.Association": ("_accepted_cx", "_reactor_checkpoint", "_serve_request", "_server"),
}

_LOOK_SECONDS: Final = 0.5
_HEADER: Final = Struct(">BxL")
_ITEM: Final = Struct(">LBB")
_P_DATA: Final = 0x04
_COMMAND, _LAST = 1, 2
_KNOWN_TYPES: Final = range(0x01, 0x08)


class _Other(Exception):
    """Another PDU than P-DATA came in the middle of a message."""


class Host(Protocol):
    """What an upper layer asks of its association."""

    reception: Reception
    judge: Judge
    checkpoint: Checkpoint
    warn: Warn
    partial_bytes: int
    is_established: bool

    def settled(self) -> bool:
        """Tell whether the association stands."""

    def may_stream(self, command: StoreCommand, context_id: int) -> bool:
        """Tell whether a request is plainly a store under an accepted context of its own class."""

    def announced(self, command: StoreCommand, context_id: int) -> Request:
        """Return what `command` asks for, and for whom."""


class StreamingUpperLayer(DULServiceProvider):
    """The upper layer of one accepted association, on a thread of its own."""

    def __init__(self, host: Host, limits: Limits) -> None:
        """Make the bell; the socket comes later."""
        super().__init__(cast("Association", host))
        self._host = host
        self.state_machine = Machine(self, self._stumbled)
        # The wait is in poll(), where it ends with the first byte.
        self._run_loop_delay = 0.0
        self.daemon = True
        self._limits = limits
        self._bell = Bell()
        self._reader: Reader | None = None
        self._deaf = False
        self._busy = False
        self._late_at: float | None = None

    # What the library calls.

    def run_reactor(self) -> None:
        """Run until the association has ended; then give everything back."""
        try:
            super().run_reactor()
        # A fault of the state machine: the library would leave a traceback, and the peer without an end.
        except Exception as fault:  # noqa: BLE001 - the thread's main loop
            log.error("node.protocol_error", error=type(fault).__name__)
            self._close()
        finally:
            # Nothing more will come: an association that waits for its request would wait until ARTIM, and be
            # counted against its address all the while.
            self.to_user_queue.put(cast("Any", None))
            self._bell.close()
            self._host.checkpoint.ring()

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive and wake the reactor."""
        super().send_pdu(primitive)
        self._bell.ring()

    def kill_dul(self) -> None:
        """End the reactor."""
        super().kill_dul()
        self._bell.ring()

    def idle_timer_expired(self) -> bool:
        """Tell whether the peer has been silent too long; while we keep what it sent, it has to be."""
        return not self._busy and super().idle_timer_expired()

    def _process_recv_primitive(self) -> bool:
        """Take what this side wants to say, once what came before was acted on.

        The library would take it a second time when two PDUs came at once, and find nothing to say.
        """
        if not self.event_queue.empty():
            return False
        if self.state_machine.current_state == "Sta13":
            # The association has ended, and an answer that was under way goes nowhere.
            self.to_provider_queue.queue.clear()
            return False
        return super()._process_recv_primitive()

    def _is_transport_event(self) -> bool:
        """Wait for the peer, for this side or for a timer, and take one PDU."""
        self._host.checkpoint.ring()
        reader = self._opened()
        if reader is None or not self.event_queue.empty() or self._kill_thread:
            return False
        if self.state_machine.current_state == "Sta13":
            return self._wind_down(reader)
        if self.artim_timer.expired or not reader.waiting(self._patience()):
            return False
        self._take(reader)
        # What was streamed leaves nothing for the state machine, so the next PDU is waited for right here.
        while self._nothing_to_do() and reader.waiting(_LOOK_SECONDS):
            self._take(reader)
        return True

    def _nothing_to_do(self) -> bool:
        """Tell whether neither side has anything for the state machine."""
        return (
            self.state_machine.current_state == "Sta6"
            and not self.event_queue.queue
            and not self.to_provider_queue.queue
            and not self._kill_thread
            and not self._deaf
        )

    # The connection.

    def _opened(self) -> Reader | None:
        """Return the reader of the connection while there is one."""
        wrapped = self.socket
        if wrapped is None or wrapped.socket is None:
            return None
        if self._reader is None:
            try:
                self._reader = Reader(wrapped.socket, self._bell, self._called)
            except (OSError, ValueError):
                # Shut under us before its first byte.
                self.event_queue.put("Evt17")
                self._deaf = True
        return self._reader

    def _patience(self) -> float:
        """Return how long the next wait may last: to the end of ARTIM, or to the next look around."""
        if self.state_machine.current_state != "Sta2":
            return _LOOK_SECONDS
        return max(0.0, min(self.artim_timer.remaining + 0.001, _LOOK_SECONDS))

    def _called(self) -> bool:
        """Tell whether this side wants to end what is being read."""
        waiting = self.to_provider_queue.queue
        return self._kill_thread or (bool(waiting) and isinstance(waiting[0], A_ABORT | A_P_ABORT))

    def _wind_down(self, reader: Reader) -> bool:
        """Close as the library does: at once, but not before a peer in mid-PDU could read our abort."""
        if self._deaf:
            self._finish_sending()
            reader.discard(self._limits.abort_seconds_max)
        elif reader.waiting(0):
            self._take(reader)
            return True
        self._close()
        return True

    def _finish_sending(self) -> None:
        """Tell the peer that nothing more will come."""
        connection = self.socket.socket if self.socket else None
        if connection is not None:
            try:
                connection.shutdown(1)
            except OSError:
                return

    def _close(self) -> None:
        if self.socket is not None:
            self.socket.close()

    # One PDU.

    def _take(self, reader: Reader) -> None:
        """Read one PDU, and every further one of a message that begins in it."""
        self._begun()
        try:
            self._pdu(reader, bytes(reader.exactly(6, self._late_at)))
        except Called:
            # What is left of the PDU in the stream makes no sense any more.
            self._deaf = True
        except Cut:
            self.event_queue.put("Evt17")
        except Late:
            self._host.warn("gate.pdu_deadline", seconds=self._limits.pdu_seconds_max)
            self._give_up()
        except Broken as broken:
            self._host.warn(broken.word, **broken.values)
            self._give_up()

    def _begun(self) -> None:
        """Note that a PDU has begun: it has so long to end, and the peer is not silent."""
        self._late_at = time.monotonic() + self._limits.pdu_seconds_max
        self._idle_timer.restart()

    def _stumbled(self, fault: Exception) -> None:
        """End an association over whose message the library stumbled, and what stands behind it."""
        self._host.warn("node.protocol_error", error=type(fault).__name__)
        self.event_queue.queue.clear()
        self._recv_pdu.queue.clear()
        self._give_up()

    def _give_up(self) -> None:
        """Abort an association (PS3.8 9.3.8, source 2), or cut a connection that is none yet."""
        self._deaf = True
        if self.state_machine.current_state == "Sta2":
            self._close()
        else:
            self.event_queue.put("Evt19")

    def _pdu(self, reader: Reader, header: bytes) -> None:
        """Take one PDU whose header was read."""
        kind, length = _HEADER.unpack(header)
        self._admit(kind, length, header)
        if kind == _P_DATA and self.state_machine.current_state == "Sta6":
            self._items(reader, length)
        else:
            self._hand_over(header + bytes(reader.exactly(length, self._late_at)))

    def _admit(self, kind: int, length: int, header: bytes) -> None:
        """Judge a PDU by its header alone."""
        if kind not in _KNOWN_TYPES:
            raise Broken("node.protocol_error", digest=_digest(header))
        if kind == _P_DATA and self.state_machine.current_state != "Sta2":
            if length > self._limits.pdu_bytes_max:
                raise Broken("gate.pdu_over_negotiated", bytes=length)
        elif length > self._limits.associate_pdu_bytes_max:
            raise Broken("gate.pdu_too_long", bytes=length)

    def _hand_over(self, pdu: bytes) -> None:
        """Let the library decode a PDU and act on it."""
        try:
            decoded, event = self._decode_pdu(bytearray(pdu))
        # Whatever the library's decoder stumbles over is the peer's doing (PS3.8 9.2.3, Evt19).
        except Exception as fault:  # noqa: BLE001 - the loop of an association
            self._host.warn("node.protocol_error", error=type(fault).__name__, digest=_digest(pdu))
            self.event_queue.put("Evt19")
            return
        self._recv_pdu.put(decoded)
        self.event_queue.put(event)

    # The data values of a P-DATA PDU (PS3.8 9.3.5, E.2).

    def _items(self, reader: Reader, left: int) -> None:
        """Take the items of a P-DATA PDU; the library gets each of its own as a PDU of one item."""
        streams = self._owes_nothing()
        if not left:
            self._hand_over(b"\4\0\0\0\0\0")
        while left:
            context_id, control, length = self._item(reader, left)
            left -= length + 6
            data = bytes(reader.exactly(length, self._late_at))
            command = self._store_command(context_id, control, data) if streams else None
            if command is not None:
                left = self._instance(reader, command, context_id=context_id, left=left)
                streams = self._owes_nothing()
            else:
                streams = False
                head = _HEADER.pack(_P_DATA, length + 6) + _ITEM.pack(length + 2, context_id, control)
                self._hand_over(head + data)

    def _item(self, reader: Reader, left: int) -> tuple[int, int, int]:
        """Return context, control header and length of the next fragment."""
        if left < 6:
            raise Broken("node.protocol_error", left=left)
        length, context_id, control = _ITEM.unpack(reader.exactly(6, self._late_at))
        if not 2 <= length <= left - 4:
            raise Broken("node.protocol_error", item=length, left=left)
        return context_id, control, length - 2

    def _owes_nothing(self) -> bool:
        """Tell whether the library is done with all that came before, so that answers keep their order."""
        dimse = self.assoc.dimse
        return (
            dimse.message is None
            and not dimse.msg_queue.unfinished_tasks
            and not self.to_provider_queue.queue
            and self._host.settled()
        )

    def _store_command(self, context_id: int, control: int, data: bytes) -> StoreCommand | None:
        """Return the C-STORE request of a whole command that may be streamed."""
        if control & (_COMMAND | _LAST) != _COMMAND | _LAST:
            return None
        command = read_store(data)
        return command if command and self._host.may_stream(command, context_id) else None

    # One instance.

    def _instance(self, reader: Reader, command: StoreCommand, *, context_id: int, left: int) -> int:
        """Take the data set of `command`, keep it and answer; return what is left of the last PDU."""
        self._host.partial_bytes = 0
        receiving = Receiving(
            self._host.reception, self._host.judge, self._host.announced(command, context_id)
        )
        try:
            left = self._fragments(reader, receiving, context_id=context_id, left=left)
        except _Other:
            receiving.abandon()
            return 0
        except BaseException:
            receiving.abandon()
            raise
        self._busy = True
        try:
            answer = receiving.finish()
        finally:
            self._idle_timer.restart()
            self._busy = False
        self._host.partial_bytes = 0
        if self._host.is_established and self.socket is not None:
            self.socket.send(store_response(command, context_id, answer))
        return left

    def _fragments(self, reader: Reader, receiving: Receiving, *, context_id: int, left: int) -> int:
        """Read fragments to the last one of a data set; return what is left of its PDU."""
        association, bytes_max = self._host, self._limits.instance_bytes_max
        while True:
            if not left and (usual := take_usual(reader, context_id, self._limits.pdu_bytes_max)):
                self._begun()
                control, length = usual
                left = length + 6
            else:
                while not left:
                    left = self._next_p_data(reader)
                found, control, length = self._item(reader, left)
                if found != context_id or control & _COMMAND:
                    raise Broken("node.protocol_error", context=found, control=control)
            association.partial_bytes += length
            if association.partial_bytes > bytes_max:
                raise Broken("receive.instance_too_large", bytes=association.partial_bytes)
            reader.into(receiving, length, self._late_at)
            left -= length + 6
            if control & _LAST:
                return left

    def _next_p_data(self, reader: Reader) -> int:
        """Return the length of the next P-DATA PDU in the middle of a data set.

        Raises:
            _Other: the peer sent something else, an abort say; the library has it.
        """
        first = bytes(reader.exactly(1, None))
        self._begun()
        header = first + bytes(reader.exactly(5, self._late_at))
        kind, length = _HEADER.unpack(header)
        self._admit(kind, length, header)
        if kind != _P_DATA:
            self._hand_over(header + bytes(reader.exactly(length, self._late_at)))
            raise _Other
        return int(length)


def _digest(pdu: bytes) -> str:
    """Return twelve digits by which two broken PDUs can be told apart."""
    return hashlib.sha256(pdu).hexdigest()[:12]
