"""Take one C-STORE request to a status: authorise, gather, judge, keep, answer (PS3.4 B.2, PS3.7 9.1.1).

Promises: success is answered only after `Incoming.keep` returned, and that means durable; whatever happens,
the sender gets exactly one status of `dicom_node.status` and the log one word.
Whichever way the bytes came off the wire, this is the one way from "complete" to a status.
Never: decodes a data set and encodes it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, cast

import structlog
from pydicom.dataset import Dataset

from dicom_node.errors import COMMENT_CHARACTERS_MAX, Refusal
from dicom_node.familiar import Judge
from dicom_node.intake import Arrival, Incoming, Intake
from dicom_node.limits import Limits
from dicom_node.preflight import study_uid_of
from dicom_node.status import Status
from dicom_node.turned import TurnedAway
from dicom_node.values import Peer, Uid, short

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

__all__ = ["NO_UID", "Answer", "Arrival", "OnRefused", "Receiving", "Reception", "Refused", "Request"]

log = structlog.get_logger(__name__)

# Stands in the command for an instance UID that it lacked; it is refused as missing.
NO_UID: Final = "2.25.0"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One instance that was not kept; `study_uid` only where the refused bytes could be read that far."""

    study_uid: str | None
    status: Status
    word: str
    reason: str
    peer_name: str


