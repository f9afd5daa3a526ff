"""What storage commitment says: requests and reports as values, and how they are encoded (PS3.4 J).

Promises: what a peer wrote is judged before a value is read from it, within bounds of bytes and references.
Never: opens an association, or decides what is committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import Any, Final, NamedTuple

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext, build_context

from dicom_node.information import Frame, read_framed, stumbling
from dicom_node.limits import Limits
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, encoding_of
from dicom_node.values import Uid

# Storage Commitment Push Model SOP Class, and its well-known instance (PS3.4 J.3.5).
PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
REQUEST_COMMITMENT: Final = 1
ALL_COMMITTED: Final = 1
FAILURES_EXIST: Final = 2

_DEPTH_MAX: Final = 4
_ELEMENTS_PER_REFERENCE_MAX: Final = 8
_SYNTAXES: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


class Status(IntEnum):
    """What N-ACTION and N-EVENT-REPORT are answered with (PS3.7 10.1.1.1.8, 10.1.4.1.10, Annex C)."""

    TAKEN = 0x0000
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_EVENT = 0x0113
    INVALID_ARGUMENT = 0x0115
    NO_SUCH_CLASS = 0x0118
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORISED = 0x0124
    DUPLICATE_INVOCATION = 0x0210
    RESOURCE_LIMITATION = 0x0213


class Reason(IntEnum):
    """Why an instance is not committed (PS3.3 C.14, Failure Reason)."""

    PROCESSING_FAILURE = 0x0110
    NO_SUCH_OBJECT = 0x0112
    CLASS_CONFLICT = 0x0119


class Reference(NamedTuple):
    """One instance that is asked about."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an N-ACTION asks for."""

    transaction_uid: str
    references: Sequence[Reference]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an N-EVENT-REPORT says; `failed` holds each reason (PS3.3 C.14)."""

    transaction_uid: str
    committed: Sequence[Reference]
    failed: Mapping[Reference, int]

    @property
    def event_type(self) -> int:
        """Return the Event Type ID (PS3.4 J.3.3.1)."""
        return FAILURES_EXIST if self.failed else ALL_COMMITTED


class Unsound(Exception):
    """A message that cannot be taken; carries the status for the peer and the log word."""

    def __init__(self, status: Status, word: str) -> None:
        super().__init__(word)
        self.status, self.word = status, word


def commitment_context(*, both_roles: bool = False) -> PresentationContext:
    """Return the presentation context of the Push Model.

    With `both_roles` a peer that calls us may be the SCP (PS3.7 D.3.3.4): so it reports later.
    """
    context = build_context(PUSH_MODEL, list(_SYNTAXES))
    if both_roles:
        context.scu_role = context.scp_role = True
    return context


def encode_request(request: Request, syntax: str) -> BytesIO:
    """Return the Action Information of a request (PS3.4 J.3.2.1.1)."""
    dataset = Dataset()
    dataset.TransactionUID = request.transaction_uid
    dataset.ReferencedSOPSequence = Items([_item(one) for one in request.references])
    return _encoded(dataset, syntax)


def encode_report(report: Report, syntax: str) -> BytesIO:
    """Return the Event Information of a report (PS3.4 J.3.3.1.1)."""
    dataset = Dataset()
    dataset.TransactionUID = report.transaction_uid
    if report.committed:
        dataset.ReferencedSOPSequence = Items([_item(one) for one in report.committed])
    if report.failed:
        items = []
        for reference, reason in report.failed.items():
            items.append(_item(reference))
            items[-1].FailureReason = reason
        dataset.FailedSOPSequence = Items(items)
    return _encoded(dataset, syntax)


def read_request(information: BytesIO | None, syntax: str, limits: Limits) -> Request:
    """Judge and read the Action Information of a request.

    Raises:
        Unsound: it is not one, or asks for more than this node looks at in one.
    """
    with stumbling(Unsound(Status.INVALID_ARGUMENT, "commit.unreadable")):
        dataset = _judged(information, syntax, limits)
        references = _references(dataset, "ReferencedSOPSequence", limits)
        if not references:
            raise Unsound(Status.INVALID_ARGUMENT, "commit.no_references")
        return Request(transaction_uid=_uid(dataset, "TransactionUID"), references=list(references))


def read_report(information: BytesIO | None, syntax: str, limits: Limits) -> Report:
    """Judge and read the Event Information of a report.

    What stands in both lists has failed.

    Raises:
        Unsound: it is not one, or names more than this node looks at in one.
    """
    with stumbling(Unsound(Status.INVALID_ARGUMENT, "commit.unreadable")):
        dataset = _judged(information, syntax, limits)
        failed = _references(dataset, "FailedSOPSequence", limits)
        committed = _references(dataset, "ReferencedSOPSequence", limits)
        return Report(
            transaction_uid=_uid(dataset, "TransactionUID"),
            committed=[one for one in committed if one not in failed],
            failed={one: _reason(item) for one, item in failed.items()},
        )


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    return item


def _encoded(dataset: Dataset, syntax: str) -> BytesIO:
    encoded = encode(dataset, encoding_of(syntax).implicit, True)
    assert encoded is not None, "our own data set can be encoded"
    return BytesIO(encoded)


def _judged(information: BytesIO | None, syntax: str, limits: Limits) -> Dataset:
    frame = Frame(
        bytes_max=limits.commitment_bytes_max,
        references_max=limits.commitment_references_max,
        elements_per_reference_max=_ELEMENTS_PER_REFERENCE_MAX,
        depth_max=_DEPTH_MAX,
    )
    return read_framed(
        information,
        syntax,
        limits,
        frame,
        missing=Unsound(Status.INVALID_ARGUMENT, "commit.no_information"),
        too_large=Unsound(Status.RESOURCE_LIMITATION, "commit.too_large"),
    )


def _references(dataset: Dataset, keyword: str, limits: Limits) -> dict[Reference, Dataset]:
    """Return what a sequence refers to, each once, with its item."""
    items = list(getattr(dataset, keyword, None) or ())
    if len(items) > limits.commitment_references_max:
        raise Unsound(Status.RESOURCE_LIMITATION, "commit.too_many_references")
    return {
        Reference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID")): item
        for item in items
    }


def _uid(dataset: Dataset, keyword: str) -> str:
    try:
        value: Any = getattr(dataset, keyword, None)
        return str(Uid.parse(str(value or "")))
    except ValueError as fault:
        raise Unsound(Status.INVALID_ARGUMENT, "commit.bad_uid") from fault


def _reason(item: Dataset) -> int:
    """Return why an instance failed; a peer that does not say has met a processing failure."""
    try:
        return int(item.FailureReason)
    except (AttributeError, TypeError, ValueError):
        return Reason.PROCESSING_FAILURE.value
