"""Answer the network: C-ECHO for every known peer, C-STORE for those that may store (PS3.4 A, B).

Promises: an acknowledgement follows the instance it belongs to, once that is kept; a bounded number of
connections, of associations and of bytes for each; an end within the time asked for.
Never: writes a file, or decides what an instance is for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.presentation import PresentationContext

from dicom_node.association import Ground, GuardedAssociation
from dicom_node.commit_desk import MESSAGES, Desk, Steward
from dicom_node.commitment import commitment_context
from dicom_node.gate import GuardedServer
from dicom_node.intake import Intake
from dicom_node.library import tame
from dicom_node.limits import Limits
from dicom_node.notice_desk import NOTICE_MESSAGES, Clerk, NoticeDesk
from dicom_node.notices import notice_contexts
from dicom_node.proof import proof_of
from dicom_node.receive import NO_UID, OnRefused, Reception, Refused, handle_store
from dicom_node.roster import (
    DRAINING,
    FULL,
    IDENTITY_MISMATCH,
    USER_REFUSED,
    OnSuspect,
    Rejection,
    Roster,
    Suspect,
)
from dicom_node.sockets import acknowledge_at_once, connection_of, cut
from dicom_node.status import Status
from dicom_node.storage_classes import STORAGE_CLASSES, VERIFICATION
from dicom_node.syntaxes import NATIVE, OFFERED
from dicom_node.tls import Credentials
from dicom_node.values import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    AeTitle,
    Peer,
)

if TYPE_CHECKING:
    from pynetdicom.pdu_primitives import A_ABORT

log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.05
_CONTEXTS_LOGGED_MAX = 8


def _nothing() -> None:
    """Do nothing: the default for `on_quiet`."""


def _ignore(_refused: Refused | Suspect) -> None:
    """Do nothing: the default for `on_refused` and `on_suspect`."""


class Listener:
    """One bound port that keeps what known peers store on it."""

    def __init__(
        self,
        *,
        ae_title: str,
        host: str,
        port: int,
        peers: Sequence[Peer],
        intake: Intake,
        limits: Limits,
        on_quiet: Callable[[], None] = _nothing,
        on_refused: OnRefused = _ignore,
        on_suspect: OnSuspect = _ignore,
        tls: Credentials | None = None,
        reuse_port: bool = False,
        steward: Steward | None = None,
        clerk: Clerk | None = None,
    ) -> None:
        """Hold what is needed; nothing is bound before `start`.

        `port` 0 takes a free one. `tls`, when given, is spoken from the first byte (PS3.15 B.12), and peers
        show certificates that are bound to their AE titles.
        With `reuse_port` other processes may listen on the same port beside this one.
        `on_quiet` is called on an association's thread when it ended;
        `on_refused` there too, for each instance that was not kept;
        `on_suspect` for a handshake or an association of somebody who is not who they should be.
        With a `steward` peers may ask for storage commitment, and report theirs; with a `clerk` those that
        may notify say what belongs to a study.
        """
        tame()
        self._ae_title = AeTitle.parse(ae_title)
        self._address = (host, port)
        self._roster = Roster(self._ae_title, peers)
        self._reception = Reception(intake=intake, limits=limits, on_refused=on_refused)
        self._limits = limits
        self._on_quiet = on_quiet
        self._on_suspect = on_suspect
        self._draining = threading.Event()
        self._tls = tls
        self._reuse_port = reuse_port
        self._desk = Desk(steward, limits) if steward is not None else None
        self._notices = NoticeDesk(clerk, limits) if clerk is not None else None
        self._seats = threading.Lock()
        self._server: GuardedServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Bind, listen and serve on a thread of our own; return the bound port.

        Raises:
            OSError: the address cannot be bound.
            TlsFault: the files of TLS cannot be used.
        """
        assert self._server is None, "a listener is started once"
        if self._tls is not None:
            self._tls.look()
        server = GuardedServer(
            self._entity(),
            self._address,
            self._ae_title,
            supported_contexts(commitment=self._desk is not None, notices=self._notices is not None),
            evt_handlers=self._handlers(),
            socket_seconds_max=self._limits.network_seconds_max,
            ground=Ground(reception=self._reception, peer=self._roster.peer),
            on_suspect=self._on_suspect,
            tls=self._tls,
            reuse_port=self._reuse_port,
        )
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(_POLL_SECONDS,), name="listener", daemon=True
        )
        self._thread.start()
        port: int = server.server_address[1]
        log.info("node.listening", port=port, peers=len(self._roster))
        return port

    def drain(self, seconds: float) -> None:
        """Reject new associations as congested (PS3.8 9.3.4), let running ones end, then abort the rest.

        Returns when no association is left, which is at most `seconds` and the time of an abort away.
        """
        self._draining.set()
        log.info("node.draining", associations=len(self._associations()))
        if not self._wait_until_idle(seconds):
            self._abort_all()

    def stop(self) -> None:
        """Abort what still runs and close the port; calling it again does nothing."""
        if self._server is None or self._thread is None:
            return
        self._draining.set()
        self._abort_all()
        self._server.shutdown()
        self._thread.join()
        self._server = self._thread = None
        log.info("node.stopped")

    def _entity(self) -> AE:
        """Return pynetdicom's application entity with our bounds."""
        entity = AE(self._ae_title)
        limits = self._limits
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_pdu_size = limits.pdu_bytes_max
        # The library counts connections that have not associated too, and those that gave way and are on
        # their way out, so it is not the one to count.
        entity.maximum_associations = 2 * limits.connections_max
        entity.acse_timeout = limits.acse_seconds_max
        entity.dimse_timeout = limits.dimse_seconds_max
        entity.network_timeout = limits.network_seconds_max
        return entity

    def _handlers(self) -> list[evt.EventHandlerType]:
        """Return what is called when; those that are answered come first."""
        desk, notices = self._desk, self._notices
        answered: list[evt.EventHandlerType] = []
        if desk is not None:
            answered += [
                (evt.EVT_N_ACTION, lambda event: desk.action(event, self._peer(event))),
                (evt.EVT_N_EVENT_REPORT, lambda event: desk.report(event, self._peer(event))),
            ]
        if notices is not None:
            answered += [
                (evt.EVT_N_CREATE, lambda event: notices.create(event, self._peer(event))),
                (evt.EVT_N_SET, lambda event: notices.set(event, self._peer(event))),
            ]
        return [
            *answered,
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, self._echo),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_DATA_RECV, self._received),
            (evt.EVT_DIMSE_RECV, self._message_complete),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_ABORTED, self._aborted),
        ]

    def _store(self, event: evt.Event) -> Dataset | int:
        """Answer a C-STORE request."""
        return handle_store(
            event, peer=self._peer(event), reception=self._reception, judge=_association(event).judge
        )

    def _echo(self, event: evt.Event) -> int:
        """Answer a C-ECHO request (PS3.7 9.1.5).

        The library dispatches by SOP class: a C-STORE that names Verification comes here too.
        """
        if not isinstance(event.request, C_ECHO):
            log.warning("receive.class_not_negotiated", peer=self._peer(event).name)
            return Status.CLASS_NOT_SUPPORTED
        log.info("node.echo", peer=self._peer(event).name)
        return Status.KEPT

    def _peer(self, event: evt.Event) -> Peer:
        """Return who is on the other end of an accepted association."""
        peer = self._roster.peer(event.assoc.requestor.ae_title)
        assert peer is not None, "only known peers get past _requested"
        return peer

    def _name(self, event: evt.Event) -> str:
        """Return the peer's name for the log; an association may be cut before anyone was asked who it is."""
        peer = self._roster.peer(event.assoc.requestor.ae_title)
        return peer.name if peer else ""

    def _requested(self, event: evt.Event) -> None:
        """Reject an association that may not be; it runs before anything is negotiated."""
        association = _association(event)
        asked, address = association.requestor.primitive, association.requestor.address_info
        assert asked is not None, "a request has arrived"
        refused = self._roster.rejection(
            calling_ae=asked.calling_ae_title,
            called_ae=asked.called_ae_title,
            proof=proof_of(connection_of(association)),
            proposed=asked.user_information,
        )
        rejection = DRAINING if self._draining.is_set() else refused
        if rejection is None and not self._take_seat(association):
            rejection = FULL
        if rejection is None:
            return
        log.warning(
            rejection.word,
            calling_ae=asked.calling_ae_title,
            called_ae=asked.called_ae_title,
            address=address.address if address else None,
            reason=rejection.reason,
        )
        if rejection in (IDENTITY_MISMATCH, USER_REFUSED):
            self._suspect(association, rejection)
        association.acse.send_reject(rejection.result, rejection.source, rejection.reason)
        # Waits until the rejection is on the wire; the reactor would close the socket at once.
        association.kill()

    def _suspect(self, association: GuardedAssociation, rejection: Rejection) -> None:
        """Tell of a known AE title with another's certificate, with none, or without its user."""
        asked, address = association.requestor.primitive, association.requestor.address_info
        proof = proof_of(connection_of(association))
        suspect = Suspect(
            word=rejection.word,
            reason="user"
            if rejection is USER_REFUSED
            else ("no_certificate" if proof is None else "another_certificate"),
            address=address.address if address else "",
            calling_ae=asked.calling_ae_title.strip() if asked else "",
        )
        shown = "" if proof is None else proof.sha256
        log.warning("roster.shown", calling_ae=suspect.calling_ae, certificate_sha256=shown)
        self._on_suspect(suspect)

    def _take_seat(self, association: GuardedAssociation) -> bool:
        """Count an association among those that stand, if there is room (PS3.8 9.3.4)."""
        with self._seats:
            seated = sum(1 for other in self._associations() if other.seated)
            association.seated = seated < self._limits.associations_max
        return association.seated

    def _accepted(self, event: evt.Event) -> None:
        """Note an association and the contexts it did not get."""
        association = event.assoc
        # Not set by the library before the negotiation, which ends here.
        name = self._peer(event).name
        log.info("node.association", peer=name, contexts=len(association.accepted_contexts))
        refused = association.rejected_contexts
        if refused:
            shown = sorted({str(context.abstract_syntax) for context in refused})
            log.warning(
                "node.context_refused",
                peer=name,
                contexts=len(refused),
                sop_classes=shown[:_CONTEXTS_LOGGED_MAX],
            )

    def _received(self, event: evt.Event) -> None:
        """Count the bytes of the message being received and stop one that has no end."""
        association = _association(event)
        connection = connection_of(association)
        if connection is not None:
            acknowledge_at_once(connection)
        association.partial_bytes += len(event.data)
        total = association.partial_bytes
        limits, message = self._limits, association.dimse.message
        word, bytes_max = "receive.instance_too_large", limits.instance_bytes_max
        if isinstance(message, MESSAGES):
            word, bytes_max = "commit.too_large", limits.commitment_bytes_max
        elif isinstance(message, NOTICE_MESSAGES):
            word, bytes_max = "notice.too_large", limits.notice_bytes_max
        # The slack covers the framing of the command and of the fragments.
        if total > bytes_max + bytes_max // 8 + (1 << 16):
            log.warning(word, bytes=total)
            association.partial_bytes = 0
            association.abort(block=False)

    def _message_complete(self, event: evt.Event) -> None:
        """Start counting anew, and see that a C-STORE without an instance UID is answered.

        The library drops it, and its sender waits for an answer until it gives up.
        """
        _association(event).partial_bytes = 0
        if isinstance(event.message, C_STORE_RQ) and not event.message.command_set.get(
            "AffectedSOPInstanceUID"
        ):
            event.message.command_set.AffectedSOPInstanceUID = NO_UID

    def _released(self, event: evt.Event) -> None:
        """Note an association that ended as it should."""
        log.info("node.released", peer=self._name(event))
        self._on_quiet()

    def _aborted(self, event: evt.Event) -> None:
        """Note an association that was cut, and how much of an instance was lost with it."""
        lost = _association(event).partial_bytes
        idle = event.assoc.dul.idle_timer_expired()
        log.warning("node.idle" if idle else "receive.aborted", peer=self._name(event), bytes=lost)
        self._on_quiet()

    def _associations(self) -> list[GuardedAssociation]:
        """Return what is connected."""
        return cast("list[GuardedAssociation]", self._server.active_associations) if self._server else []

    def _wait_until_idle(self, seconds: float) -> bool:
        """Wait for the last association to end; tell whether it did."""
        deadline = time.monotonic() + seconds
        while self._associations():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def _abort_all(self) -> None:
        """Abort every association (PS3.8 9.3.8), then close under those that do not end."""
        for association in self._associations():
            if association.is_established:
                association.abort(block=False)
            else:
                # Nothing to abort yet; its thread waits for a request that will not come.
                cut(association)
                association.dul.to_user_queue.put(cast("A_ABORT", None))
        if self._wait_until_idle(self._limits.abort_seconds_max):
            return
        for association in self._associations():
            cut(association)
        self._wait_until_idle(self._limits.abort_seconds_max)


def _association(event: evt.Event) -> GuardedAssociation:
    """Return the association of an event; a listener has no other kind."""
    return cast("GuardedAssociation", event.assoc)


def supported_contexts(*, commitment: bool = False, notices: bool = False) -> list[PresentationContext]:
    """Return every context a sender may propose: verification, and each storage class in each syntax.

    With `commitment` that of storage commitment too, in both roles; with `notices` those of availability and
    of performed steps.
    """
    return [
        *([commitment_context(both_roles=True)] if commitment else []),
        *(notice_contexts() if notices else []),
        build_context(VERIFICATION, list(NATIVE)),
        *(build_context(uid, list(OFFERED)) for uid in sorted(STORAGE_CLASSES)),
    ]
