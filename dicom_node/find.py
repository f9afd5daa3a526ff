"""Ask a peer what it has: studies of some days, and the instances of a study (PS3.4 C.4.1, Study Root).

Promises: an answer is whole or there is none: silence, doubt, nonsense and an answer without end are None.
Responses are judged like received instances before a value is read from them.
Never: decides what is missing, or fetches anything; `dicom_node.move` does that.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from typing import Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation, Refusal
from dicom_node.facts import FactReader
from dicom_node.framing import Walk
from dicom_node.limits import Limits
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, encoding_of
from dicom_node.values import Peer, Uid, short

log = structlog.get_logger(__name__)

_MODEL: Final = str(StudyRootQueryRetrieveInformationModelFind)
_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018
_MODALITY: Final = 0x00080060
_MODALITIES_IN_STUDY: Final = 0x00080061
_STUDY_INSTANCE_UID: Final = 0x0020000D
_SERIES_INSTANCE_UID: Final = 0x0020000E
_NUMBER_OF_STUDY_INSTANCES: Final = 0x00201208
_PENDING: Final = (0xFF00, 0xFF01)
_SUCCESS: Final = 0x0000
_MEDIUM_PRIORITY: Final = 0


class NoAnswer(Exception):
    """The peer did not say; carries the last part of the log word."""


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """A study that a peer has.

    Attributes:
        modalities: of its series (0008,0061); empty where the peer does not say.
        instances: how many it has (0020,1208); None where the peer does not say.
    """

    study_uid: str
    modalities: frozenset[str]
    instances: int | None


@dataclass(frozen=True, kw_only=True)
class FoundInstance:
    """An instance that a peer has; `modality` and `sop_class_uid` are empty where it does not say."""

    series_uid: str
    modality: str
    sop_instance_uid: str
    sop_class_uid: str


def find_studies(
    peer: Peer,
    *,
    calling_ae: str,
    first: date,
    last: date,
    modalities: Collection[str] = (),
    limits: Limits,
) -> list[FoundStudy] | None:
    """Return the studies whose Study Date lies between two days, both included (PS3.4 C.2.2.2.5).

    Each of `modalities` is asked for by itself, as Modalities in Study takes one value; a peer that ignores
    this key answers with others too, and those that it says are of other modalities are left out.
    """
    found: dict[str, FoundStudy] = {}
    days = f"{first:%Y%m%d}-{last:%Y%m%d}"
    try:
        with dial(peer, calling_ae=calling_ae, contexts=find_contexts(), limits=limits) as line:
            for modality in sorted(set(modalities)) or [""]:
                for reader in matches(line, _studies_wanted(days, modality), limits=limits):
                    study = _study(reader)
                    if study is not None and _is_wanted(study, modalities):
                        found[study.study_uid] = study
    except (NoAssociation, NoAnswer) as failure:
        log.warning(f"find.{_reason(failure)}", peer=peer.name)
        return None
    log.info("find.studies", peer=peer.name, studies=len(found))
    return list(found.values())


def find_instances(
    peer: Peer, *, calling_ae: str, study_uid: str, modalities: Collection[str] = (), limits: Limits
) -> list[FoundInstance] | None:
    """Return the instances of one study, series by series, of the given modalities or of all.

    A study that the peer does not have has none. A series whose modality the peer does not say is looked
    into as well.
    """
    found: list[FoundInstance] = []
    try:
        with dial(peer, calling_ae=calling_ae, contexts=find_contexts(), limits=limits) as line:
            for series_uid, modality in _series(line, study_uid, limits).items():
                if not modality or not modalities or modality in modalities:
                    left = limits.find_instances_max - len(found)
                    found += _images(line, study_uid, series_uid, modality=modality, limits=limits, most=left)
    except (NoAssociation, NoAnswer) as failure:
        log.warning(f"find.{_reason(failure)}", peer=peer.name, study=short(study_uid))
        return None
    log.info("find.instances", peer=peer.name, study=short(study_uid), instances=len(found))
    return found


def find_contexts() -> list[PresentationContext]:
    """Return what is proposed in order to ask (PS3.4 C.5)."""
    return [build_context(_MODEL, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])]


def matches(
    line: Line, identifier: Dataset, *, limits: Limits, responses_max: int | None = None
) -> Iterator[FactReader]:
    """Ask once and yield a reader of each match (PS3.7 9.1.2).

    Raises:
        NoAnswer: the peer was silent, refused, wrote what cannot be read, or did not come to an end.
    """
    syntax, context_id = next(((pair[1], number) for pair, number in line.contexts.items()), ("", 0))
    if not context_id:
        raise NoAnswer("no_context")
    request = _request(identifier, syntax)
    response = line.ask(request, context_id)
    deadline = time.monotonic() + limits.find_seconds_max
    most = limits.find_responses_max if responses_max is None else responses_max
    for _ in range(most + 1):
        if response is None:
            raise NoAnswer("no_reply")
        if response.Status not in _PENDING:
            if response.Status != _SUCCESS:
                raise NoAnswer("refused")
            return
        yield _read(response.Identifier, syntax, limits)
        if time.monotonic() > deadline:
            break
        response = line.next_answer(request)
    line.abort()
    raise NoAnswer("endless")


def _request(identifier: Dataset, syntax: str) -> C_FIND:
    """Return a C-FIND request (PS3.4 C.4.1.1)."""
    encoded = encode(identifier, encoding_of(syntax).implicit, True)
    assert encoded is not None, "our own identifier can be encoded"
    request = C_FIND()
    request.AffectedSOPClassUID = _MODEL
    request.Priority = _MEDIUM_PRIORITY
    request.Identifier = BytesIO(encoded)
    return request


def _read(identifier: BytesIO | None, syntax: str, limits: Limits) -> FactReader:
    """Judge one response's identifier and return a reader of it."""
    data = identifier.getvalue() if identifier else b""
    encoding = encoding_of(syntax)
    walk = Walk(data, encoding, limits)
    try:
        walk.run()
    except Refusal as refusal:
        raise NoAnswer("unreadable") from refusal
    return FactReader(data, walk.elements, limits=limits, big_endian=encoding.big_endian)


