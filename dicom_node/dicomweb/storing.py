"""Take the parts of one Store request to a status each, by the way that a C-STORE takes (PS3.18 10.5.3).

Promises: an instance counts as stored only after `Incoming.keep` returned, and that means durable; each part
has one outcome, and none spoils another; memory for one instance at a time.
Never: takes what is no DICOM file, or believes its head more than its data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.multipart import Malformed, media_type
from dicom_node.dicomweb.part10 import Meta, MetaReader
from dicom_node.dicomweb.report import Stored
from dicom_node.errors import Refusal
from dicom_node.familiar import Judge
from dicom_node.receive import Answer, Receiving, Reception, Refused, Request
from dicom_node.status import Status
from dicom_node.storage_classes import STORAGE_CLASSES
from dicom_node.syntaxes import encoding_of
from dicom_node.values import Peer, short

log = structlog.get_logger(__name__)

DICOM_TYPE: Final = "application/dicom"
# PS3.18 Table I.2-2: the transfer syntax of the instance is not supported.
SYNTAX_NOT_SUPPORTED: Final = 0xC122
# Asking again later may be answered otherwise.
_PASSING: Final = frozenset((Status.NO_SPACE, Status.STORAGE_FAULT, Status.DRAINING, Status.OUR_FAULT))


class Storing:
    """The sink of one request's parts."""

    def __init__(
        self, reception: Reception, peer: Peer, *, called_ae: str, study_uid: str, limits: WebLimits
    ) -> None:
        """Take instances from `peer`; with `study_uid` only those of that study."""
        self._reception, self._peer, self._called_ae = reception, peer, called_ae
        self._study_uid, self._limits = study_uid, limits
        self._judge = Judge(reception.limits)
        self._head = MetaReader(limits.meta_bytes_max)
        self._receiving: Receiving | None = None
        self._refused: Refusal | None = None
        self._open = False
        self._bytes = 0
        self.outcomes: list[Stored] = []

    def begin(self, fields: Mapping[str, str]) -> None:
        """Begin a part (PS3.18 10.5.1.3)."""
        self._head, self._receiving = MetaReader(self._limits.meta_bytes_max), None
        self._refused, self._open, self._bytes = None, True, 0
        try:
            kind, _ = media_type(fields.get("content-type", DICOM_TYPE))
        except Malformed:
            kind = ""
        encoding = fields.get("content-transfer-encoding", "binary").lower()
        if kind != DICOM_TYPE or encoding not in ("binary", "8bit"):
            self._refused = Refusal(
                Status.NOT_READABLE, "receive.not_part10", "Part is not application/dicom"
            )

    def data(self, piece: memoryview) -> None:
        """Take the next bytes of a part."""
        if self._refused is not None:
            return
        if self._receiving is None:
            self._begin_data_set(piece)
        else:
            self._pour(self._receiving, piece)

    def _begin_data_set(self, piece: memoryview) -> None:
        """Read the head, and open a place for what stands behind it."""
        try:
            rest = self._head.feed(piece)
            if rest is None:
                return
            assert self._head.meta is not None
            self._receiving = Receiving(self._reception, self._judge, self._request(self._head.meta))
        except Refusal as refusal:
            self._refused = refusal
            return
        self._pour(self._receiving, rest)

    def _request(self, meta: Meta) -> Request:
        """Return what a C-STORE of this file would announce."""
        encoding_of(meta.transfer_syntax_uid)
        if meta.sop_class_uid not in STORAGE_CLASSES:
            raise Refusal(Status.CLASS_NOT_SUPPORTED, "receive.class_unknown", "SOP class is not kept here")
        return Request(
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            abstract_syntax_uid=meta.sop_class_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            peer=self._peer,
            calling_ae=self._peer.ae_title,
            called_ae=self._called_ae,
            study_uid=self._study_uid,
        )

    def _pour(self, receiving: Receiving, piece: memoryview) -> None:
        self._bytes += len(piece)
        if self._bytes > self._reception.limits.instance_bytes_max:
            receiving.abandon()
            self._receiving = None
            self._refused = Refusal(
                Status.BOUND_EXCEEDED, "receive.instance_too_large", "Instance is larger than kept here"
            )
            return
        receiving.pour(piece)

    def end(self) -> None:
        """End a part: judge and keep what came."""
        self._open = False
        if self._receiving is not None:
            receiving, self._receiving = self._receiving, None
            self._note(receiving.finish())
            return
        refused = self._refused or Refusal(
            Status.NOT_READABLE, "receive.not_part10", "Not a DICOM file: it ends in its head"
        )
        self._tell(refused)
        unread = SYNTAX_NOT_SUPPORTED if refused.word == "receive.syntax_unknown" else refused.status
        self._note(Answer(status=refused.status), reason=int(unread))

    def cut(self) -> None:
        """Forget the part that is under way: nothing more of it comes."""
        if self._receiving is not None:
            self._receiving.abandon()
            self._receiving = None

    def spoilt(self) -> None:
        """Say that the body went wrong: in a part, or where further ones may have been."""
        self.cut()
        if not self._open:
            self._head = MetaReader(self._limits.meta_bytes_max)
        self._open = False
        self._note(Answer(status=Status.NOT_READABLE))

    @property
    def kept(self) -> int:
        """Count the instances that are kept."""
        return sum(one.reason == 0 for one in self.outcomes)

    @property
    def status_code(self) -> int:
        """Return the HTTP status that the outcomes add up to (PS3.18 Table 10.5.3-1)."""
        if self.kept:
            return 200 if self.kept == len(self.outcomes) else 202
        if not self.outcomes:
            return 400
        return 503 if all(one.reason in _PASSING for one in self.outcomes) else 409

    def _note(self, answer: Answer, *, reason: int | None = None) -> None:
        meta = self._head.meta or Meta(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="")
        stored = Stored(
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            reason=int(answer.status) if reason is None else reason,
        )
        self.outcomes.append(stored)

    def _tell(self, refusal: Refusal) -> None:
        """Say why a part was refused of which nothing was ever read as a data set."""
        name = self._peer.name
        instance = short(self._head.meta.sop_instance_uid) if self._head.meta else ""
        status = f"{refusal.status:04X}"
        log.warning(refusal.word, status=status, reason=refusal.comment, peer=name, instance=instance)
        told = Refused(
            study_uid=None,
            status=refusal.status,
            word=refusal.word,
            reason=refusal.comment,
            peer_name=name,
        )
        try:
            self._reception.on_refused(told)
        # On a full disk nothing can be noted; the sender hears of it either way.
        except Exception as fault:  # noqa: BLE001 - the loop of a connection
            log.error("receive.refusal_unnoted", error=type(fault).__name__, peer=name)
