"""Ask a peer how many instances a study has (PS3.4 C.4.1, Study Root).

It answers with a number only when the peer said one; silence, doubt or nonsense is None.
Responses are judged like received instances before a value is read from them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from typing import Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
)

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation, Refusal
from dicom_node.facts import FactReader
from dicom_node.framing import Walk
from dicom_node.limits import Limits
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, encoding_of
from dicom_node.values import Peer, short

log = structlog.get_logger(__name__)

_MODEL: Final = str(StudyRootQueryRetrieveInformationModelFind)
_STUDY_INSTANCE_UID: Final = 0x0020000D
_NUMBER_OF_STUDY_INSTANCES: Final = 0x00201208
_NUMBER_OF_SERIES_INSTANCES: Final = 0x00201209
_PENDING: Final = (0xFF00, 0xFF01)
_SUCCESS: Final = 0x0000
_MEDIUM_PRIORITY: Final = 0


class _NoAnswer(Exception):
    """The peer did not say; carries the last part of the log word."""


def count_instances(peer: Peer, *, calling_ae: str, study_uid: str, limits: Limits) -> int | None:
    """Return how many instances `peer` says the study has, or None when it does not say.

    Asks for Number of Study Related Instances (0020,1208), and where the peer leaves that out, adds up
    Number of Series Related Instances (0020,1209) of every series. A study the peer does not know has no
    number: zero would make an incomplete study look complete.
    """
    contexts = [build_context(_MODEL, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])]
    try:
        with dial(peer, calling_ae=calling_ae, contexts=contexts, limits=limits) as line:
            count = _study_count(line, study_uid, limits)
            if count is None:
                count = _series_count(line, study_uid, limits)
    except NoAssociation as failure:
        log.warning(f"query.{failure.reason}", peer=peer.name, study=short(study_uid))
        return None
    except _NoAnswer as failure:
        log.warning(f"query.{failure}", peer=peer.name, study=short(study_uid))
        return None
    log.info("query.counted" if count is not None else "query.unsaid", peer=peer.name, study=short(study_uid))
    return count


def _study_count(line: Line, study_uid: str, limits: Limits) -> int | None:
    """Return the number of the one matching study, or None when the peer leaves it out."""
    counts = list(_matches(line, study_uid, "STUDY", _NUMBER_OF_STUDY_INSTANCES, limits=limits))
    return counts[0] if len(counts) == 1 else None


def _series_count(line: Line, study_uid: str, limits: Limits) -> int | None:
    """Return the sum over the matching series, or None when one of them has no number or there is none."""
    total = 0
    counts = list(_matches(line, study_uid, "SERIES", _NUMBER_OF_SERIES_INSTANCES, limits=limits))
    for count in counts:
        if count is None:
            return None
        total += count
    return total if counts else None


def _matches(
    line: Line, study_uid: str, level: str, number_tag: int, *, limits: Limits
) -> Iterator[int | None]:
    """Yield the number in each response that is of this study (PS3.7 9.1.2)."""
    syntax, context_id = next(((pair[1], number) for pair, number in line.contexts.items()), ("", 0))
    if not context_id:
        raise _NoAnswer("no_context")
    request = _request(study_uid, level, number_tag, syntax)
    response = line.ask(request, context_id)
    deadline = time.monotonic() + limits.find_seconds_max
    for _ in range(limits.find_responses_max):
        if response is None:
            raise _NoAnswer("no_reply")
        if response.Status not in _PENDING:
            if response.Status != _SUCCESS:
                raise _NoAnswer("refused")
            return
        if (reader := _read(response.Identifier, syntax, limits)) and reader.text(
            _STUDY_INSTANCE_UID, "UI"
        ) == study_uid:
            number = reader.integer(number_tag)
            yield number if number is not None and number >= 0 else None
        if time.monotonic() > deadline:
            break
        response = line.next_answer(request)
    line.abort()
    raise _NoAnswer("endless")


def _request(study_uid: str, level: str, number_tag: int, syntax: str) -> C_FIND:
    """Return a C-FIND request for one number of one study (PS3.4 C.4.1.1)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.StudyInstanceUID = study_uid
    if level == "SERIES":
        identifier.SeriesInstanceUID = ""
    identifier.add_new(number_tag, "IS", None)
    encoded = encode(identifier, encoding_of(syntax).implicit, True)
    assert encoded is not None, "our own identifier can be encoded"
    request = C_FIND()
    request.AffectedSOPClassUID = _MODEL
    request.Priority = _MEDIUM_PRIORITY
    request.Identifier = BytesIO(encoded)
    return request


def _read(identifier: BytesIO | None, syntax: str, limits: Limits) -> FactReader | None:
    """Judge one response's identifier and return a reader of it, or None when it is unreadable."""
    data = identifier.getvalue() if identifier else b""
    encoding = encoding_of(syntax)
    walk = Walk(data, encoding, limits)
    try:
        walk.run()
    except Refusal as refusal:
        raise _NoAnswer("unreadable") from refusal
    return FactReader(data, walk.elements, limits=limits, big_endian=encoding.big_endian)
