"""Notices at the listener: N-CREATE and N-SET of availability and of performed steps (PS3.4 R, F.7).

Promises: 0000 is answered after whoever keeps notices has it; every refusal has a status of PS3.7 and a log
word; one notice is read at a time.
Never: knows which studies there are.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.dimse_messages import N_CREATE_RQ, N_SET_RQ

from dicom_node.limits import Limits
from dicom_node.notices import (
    INSTANCE_AVAILABILITY,
    PERFORMED_STEP,
    Availability,
    Change,
    Status,
    Step,
    Unsound,
    read_availability,
    read_change,
    read_step,
)
from dicom_node.values import Peer, Uid, short

if TYPE_CHECKING:
    from collections.abc import Callable

    from pynetdicom.dimse_primitives import N_CREATE, N_SET

log = structlog.get_logger(__name__)

NOTICE_MESSAGES: Final = (N_CREATE_RQ, N_SET_RQ)
Answer: TypeAlias = "tuple[int | Dataset, Dataset | None]"


class Clerk(Protocol):
    """Who keeps notices; called on threads of associations. Each takes one durably, or raises Unsound."""

    def available(self, peer: Peer, notice: Availability) -> None:
        """Take what a peer says is available."""

    def began(self, peer: Peer, step: Step) -> None:
        """Take a step that begins."""

    def changed(self, peer: Peer, change: Change) -> None:
        """Take what changed about a step."""


class NoticeDesk:
    """Answers N-CREATE and N-SET."""

    def __init__(self, clerk: Clerk, limits: Limits) -> None:
        self._clerk, self._limits = clerk, limits
        # The largest takes a second or two and tens of megabytes to read: they are read one by one.
        self._turn = threading.Lock()

    def create(self, event: evt.Event, peer: Peer) -> Answer:
        """Answer an N-CREATE (PS3.4 R.3.2.1, F.7.2.1)."""
        return self._answered(peer, lambda: self._create(event, peer))

    def set(self, event: evt.Event, peer: Peer) -> Answer:
        """Answer an N-SET (PS3.4 F.7.2.2)."""
        return self._answered(peer, lambda: self._set(event, peer))

    def _create(self, event: evt.Event, peer: Peer) -> None:
        asked, syntax = cast("N_CREATE", event.request), str(event.context.transfer_syntax)
        sop_class = _judged(event, peer, asked.AffectedSOPClassUID)
        uid = _instance(asked.AffectedSOPInstanceUID)
        if sop_class == INSTANCE_AVAILABILITY:
            notice = read_availability(uid, asked.AttributeList, syntax, self._limits)
            self._clerk.available(peer, notice)
            log.info("notice.available", peer=peer.name, notice=short(uid), instances=len(notice.named))
            return
        step = read_step(uid, asked.AttributeList, syntax, self._limits)
        self._clerk.began(peer, step)
        log.info("notice.in_progress", peer=peer.name, notice=short(uid), studies=len(step.study_uids))

    def _set(self, event: evt.Event, peer: Peer) -> None:
        asked, syntax = cast("N_SET", event.request), str(event.context.transfer_syntax)
        if _judged(event, peer, asked.RequestedSOPClassUID) != PERFORMED_STEP:
            raise Unsound(Status.NO_SUCH_CLASS, "notice.wrong_class")
        uid = _instance(asked.RequestedSOPInstanceUID)
        change = read_change(uid, asked.ModificationList, syntax, self._limits)
        self._clerk.changed(peer, change)
        log.info(
            "notice.changed",
            peer=peer.name,
            notice=short(uid),
            state=change.state.value if change.state else None,
            instances=None if change.named is None else len(change.named),
        )

    def _answered(self, peer: Peer, take: Callable[[], None]) -> Answer:
        try:
            with self._turn:
                take()
        except Unsound as fault:
            log.warning(fault.word, peer=peer.name, status=f"{fault.status:04X}")
            return _refusal(fault), None
        # The loop of an association: what nobody foresaw must answer the peer, which asks again.
        except Exception as fault:  # noqa: BLE001
            log.error("notice.our_fault", peer=peer.name, error=type(fault).__name__)
            return Status.PROCESSING_FAILURE.value, None
        return Status.TAKEN.value, None


def _judged(event: evt.Event, peer: Peer, sop_class: object) -> str:
    """Authorise a request, and return its class, which is that of its context."""
    if "notify" not in peer.may:
        raise Unsound(Status.NOT_AUTHORISED, "notice.not_authorised")
    # The library dispatches by the class that the request names, whatever its context was agreed for.
    if sop_class not in (INSTANCE_AVAILABILITY, PERFORMED_STEP) or sop_class != event.context.abstract_syntax:
        raise Unsound(Status.NO_SUCH_CLASS, "notice.wrong_class")
    return str(sop_class)


def _instance(uid: object) -> str:
    """Return the UID of a notice; its sender gives it (PS3.4 R.3.2.1.2, F.7.2.1.2)."""
    try:
        return str(Uid.parse(str(uid or "")))
    except ValueError as fault:
        raise Unsound(Status.INVALID_INSTANCE, "notice.bad_instance") from fault


def _refusal(fault: Unsound) -> int | Dataset:
    """Return a status, with the Error ID where one belongs to it (PS3.7 C.4)."""
    if fault.error_id is None:
        return fault.status.value
    status = Dataset()
    status.Status, status.ErrorID = fault.status.value, fault.error_id
    status.ErrorComment = "Performed Procedure Step Object may no longer be updated"
    return status