OnRefused = Callable[[Refused], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a C-STORE command announces, and the context and association it came under.

    `study_uid`, when not empty, is the only study that may come: a STOW-RS request names it in its URL.
    """

    sop_class_uid: str
    sop_instance_uid: str
    abstract_syntax_uid: str
    transfer_syntax_uid: str
    peer: Peer
    calling_ae: str
    called_ae: str
    study_uid: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The status of one request, and the comment that goes with any but success (PS3.7 Annex C)."""

    status: Status
    comment: str = ""


@dataclass(frozen=True, kw_only=True)
class Reception:
    """What a listener receives with: where instances go, within which bounds, and who hears of refusals."""

    intake: Intake
    limits: Limits
    on_refused: OnRefused


class Receiving:
    """The data set of one request on its way from the command to the status."""

    def __init__(self, reception: Reception, judge: Judge, request: Request) -> None:
        """Open a place for the bytes, or turn them away if they may not come."""
        self._reception, self._judge = reception, judge
        self._request = request
        self._study_uid: str | None = None
        self._incoming = self._begin()

    def _begin(self) -> Incoming:
        try:
            _authorise(self._request)
            return self._reception.intake.begin()
        # The data set has to be read before it can be answered, whatever the reason why it is not wanted.
        except Exception as fault:  # noqa: BLE001 - the loop of an association
            return TurnedAway(fault)

    def room(self) -> memoryview:
        """Return writable room for the next bytes, one at least."""
        try:
            return self._incoming.room()
        except Exception as fault:  # noqa: BLE001 - as above
            self._incoming = TurnedAway(fault)
            return self._incoming.room()

    def filled(self, count: int) -> None:
        """Say that the first `count` bytes of the last `room` hold what came."""
        self._incoming.filled(count)

    def pour(self, data: memoryview) -> None:
        """Copy bytes that are already here."""
        while data:
            room = self.room()[: len(data)]
            room[:] = data[: len(room)]
            self.filled(len(room))
            data = data[len(room) :]

    def abandon(self) -> None:
        """Forget what came: the association ended before the data set did."""
        self._incoming.abandon()

    def finish(self) -> Answer:
        """Judge and keep what came, and say what became of it (PS3.7 9.1.1)."""
        try:
            arrival = self._judged()
            self._incoming.keep(arrival)
        except Refusal as refusal:
            self._tell(refusal)
            return _refuse(self._request, refusal)
        # The loop of an association: an error nobody foresaw must answer the sender and spare what follows.
        except Exception as fault:  # noqa: BLE001
            return _our_fault(self._request, fault)
        _note_kept(arrival)
        return Answer(status=Status.KEPT)

    def _judged(self) -> Arrival:
        """Return the arrival that the bytes are, or forget them."""
        try:
            with self._incoming.whole() as data:
                if isinstance(self._incoming, TurnedAway):
                    self._study_uid = self._read_study_uid(data)
                    raise self._incoming.fault
                return self._inspected(data)
        except BaseException:
            self._incoming.abandon()
            raise

    def _inspected(self, data: memoryview) -> Arrival:
        request = self._request
        try:
            header = self._judge.header(
                data,
                request.transfer_syntax_uid,
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
            )
        except Refusal:
            self._study_uid = self._read_study_uid(data)
            raise
        self._study_uid = header.study_uid
        if request.study_uid not in ("", header.study_uid):
            raise Refusal(
                Status.UID_MISMATCH, "receive.study_mismatch", "Study Instance UID is not that of the URL"
            )
        return Arrival(
            header=header,
            calling_ae=request.calling_ae,
            called_ae=request.called_ae,
            peer_name=request.peer.name,
        )

    def _read_study_uid(self, data: memoryview) -> str | None:
        return study_uid_of(data, self._request.transfer_syntax_uid, self._reception.limits)

    def _tell(self, refusal: Refusal) -> None:
        """Tell people of a refusal, if they can be told: the sender gets its status either way."""
        name = self._request.peer.name
        try:
            self._reception.on_refused(_refused(refusal, self._study_uid, name))
        # On a full disk nothing can be noted, and that is just when the sender must hear A700.
        except Exception as fault:  # noqa: BLE001 - the loop of an association
            log.error("receive.refusal_unnoted", error=type(fault).__name__, peer=name)


def handle_store(event: Event, *, peer: Peer, reception: Reception, judge: Judge) -> Dataset | int:
    """Answer one C-STORE request whose bytes the library gathered (PS3.7 9.1.1).

    Returns 0 after the instance was kept, else a status with a comment that holds no patient data.
    """
    stored, context = cast("C_STORE", event.request), event.context
    instance = str(stored.AffectedSOPInstanceUID)
    request = Request(
        sop_class_uid=str(stored.AffectedSOPClassUID),
        sop_instance_uid="" if instance == NO_UID else instance,
        abstract_syntax_uid=str(context.abstract_syntax),
        transfer_syntax_uid=str(context.transfer_syntax),
        peer=peer,
        calling_ae=event.assoc.requestor.ae_title.strip(),
        called_ae=event.assoc.acceptor.ae_title.strip(),
    )
    return answer_to(event, request, reception=reception, judge=judge)


def answer_to(event: Event, request: Request, *, reception: Reception, judge: Judge) -> Dataset | int:
    """Take a C-STORE request that the library gathered, as `request` says; return as `handle_store`."""
    receiving = Receiving(reception, judge, request)
    receiving.pour(memoryview(event.encoded_dataset(include_meta=False)))
    given = receiving.finish()
    return Status.KEPT.value if given.status is Status.KEPT else _response(given)


def _authorise(request: Request) -> None:
    """Refuse a request before a byte of its data set was read."""
    if "store" not in request.peer.may:
        raise Refusal(Status.NOT_AUTHORISED, "receive.not_authorised", "This AE title may not store here")
    if request.sop_class_uid != request.abstract_syntax_uid:
        raise Refusal(
            Status.CLASS_NOT_SUPPORTED, "receive.class_not_negotiated", "SOP class is not that of the context"
        )


def _refused(refusal: Refusal, study_uid: str | None, peer_name: str) -> Refused:
    """Say what was refused, for the people who look after the study."""
    return Refused(
        study_uid=study_uid,
        status=refusal.status,
        word=refusal.word,
        reason=refusal.comment,
        peer_name=peer_name,
    )


def _refuse(request: Request, refusal: Refusal) -> Answer:
    """Tell the log why an instance was not kept, and say what the sender hears."""
    log.warning(
        refusal.word,
        status=f"{refusal.status:04X}",
        reason=refusal.comment,
        offset=refusal.offset,
        peer=request.peer.name,
        instance=short(request.sop_instance_uid),
    )
    return Answer(status=refusal.status, comment=refusal.comment)


def _our_fault(request: Request, fault: Exception) -> Answer:
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
        peer=request.peer.name,
        instance=short(request.sop_instance_uid),
    )
    return Answer(status=Status.OUR_FAULT, comment=f"Internal fault, incident {incident}")


def _note_kept(arrival: Arrival) -> None:
    """Log what is odd about an instance; that it came is in the ledger, and a line each would be a flood."""
    header = arrival.header
    if Uid(f"{header.sop_instance_uid}.{header.study_uid}.{header.series_uid}").has_leading_zero:
        log.info("receive.uid_leading_zero", peer=arrival.peer_name, study=short(header.study_uid))


def _response(given: Answer) -> Dataset:
    """Return a C-STORE status with its Error Comment (0000,0902), PS3.7 Annex C, as the library takes it."""
    assert len(given.comment) <= COMMENT_CHARACTERS_MAX
    dataset = Dataset()
    dataset.Status = given.status.value
    dataset.ErrorComment = given.comment
    if given.status is Status.UID_INVALID:
        # The library echoes the UID of the command; a malformed one is left out (PS3.7 9.1.1.1: optional).
        dataset.AffectedSOPInstanceUID = None
    return dataset
