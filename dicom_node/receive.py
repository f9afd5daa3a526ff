"""Take one C-STORE request to a status: authorise, judge, keep, answer (PS3.4 B.2, PS3.7 9.1.1).

Success is answered only after `Keeper.keep` returned, and that means durable.
Whatever happens, the sender gets exactly one status of `dicom_node.status` and the log one word.
The data set is handed on as it came; it is never decoded and encoded again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Protocol, cast

import structlog
from pydicom.dataset import Dataset

from dicom_node.errors import COMMENT_CHARACTERS_MAX, Refusal
from dicom_node.limits import Limits
from dicom_node.preflight import Header, inspect, scan, study_uid_of
from dicom_node.status import Status
from dicom_node.values import Peer, Uid, short

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

log = structlog.get_logger(__name__)

# Stands in the command for an instance UID that it lacked; it is refused as missing.
NO_UID: Final = "2.25.0"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One instance that passed preflight: its encoded data set exactly as received, and who sent it."""

    data: bytes
    header: Header
    calling_ae: str
    called_ae: str
    peer_name: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One instance that was not kept; `study_uid` only where the refused bytes could be read that far."""

    study_uid: str | None
    status: Status
    word: str
    reason: str
    peer_name: str


OnRefused = Callable[[Refused], None]


class Keeper(Protocol):
    """Where instances go; called on the thread of the association that brought them, many at a time."""

    def keep(self, arrival: Arrival) -> None:
        """Make one instance durable; it will be acknowledged when this returns.

        Raises:
            Refusal: NO_SPACE, STORAGE_FAULT or DRAINING; nothing of the instance is kept.
        """


def handle_store(
    event: Event, *, peer: Peer, keeper: Keeper, limits: Limits, on_refused: OnRefused
) -> Dataset | int:
    """Answer one C-STORE request from `peer` (PS3.7 9.1.1), and tell `on_refused` what was not kept.

    Returns 0 after the instance was kept, else a status with a comment that holds no patient data.
    """
    try:
        arrival = _judge(event, peer, limits)
        keeper.keep(arrival)
    except Refusal as refusal:
        _tell(on_refused, event, refusal, peer, limits)
        return _refuse(event, refusal, peer)
    # The loop of an association: an error nobody foresaw must answer the sender and spare what follows.
    except Exception as fault:  # noqa: BLE001
        return _our_fault(event, fault, peer)
    _note_kept(arrival)
    return Status.KEPT.value


def _judge(event: Event, peer: Peer, limits: Limits) -> Arrival:
    """Return the arrival that the request brings, or refuse it."""
    if "store" not in peer.may:
        raise Refusal(Status.NOT_AUTHORISED, "receive.not_authorised", "This AE title may not store here")
    request, context = cast("C_STORE", event.request), event.context
    if request.AffectedSOPClassUID != context.abstract_syntax:
        raise Refusal(
            Status.CLASS_NOT_SUPPORTED, "receive.class_not_negotiated", "SOP class is not that of the context"
        )
    instance = str(request.AffectedSOPInstanceUID)
    data: bytes = event.encoded_dataset(include_meta=False)
    header = inspect(
        data,
        scan(data, str(context.transfer_syntax), limits),
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid="" if instance == NO_UID else instance,
    )
    requestor, acceptor = event.assoc.requestor, event.assoc.acceptor
    return Arrival(
        data=data,
        header=header,
        calling_ae=requestor.ae_title.strip(),
        called_ae=acceptor.ae_title.strip(),
        peer_name=peer.name,
    )


def _tell(on_refused: OnRefused, event: Event, refusal: Refusal, peer: Peer, limits: Limits) -> None:
    """Tell people of a refusal, if they can be told: the sender gets its status either way."""
    try:
        on_refused(_refused(event, refusal, peer, limits))
    # On a full disk nothing can be noted, and that is just when the sender must hear A700.
    except Exception as fault:  # noqa: BLE001 - the loop of an association
        log.error("receive.refusal_unnoted", error=type(fault).__name__, peer=peer.name)


def _refused(event: Event, refusal: Refusal, peer: Peer, limits: Limits) -> Refused:
    """Say what was refused, for the people who look after the study."""
    data: bytes = event.encoded_dataset(include_meta=False)
    return Refused(
        study_uid=study_uid_of(data, str(event.context.transfer_syntax), limits),
        status=refusal.status,
        word=refusal.word,
        reason=refusal.comment,
        peer_name=peer.name,
    )


def _refuse(event: Event, refusal: Refusal, peer: Peer) -> Dataset:
    """Tell the log and the sender why an instance was not kept."""
    log.warning(
        refusal.word,
        status=f"{refusal.status:04X}",
        reason=refusal.comment,
        offset=refusal.offset,
        peer=peer.name,
        instance=_instance(event),
    )
    response = answer(refusal.status, refusal.comment)
    if refusal.status == Status.UID_INVALID:
        # The library echoes the UID of the command; a malformed one is left out (PS3.7 9.1.1.1: optional).
        response.AffectedSOPInstanceUID = None
    return response


def _our_fault(event: Event, fault: Exception, peer: Peer) -> Dataset:
    """Answer 0110 with a number under which the log says where it broke, but not the message: PHI."""
    incident = secrets.token_hex(4)
    frame = fault.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f"{PurePath(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    log.error(
        "receive.our_fault",
        incident=incident,
        error=type(fault).__name__,
        where=where,
        peer=peer.name,
        instance=_instance(event),
    )
    return answer(Status.OUR_FAULT, f"Internal fault, incident {incident}")


def _instance(event: Event) -> str:
    """Return the digest of the instance's UID for the log."""
    return short(str(cast("C_STORE", event.request).AffectedSOPInstanceUID))


def _note_kept(arrival: Arrival) -> None:
    """Log an instance at debug, and what is odd about it at info."""
    header = arrival.header
    log.debug("receive.kept", study=short(header.study_uid), instance=short(header.sop_instance_uid))
    uids = (header.sop_instance_uid, header.study_uid, header.series_uid)
    if any(Uid(uid).has_leading_zero for uid in uids):
        log.info("receive.uid_leading_zero", peer=arrival.peer_name, study=short(header.study_uid))


def answer(status: Status, comment: str) -> Dataset:
    """Return a C-STORE status with its Error Comment (0000,0902), PS3.7 Annex C."""
    assert len(comment) <= COMMENT_CHARACTERS_MAX
    dataset = Dataset()
    dataset.Status = status.value
    dataset.ErrorComment = comment
    return dataset
