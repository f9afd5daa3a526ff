"""What a peer says belongs to a study: availability of instances, and performed procedure steps.

Instance Availability Notification (PS3.4 R, PS3.3 C.4.23) and Modality Performed Procedure Step (PS3.4 F.7,
PS3.3 C.4.14, C.4.15), as values.

Promises: what a peer wrote is judged before a value is read from it, within bounds of bytes and references.
Of everything that stands in these data sets only UIDs, a status and a coded reason are read.
Never: opens an association, or decides what follows for a study.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from io import BytesIO
from typing import Any, Final, NamedTuple

from pydicom.dataset import Dataset
from pynetdicom.presentation import PresentationContext, build_context

from dicom_node.information import Frame, read_framed, stumbling
from dicom_node.limits import Limits
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dicom_node.values import Uid

INSTANCE_AVAILABILITY: Final = "1.2.840.10008.5.1.4.33"
PERFORMED_STEP: Final = "1.2.840.10008.3.1.2.3.3"
# PS3.4 F.7.2.2.3: a step that has ended may no longer be updated.
NO_LONGER_UPDATED: Final = 0xA506
# PS3.16 CID 9300, DCM: incorrect worklist entry selected.
WRONG_ENTRY: Final = "110514"

# A performed series' protocol: its code, the context of that, the modifiers of that, and their names.
_DEPTH_MAX: Final = 12
_ELEMENTS_PER_REFERENCE_MAX: Final = 12
_SYNTAXES: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
_CODE: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_UNAVAILABLE: Final = "UNAVAILABLE"
_IMAGES: Final = "ReferencedImageSequence"
_OTHERS: Final = "ReferencedNonImageCompositeSOPInstanceSequence"


class Status(IntEnum):
    """What N-CREATE and N-SET are answered with (PS3.7 10.1.3, 10.1.5, Annex C; PS3.4 F.7.2, R.3.2)."""

    TAKEN = 0x0000
    INVALID_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    INVALID_INSTANCE = 0x0117
    NO_SUCH_CLASS = 0x0118
    MISSING_ATTRIBUTE = 0x0120
    MISSING_VALUE = 0x0121
    NOT_AUTHORISED = 0x0124
    RESOURCE_LIMITATION = 0x0213


class StepState(StrEnum):
    """Performed Procedure Step Status (PS3.3 C.4.14)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


