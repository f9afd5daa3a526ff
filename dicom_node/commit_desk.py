"""Storage commitment at the listener: requests of peers, and their reports to us (PS3.4 J).

Promises: a request is answered 0000 after whoever keeps promises has it; every refusal has a status of
PS3.7 and a log word; reports are taken a few at a time.
Never: knows what is kept here.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol, cast

import structlog
from pynetdicom import evt
from pynetdicom.dimse_messages import N_ACTION_RQ, N_EVENT_REPORT_RQ
from pynetdicom.dimse_primitives import N_ACTION

from dicom_node.commit_take import take_report
from dicom_node.commit_tell import is_idle, tell_here
from dicom_node.commitment import (
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    Report,
    Request,
    Status,
    Unsound,
    read_request,
)
from dicom_node.limits import Limits
from dicom_node.values import Peer, short

if TYPE_CHECKING:
    from dicom_node.association import GuardedAssociation

log = structlog.get_logger(__name__)

MESSAGES: Final = (N_ACTION_RQ, N_EVENT_REPORT_RQ)
_LOOK_SECONDS: Final = 0.1


class Steward(Protocol):
    """Who keeps promises, and the answers to what was asked of peers; called on threads of associations."""

    # Whether peers may ask at all.
    commits: bool

    def promise(self, peer: Peer, request: Request) -> None:
        """Take a request durably, so that its report is owed.

        Raises:
            Unsound: it is not taken.
        """

    def report_for(self, peer: Peer, transaction_uid: str) -> Report | None:
        """Return the report that is owed, or None while it cannot be made yet."""

    def told(self, peer: Peer, report: Report) -> None:
        """Note that a peer took this report, which it was owed."""

    def reported(self, peer: Peer, report: Report) -> bool:
        """Take a peer's report durably; say whether it answers a request made of this peer."""


class Desk:
    """Answers N-ACTION and N-EVENT-REPORT."""

    def __init__(self, steward: Steward, limits: Limits) -> None:
        self._steward, self._limits = steward, limits
        # The library takes each report on a thread of its own.
        self._seats = threading.BoundedSemaphore(limits.commitment_reports_at_once_max)

    def action(self, event: evt.Event, peer: Peer) -> tuple[int, None]:
        """Answer an N-ACTION (PS3.4 J.3.2); its report follows once the answer has left."""
        try:
            request = self._asked(event, peer)
            self._steward.promise(peer, request)
        except Unsound as fault:
            log.warning(fault.word, peer=peer.name, status=f"{fault.status:04X}")
            return fault.status.value, None
        # The loop of an association: what nobody foresaw must answer the peer, which asks again.
        except Exception as fault:  # noqa: BLE001
            log.error("commit.our_fault", peer=peer.name, error=type(fault).__name__)
            return Status.PROCESSING_FAILURE.value, None
        references, transaction = len(request.references), short(request.transaction_uid)
        log.info("commit.asked", peer=peer.name, transaction=transaction, references=references)
        association, context = cast("GuardedAssociation", event.assoc), event.context
        association.afterwards = lambda: self._tell(association, peer, request, context)
        return Status.TAKEN.value, None

    def report(self, event: evt.Event, peer: Peer) -> tuple[int, None]:
        """Answer an N-EVENT-REPORT (PS3.4 J.3.3)."""
        if not self._seats.acquire(blocking=False):
            log.warning("confirm.too_many_at_once", peer=peer.name)
            return Status.RESOURCE_LIMITATION.value, None
        try:
            status = take_report(
                event, peer, lambda report: self._steward.reported(peer, report), self._limits
            )
        finally:
            self._seats.release()
        return status, None

    def _asked(self, event: evt.Event, peer: Peer) -> Request:
        """Authorise and read a request."""
        asked = cast("N_ACTION", event.request)
        if not self._steward.commits or "store" not in peer.may:
            raise Unsound(Status.NOT_AUTHORISED, "commit.not_authorised")
        if str(asked.RequestedSOPInstanceUID) != PUSH_MODEL_INSTANCE:
            raise Unsound(Status.NO_SUCH_INSTANCE, "commit.wrong_instance")
        if asked.ActionTypeID != REQUEST_COMMITMENT:
            raise Unsound(Status.NO_SUCH_ACTION, "commit.wrong_action")
        return read_request(asked.ActionInformation, str(event.context.transfer_syntax), self._limits)

    def _tell(self, association: GuardedAssociation, peer: Peer, request: Request, context: object) -> None:
        """Report on the association of a request, if its peer stays on the line for a moment."""
        deadline, pause = time.monotonic() + self._limits.commitment_event_seconds, _LOOK_SECONDS
        try:
            while is_idle(association) and time.monotonic() < deadline:
                report = self._steward.report_for(peer, request.transaction_uid)
                if report is not None:
                    told = tell_here(association, peer, report, context=context, limits=self._limits)
                    if told.ok:
                        self._steward.told(peer, report)
                    return
                time.sleep(pause)
                pause *= 1.5
        # As above: the report stays owed, and goes on an association of its own.
        except Exception as fault:  # noqa: BLE001
            log.error("commit.our_fault", peer=peer.name, error=type(fault).__name__)
