"""Call a peer: one association, bounded in time, and single exchanges on it.

Replies are hostile until checked: each has a deadline, a size, and must answer the request that was made.
An association on which something went wrong is aborted and never used again.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import structlog
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import (
    C_ECHO_RQ,
    C_FIND_RQ,
    C_GET_RQ,
    C_MOVE_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    N_EVENT_REPORT_RQ,
    DIMSEMessage,
)
from pynetdicom.dimse_primitives import C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION, N_EVENT_REPORT
from pynetdicom.pdu_primitives import A_RELEASE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket

from dicom_node.denied import failure_of, rejection_of
from dicom_node.errors import NoAssociation
from dicom_node.library import tame
from dicom_node.limits import Limits
from dicom_node.secured import CallingConnection, secured
from dicom_node.sockets import adopt, connection_of, cut, prepare
from dicom_node.tls import TlsFault
from dicom_node.user import proposed
from dicom_node.values import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Peer

log = structlog.get_logger(__name__)

Primitive = TypeVar("Primitive", C_ECHO, C_FIND, C_GET, C_MOVE, C_STORE, N_ACTION, N_EVENT_REPORT)

_POLL_SECONDS: Final = 0.002
_LONG_POLL_SECONDS: Final = 0.05
_MESSAGES: dict[type, type[DIMSEMessage]] = {
    C_ECHO: C_ECHO_RQ,
    C_FIND: C_FIND_RQ,
    C_GET: C_GET_RQ,
    C_MOVE: C_MOVE_RQ,
    C_STORE: C_STORE_RQ,
    N_ACTION: N_ACTION_RQ,
    N_EVENT_REPORT: N_EVENT_REPORT_RQ,
}


class _Gate(threading.Event):
    """Holds an association's reactor, and knows when it stands still.

    The library's own pause can be seen one turn early, and in that turn the reactor may take a reply that was
    meant for the sender, who then waits for it in vain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holds = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        """Say that somebody stands at the closed gate, and let them stand."""
        if not self.is_set():
            self.holds.set()
        return super().wait(timeout)


def hold(association: Association, *, seconds_max: float) -> bool:
    """Stop the reactor of an association from taking replies; tell whether it stands still."""
    gate = _Gate()
    association._reactor_checkpoint = gate
    return gate.holds.wait(seconds_max)