def _studies_wanted(days: str, modality: str) -> Dataset:
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyDate = days
    wanted.StudyInstanceUID = ""
    wanted.ModalitiesInStudy = modality
    wanted.add_new(_NUMBER_OF_STUDY_INSTANCES, "IS", None)
    return wanted


def _study(reader: FactReader) -> FoundStudy | None:
    """Return the study of one response; None where it has no sound UID."""
    uid = _uid(reader, _STUDY_INSTANCE_UID)
    if uid is None:
        return None
    said = (reader.text(_MODALITIES_IN_STUDY, "CS") or "").split("\\")
    count = reader.integer(_NUMBER_OF_STUDY_INSTANCES)
    return FoundStudy(
        study_uid=uid,
        modalities=frozenset(modality.strip() for modality in said if modality.strip()),
        instances=count if count is not None and count >= 0 else None,
    )


def _is_wanted(study: FoundStudy, modalities: Collection[str]) -> bool:
    return not modalities or not study.modalities or not study.modalities.isdisjoint(modalities)


def _series(line: Line, study_uid: str, limits: Limits) -> dict[str, str]:
    """Return the series of a study with their modalities."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "SERIES"
    wanted.StudyInstanceUID = study_uid
    wanted.SeriesInstanceUID = ""
    wanted.Modality = ""
    found = {}
    for reader in matches(line, wanted, limits=limits):
        uid = _uid(reader, _SERIES_INSTANCE_UID)
        if uid is not None and _is_of(reader, _STUDY_INSTANCE_UID, study_uid):
            found[uid] = reader.text(_MODALITY, "CS") or ""
    return found


def _images(
    line: Line, study_uid: str, series_uid: str, *, modality: str, limits: Limits, most: int
) -> Iterator[FoundInstance]:
    """Yield the instances of one series, at most so many."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    wanted.StudyInstanceUID = study_uid
    wanted.SeriesInstanceUID = series_uid
    wanted.SOPInstanceUID = ""
    wanted.SOPClassUID = ""
    for reader in matches(line, wanted, limits=limits, responses_max=most):
        uid = _uid(reader, _SOP_INSTANCE_UID)
        if uid is not None and _is_of(reader, _SERIES_INSTANCE_UID, series_uid):
            yield FoundInstance(
                series_uid=series_uid,
                modality=modality,
                sop_instance_uid=uid,
                sop_class_uid=_uid(reader, _SOP_CLASS_UID) or "",
            )


def _is_of(reader: FactReader, tag: int, uid: str) -> bool:
    """Say whether a response belongs to what was asked; one that leaves the key out is taken at its word."""
    return reader.text(tag, "UI") in (None, uid)


def _uid(reader: FactReader, tag: int) -> str | None:
    """Return a UID that is one, or None."""
    try:
        return str(Uid.parse(reader.text(tag, "UI") or ""))
    except ValueError:
        return None


def _reason(failure: NoAssociation | NoAnswer) -> str:
    return failure.reason if isinstance(failure, NoAssociation) else str(failure)