class Named(NamedTuple):
    """One instance that a notice names; a step tells images from other objects (PS3.3 C.4.15)."""

    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    is_image: bool = True


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What an N-CREATE of Instance Availability Notification says; without what it says is unavailable."""

    sop_instance_uid: str
    study_uid: str
    named: Sequence[Named]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What an N-CREATE of a performed step says: it is in progress, for these studies."""

    sop_instance_uid: str
    study_uids: Sequence[str]
    named: Sequence[Named]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What an N-SET of a performed step says; None where it says nothing of it.

    `reason` is a DCM code of PS3.16 CID 9300 and of those it includes, or empty.
    """

    sop_instance_uid: str
    state: StepState | None
    named: Sequence[Named] | None
    reason: str = ""


class Unsound(Exception):
    """A notice that cannot be taken; carries the status for the peer, the log word and the Error ID."""

    def __init__(self, status: Status, word: str, *, error_id: int | None = None) -> None:
        super().__init__(word)
        self.status, self.word, self.error_id = status, word, error_id


def notice_contexts() -> list[PresentationContext]:
    """Return the presentation contexts of both classes."""
    return [build_context(uid, list(_SYNTAXES)) for uid in (INSTANCE_AVAILABILITY, PERFORMED_STEP)]


def read_availability(
    sop_instance_uid: str, attributes: BytesIO | None, syntax: str, limits: Limits
) -> Availability:
    """Judge and read the Attribute List of a notification (PS3.4 Table R.3.2-1).

    Raises:
        Unsound: it is not one, or names more than this node looks at in one.
    """
    with stumbling(Unsound(Status.INVALID_VALUE, "notice.unreadable")):
        dataset = _judged(attributes, syntax, limits)
        named = [
            _named(series, item)
            for series in _items(dataset, "ReferencedSeriesSequence")
            for item in _items(series, "ReferencedSOPSequence")
            if _text(item, "InstanceAvailability") != _UNAVAILABLE
        ]
        return Availability(
            sop_instance_uid=sop_instance_uid,
            study_uid=_uid(dataset, "StudyInstanceUID"),
            named=_bounded(named, limits),
        )


def read_step(sop_instance_uid: str, attributes: BytesIO | None, syntax: str, limits: Limits) -> Step:
    """Judge and read the Attribute List of a step that begins (PS3.4 Table F.7.2-1, F.7.2.1.3).

    Raises:
        Unsound: it is not one, names more than this node looks at in one, or is not in progress.
    """
    with stumbling(Unsound(Status.INVALID_VALUE, "notice.unreadable")):
        dataset = _judged(attributes, syntax, limits)
        if _text(dataset, "PerformedProcedureStepStatus") != StepState.IN_PROGRESS:
            raise Unsound(Status.INVALID_VALUE, "notice.not_in_progress")
        scheduled = _items(dataset, "ScheduledStepAttributesSequence")
        if len(scheduled) > limits.notice_studies_max:
            raise Unsound(Status.RESOURCE_LIMITATION, "notice.too_many_studies")
        return Step(
            sop_instance_uid=sop_instance_uid,
            study_uids=list(dict.fromkeys(_uid(item, "StudyInstanceUID") for item in scheduled)),
            named=_performed(dataset, limits) or [],
        )


def read_change(sop_instance_uid: str, attributes: BytesIO | None, syntax: str, limits: Limits) -> Change:
    """Judge and read the Modification List of a step (PS3.4 Table F.7.2-1, F.7.2.2).

    Raises:
        Unsound: it is not one, names more than this node looks at in one, or a status that there is not.
    """
    with stumbling(Unsound(Status.INVALID_VALUE, "notice.unreadable")):
        dataset = _judged(attributes, syntax, limits)
        return Change(
            sop_instance_uid=sop_instance_uid,
            state=_state(dataset),
            named=_performed(dataset, limits),
            reason=_reason(dataset),
        )


def _judged(attributes: BytesIO | None, syntax: str, limits: Limits) -> Dataset:
    frame = Frame(
        bytes_max=limits.notice_bytes_max,
        references_max=limits.notice_references_max,
        elements_per_reference_max=_ELEMENTS_PER_REFERENCE_MAX,
        depth_max=_DEPTH_MAX,
    )
    return read_framed(
        attributes,
        syntax,
        limits,
        frame,
        missing=Unsound(Status.MISSING_ATTRIBUTE, "notice.no_attributes"),
        too_large=Unsound(Status.RESOURCE_LIMITATION, "notice.too_large"),
    )


def _performed(dataset: Dataset, limits: Limits) -> list[Named] | None:
    """Return the instances of the performed series, images and others; None if it says nothing of series."""
    if "PerformedSeriesSequence" not in dataset:
        return None
    return _bounded(
        [
            _named(series, item, is_image=kind == _IMAGES)
            for series in dataset.PerformedSeriesSequence or ()
            for kind in (_IMAGES, _OTHERS)
            for item in getattr(series, kind, None) or ()
        ],
        limits,
    )


def _named(series: Dataset, item: Dataset, *, is_image: bool = True) -> Named:
    return Named(
        _uid(series, "SeriesInstanceUID"),
        _uid(item, "ReferencedSOPClassUID"),
        _uid(item, "ReferencedSOPInstanceUID"),
        is_image,
    )


def _bounded(named: Sequence[Named], limits: Limits) -> list[Named]:
    """Return each instance once."""
    if len(named) > limits.notice_references_max:
        raise Unsound(Status.RESOURCE_LIMITATION, "notice.too_many_references")
    return list({one.sop_instance_uid: one for one in named}.values())


def _items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence that has to be there and to have some."""
    if keyword not in dataset:
        raise Unsound(Status.MISSING_ATTRIBUTE, "notice.missing_attribute")
    items: Sequence[Dataset] = list(getattr(dataset, keyword) or ())
    if not items:
        raise Unsound(Status.MISSING_VALUE, "notice.missing_value")
    return items


def _uid(dataset: Dataset, keyword: str) -> str:
    if keyword not in dataset:
        raise Unsound(Status.MISSING_ATTRIBUTE, "notice.missing_attribute")
    try:
        value: Any = getattr(dataset, keyword)
        return str(Uid.parse(str(value or "")))
    except ValueError as fault:
        raise Unsound(Status.INVALID_VALUE, "notice.bad_uid") from fault


def _text(dataset: Dataset, keyword: str) -> str:
    return str(getattr(dataset, keyword, None) or "").strip()


def _state(dataset: Dataset) -> StepState | None:
    said = _text(dataset, "PerformedProcedureStepStatus")
    try:
        return StepState(said) if said else None
    except ValueError as fault:
        raise Unsound(Status.INVALID_VALUE, "notice.bad_status") from fault


def _reason(dataset: Dataset) -> str:
    """Return why a step was discontinued, where a code of DICOM's own says so."""
    for item in getattr(dataset, "PerformedProcedureStepDiscontinuationReasonCodeSequence", None) or ():
        code = _text(item, "CodeValue")
        if _text(item, "CodingSchemeDesignator") == "DCM" and _CODE.fullmatch(code):
            return code
    return ""