class Line:
    """An open association with a peer."""

    def __init__(self, association: Association, limits: Limits) -> None:
        """Take over an established association whose reactor is held, so that replies come to us."""
        self._association = association
        self._limits = limits
        self._message_id = 0
        announced = association.acceptor.maximum_length or limits.pdu_bytes_max
        self._pdu_bytes_max = min(announced, limits.pdu_bytes_max)
        # The contexts we may send on: (abstract syntax, transfer syntax) -> context ID.
        self.contexts = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0])): int(context.context_id or 0)
            for context in association.accepted_contexts
            if context.as_scu or context.as_scp
        }

    def ask(self, request: Primitive, context_id: int) -> Primitive | None:
        """Send one request and return its first response (PS3.7 9.1, 9.3).

        Returns None when none came: the peer stayed silent, aborted, or answered something else. The
        association is gone then.
        """
        return self.next_answer(request) if self._post(request, context_id) else None

    def next_answer(self, request: Primitive) -> Primitive | None:
        """Wait for a response to `request`; None as for `ask`."""
        _, response = self._association.dimse.get_msg(block=True)
        return self._checked(request, response)

    def ask_patiently(
        self, request: Primitive, context_id: int, *, seconds_max: float, given_up: Callable[[], bool]
    ) -> Iterator[Primitive]:
        """Send one request and yield its responses as they come, each after at most `seconds_max`.

        For what takes the peer minutes. Ends as soon as `given_up` says so, and then, as for `ask`, the
        association is gone. Whoever iterates knows which response is the last, and stops there.
        What a C-GET brings goes to the handler for C-STORE, and its status back, in between (PS3.4 C.4.3).
        """
        if not self._post(request, context_id):
            return
        while (response := self._patiently(request, seconds_max, given_up)) is not None:
            yield response

    def _patiently(
        self, request: Primitive, seconds_max: float, given_up: Callable[[], bool]
    ) -> Primitive | None:
        """Wait for one response, looking up often enough to be called away."""
        deadline = time.monotonic() + seconds_max
        while self.is_open and time.monotonic() < deadline and not given_up():
            response = self._heard()
            if isinstance(request, C_GET) and isinstance(response, C_STORE) and response.is_valid_request:
                self._association._c_store_scp(response)
                deadline = time.monotonic() + seconds_max
            elif response is not None:
                return self._checked(request, response)
        self.abort()
        return None

    def _heard(self) -> object:
        """Return what the peer said, or nothing after a moment without a word."""
        try:
            return self._association.dimse.msg_queue.get(timeout=_LONG_POLL_SECONDS)[1]
        except queue.Empty:
            return None

    def _post(self, request: Primitive, context_id: int) -> bool:
        """Send one request; False when it could not be sent and the association is gone."""
        self._message_id = self._message_id % 0xFFFF + 1
        request.MessageID = self._message_id
        if not self.is_open:
            self.abort()
            return False
        message = _MESSAGES[type(request)]()
        message.primitive_to_message(request)
        for data in message.encode_msg(context_id, self._pdu_bytes_max):
            if not self._wait_for_room(self._limits.send_queue_pdus_max):
                self.abort()
                return False
            self._association.dul.send_pdu(data)
        if not self._wait_for_room(1):
            self.abort()
            return False
        return True

    def _checked(self, request: Primitive, response: object) -> Primitive | None:
        """Return a response that answers the request; without one the association is cut."""
        if (
            isinstance(response, type(request))
            and response.is_valid_response
            and response.MessageIDBeingRespondedTo == request.MessageID
        ):
            return response
        if response is not None:
            log.warning("node.bad_reply", kind=type(response).__name__)
        self.abort()
        return None

    def stay(self, seconds_max: float, *, until: Callable[[], bool]) -> None:
        """Keep the line for what the peer may ask on it, until the peer leaves or `until` says so."""
        deadline = time.monotonic() + seconds_max
        while self.is_open and not self._is_left and not until() and time.monotonic() < deadline:
            time.sleep(_LONG_POLL_SECONDS)
        self._wait_for_room(1)

    @property
    def _is_left(self) -> bool:
        """Tell whether the peer has asked to release the association; its reactor answers that."""
        return isinstance(self._association.dul.peek_next_pdu(), A_RELEASE)

    @property
    def is_open(self) -> bool:
        """Tell whether the association may still be used."""
        association = self._association
        return bool(association.is_established) and not association.acse.is_aborted()

    def abort(self) -> None:
        """Cut the association (PS3.8 7.3)."""
        self._association.abort(block=False)
        _wind_up(self._association, self._limits)

    def hang_up(self) -> None:
        """Release the association when it is open (PS3.8 7.2) and wait for its threads."""
        if self.is_open and not self._is_left:
            # The reactor is held. The library's own release waits to see that, and a request that was served
            # meanwhile makes it forget.
            self._association.acse.negotiate_release()
        _wind_up(self._association, self._limits)

    def _wait_for_room(self, pdus_max: int) -> bool:
        """Wait until fewer PDUs are queued; False when the peer took none for too long or is gone."""
        pdus = self._association.dul.to_provider_queue
        waiting = pdus.qsize()
        deadline = time.monotonic() + self._limits.network_seconds_max
        while (now_waiting := pdus.qsize()) >= pdus_max:
            if now_waiting < waiting:
                waiting, deadline = now_waiting, time.monotonic() + self._limits.network_seconds_max
            if time.monotonic() > deadline or not self._association.dul.is_alive():
                return False
            time.sleep(_POLL_SECONDS / 10)
        return True


@contextmanager
def dial(
    peer: Peer,
    *,
    calling_ae: str,
    contexts: Sequence[PresentationContext],
    limits: Limits,
    handlers: Sequence[evt.EventHandlerType] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Line]:
    """Associate with `peer` for the length of a with block (PS3.8 7.1); released at its end, or aborted.

    `handlers` answer what the peer asks on it; `roles` are proposed with the contexts (PS3.7 D.3.3.4).

    Raises:
        NoAssociation: the peer cannot be reached, rejects, aborts, takes no context, or announces PDUs too
            small to work with.
    """
    tame()
    association = _associate(peer, calling_ae, contexts, limits, handlers=handlers, roles=roles)
    line = Line(association, limits)
    try:
        announced = association.acceptor.maximum_length or limits.pdu_bytes_max
        if announced < limits.peer_pdu_bytes_min:
            line.abort()
            raise NoAssociation("protocol_error")
        yield line
    finally:
        line.hang_up()


