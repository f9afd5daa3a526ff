"""Ask a peer how many instances a study has (PS3.4 C.4.1, Study Root).

It answers with a number only when the peer said one; silence, doubt or nonsense is None.
Responses are judged like received instances before a value is read from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import structlog
from pydicom.dataset import Dataset

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation
from dicom_node.find import NoAnswer, find_contexts, matches
from dicom_node.limits import Limits
from dicom_node.values import Peer, short

log = structlog.get_logger(__name__)

_STUDY_INSTANCE_UID: Final = 0x0020000D
_NUMBER_OF_STUDY_INSTANCES: Final = 0x00201208
_NUMBER_OF_SERIES_INSTANCES: Final = 0x00201209


def count_instances(peer: Peer, *, calling_ae: str, study_uid: str, limits: Limits) -> int | None:
    """Return how many instances `peer` says the study has, or None when it does not say.

    Asks for Number of Study Related Instances (0020,1208), and where the peer leaves that out, adds up
    Number of Series Related Instances (0020,1209) of every series. A study the peer does not know has no
    number: zero would make an incomplete study look complete.
    """
    try:
        with dial(peer, calling_ae=calling_ae, contexts=find_contexts(), limits=limits) as line:
            count = _study_count(line, study_uid, limits)
            if count is None:
                count = _series_count(line, study_uid, limits)
    except NoAssociation as failure:
        log.warning(f"query.{failure.reason}", peer=peer.name, study=short(study_uid))
        return None
    except NoAnswer as failure:
        log.warning(f"query.{failure}", peer=peer.name, study=short(study_uid))
        return None
    log.info("query.counted" if count is not None else "query.unsaid", peer=peer.name, study=short(study_uid))
    return count


def _study_count(line: Line, study_uid: str, limits: Limits) -> int | None:
    """Return the number of the one matching study, or None when the peer leaves it out."""
    counts = list(_numbers(line, study_uid, "STUDY", _NUMBER_OF_STUDY_INSTANCES, limits=limits))
    return counts[0] if len(counts) == 1 else None


def _series_count(line: Line, study_uid: str, limits: Limits) -> int | None:
    """Return the sum over the matching series, or None when one of them has no number or there is none."""
    total = 0
    counts = list(_numbers(line, study_uid, "SERIES", _NUMBER_OF_SERIES_INSTANCES, limits=limits))
    for count in counts:
        if count is None:
            return None
        total += count
    return total if counts else None


def _numbers(
    line: Line, study_uid: str, level: str, number_tag: int, *, limits: Limits
) -> Iterator[int | None]:
    """Yield the number in each response that is of this study."""
    for reader in matches(line, _wanted(study_uid, level, number_tag), limits=limits):
        if reader.text(_STUDY_INSTANCE_UID, "UI") == study_uid:
            number = reader.integer(number_tag)
            yield number if number is not None and number >= 0 else None


def _wanted(study_uid: str, level: str, number_tag: int) -> Dataset:
    """Return the identifier that asks for one number of one study (PS3.4 C.4.1.1)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    identifier.StudyInstanceUID = study_uid
    if level == "SERIES":
        identifier.SeriesInstanceUID = ""
    identifier.add_new(number_tag, "IS", None)
    return identifier