def _associate(
    peer: Peer,
    calling_ae: str,
    contexts: Sequence[PresentationContext],
    limits: Limits,
    *,
    handlers: Sequence[evt.EventHandlerType],
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
) -> Association:
    """Return an established association or say why there is none."""
    if not peer.port:
        raise NoAssociation("unreachable")
    connected: list[bool] = []
    received = _ReplyBudget(limits)

    def opened(event: evt.Event) -> None:
        connected.append(True)
        connection = connection_of(event.assoc)
        assert connection is not None
        prepare(connection, seconds_max=limits.network_seconds_max)

    entity = _entity(calling_ae, limits, peer)
    try:
        association = entity.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=limits.pdu_bytes_max,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, opened),
                (evt.EVT_DATA_RECV, received.count),
                (evt.EVT_DIMSE_RECV, received.reset),
                *handlers,
            ],
            ext_neg=[*roles, *proposed(peer.user)],
        )
    except OSError:
        # The host's name has no address.
        raise NoAssociation("unreachable") from None
    except TlsFault as fault:
        log.error("tls.refused_files", reason=str(fault))
        raise NoAssociation("tls_files") from None
    if association.is_established and hold(association, seconds_max=limits.acse_seconds_max):
        return association
    _wind_up(association, limits)
    rejection = rejection_of(association)
    why = "rejected" if rejection else entity.tls_failure or failure_of(association, bool(connected))
    raise NoAssociation(why, rejection=rejection)


def _wind_up(association: Association, limits: Limits) -> None:
    """Wait for an association's threads, cut the socket under them when they stay, and close it."""
    # Lets the reactor see what happened.
    association._reactor_checkpoint.set()
    for overdue in (False, True):
        if overdue:
            cut(association)
        deadline = time.monotonic() + limits.abort_seconds_max
        while association.dul.is_alive() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    if connection := connection_of(association):
        connection.close()


class _Entity(AE):
    """pynetdicom's application entity on sockets that close, under TLS where the peer has it."""

    def __init__(self, calling_ae: str, limits: Limits, peer: Peer | None) -> None:
        super().__init__(calling_ae)
        self._peer, self._limits = peer, limits
        self._calling: CallingConnection | None = None

    @property
    def tls_failure(self) -> str:
        """Return what TLS failed at, as the last part of a log word; "" when it did not."""
        return self._calling.failure if self._calling is not None else ""

    def _create_socket(self, *args: Any) -> AssociationSocket:
        """Return a socket that is not connected yet."""
        wrapped = super()._create_socket(*args)
        assert wrapped.socket is not None
        wrapped.socket = adopt(wrapped.socket)
        if self._peer is not None and self._peer.tls is not None:
            try:
                wrapped.socket = self._calling = secured(wrapped.socket, self._peer, self._limits)
            except TlsFault:
                wrapped.socket.close()
                raise
        return wrapped


def _entity(calling_ae: str, limits: Limits, peer: Peer | None = None) -> _Entity:
    """Return an application entity with our bounds; under TLS where `peer`, whom it calls, has it."""
    entity = _Entity(calling_ae, limits, peer)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = limits.connect_seconds_max
    entity.acse_timeout = limits.acse_seconds_max
    entity.dimse_timeout = limits.dimse_seconds_max
    # Between two of our requests the peer is silent, and that is no fault of its own.
    entity.network_timeout = None
    return entity


class _ReplyBudget:
    """Aborts an association whose peer answers without end."""

    def __init__(self, limits: Limits) -> None:
        self._bytes_max = limits.reply_bytes_max
        self._bytes = 0

    def count(self, event: evt.Event) -> None:
        """Add what came in one PDU."""
        self._bytes += len(event.data)
        if self._bytes > self._bytes_max:
            log.warning("node.reply_too_large", bytes=self._bytes)
            event.assoc.abort(block=False)

    def reset(self, _event: evt.Event) -> None:
        """Begin the next message."""
        self._bytes = 0
