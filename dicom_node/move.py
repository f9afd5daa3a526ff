"""Have a peer send series of a study to an application entity: C-MOVE (PS3.4 C.4.2, Study Root).

Promises: one request a series on one association; every wait is bounded, and can be called off. What the
peer counted is added up; whether the instances came is for the receiver to say.
Never: receives anything itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import encode
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation
from dicom_node.limits import Limits
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, encoding_of
from dicom_node.values import Peer, short

log = structlog.get_logger(__name__)

_MODEL: Final = str(StudyRootQueryRetrieveInformationModelMove)
_PENDING: Final = 0xFF00
_SUCCESS: Final = 0x0000
# PS3.4 C.4.2.1.5: complete, with one or more failures or warnings.
_PARTLY: Final = 0xB000
_DESTINATION_UNKNOWN: Final = 0xA801
_LOW_PRIORITY: Final = 2


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a peer said of a retrieval.

    Attributes:
        word: the log word: `move.done`, `move.partly`, `move.refused`, `move.unknown_destination` (the peer
            does not know where we are), `move.no_reply`, `move.called_off` or why there was no association;
            of a C-GET the same behind `get.`.
        status: the last that the peer gave, if any.
        completed: sub-operations that succeeded, those with a warning among them.
        failed: sub-operations that did not.
    """

    word: str
    status: int | None = None
    completed: int = 0
    failed: int = 0

    @property
    def whole(self) -> bool:
        """Tell whether the peer says that it sent everything."""
        return self.word.endswith(".done")


def move(
    peer: Peer,
    *,
    calling_ae: str,
    destination_ae: str,
    study_uid: str,
    series_uids: Sequence[str],
    limits: Limits,
    given_up: Callable[[], bool] = lambda: False,
) -> Moved:
    """Have `peer` send series of a study to `destination_ae`, one after the other, until one goes wrong."""
    deadline = time.monotonic() + limits.move_seconds_max

    def over() -> bool:
        return given_up() or time.monotonic() > deadline

    try:
        with dial(peer, calling_ae=calling_ae, contexts=[move_context()], limits=limits) as line:

            def one(series_uid: str) -> Moved:
                return _move_series(line, destination_ae, (study_uid, series_uid), limits, over=over)

            moved = series_by_series(series_uids, one)
    except NoAssociation as failure:
        moved = Moved(word=f"move.{failure.reason}")
    tell(moved, peer, study_uid)
    return moved


def tell(moved: Moved, peer: Peer, study_uid: str) -> None:
    """Log what a retrieval came to."""
    say = log.info if moved.whole else log.warning
    status = None if moved.status is None else f"{moved.status:04X}"
    counts = {"completed": moved.completed, "failed": moved.failed}
    say(moved.word, peer=peer.name, study=short(study_uid), status=status, **counts)


def series_by_series(
    series_uids: Sequence[str], retrieve: Callable[[str], Moved], verb: str = "move"
) -> Moved:
    """Ask for each series; a failure of some instances does not keep the others from being asked for."""
    total = Moved(word=f"{verb}.done")
    for series_uid in series_uids:
        one = retrieve(series_uid)
        total = Moved(
            word=total.word if one.whole else one.word,
            status=one.status if total.whole or not one.whole else total.status,
            completed=total.completed + one.completed,
            failed=total.failed + one.failed,
        )
        if not one.word.endswith((".done", ".partly")):
            break
    return total


def move_context() -> PresentationContext:
    """Return the context on which retrievals are asked for."""
    return build_context(_MODEL, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])


def _move_series(
    line: Line, destination_ae: str, wanted: tuple[str, str], limits: Limits, *, over: Callable[[], bool]
) -> Moved:
    """Ask for one series and wait until the peer says that it is through (PS3.7 9.1.4)."""
    syntax, context_id = next(((pair[1], number) for pair, number in line.contexts.items()), ("", 0))
    if not context_id:
        return Moved(word="move.no_context")
    request = _request(destination_ae, wanted, syntax)
    responses = line.ask_patiently(
        request, context_id, seconds_max=limits.move_silence_seconds_max, given_up=over
    )
    return counted(responses, over=over)


def counted(responses: Iterable[C_MOVE | C_GET], *, over: Callable[[], bool], verb: str = "move") -> Moved:
    """Follow the responses of one request to the last, and return what they add up to."""
    completed = failed = 0
    for response in responses:
        # Each response counts from the beginning of the request; some leave the numbers out of the last.
        completed = max(completed, _count(response, "Completed") + _count(response, "Warning"))
        failed = max(failed, _count(response, "Failed"))
        if response.Status != _PENDING:
            return Moved(
                word=f"{verb}.{_word(response.Status, failed)}",
                status=response.Status,
                completed=completed,
                failed=failed,
            )
    word = f"{verb}.called_off" if over() else f"{verb}.no_reply"
    return Moved(word=word, completed=completed, failed=failed)


def _request(destination_ae: str, wanted: tuple[str, str], syntax: str) -> C_MOVE:
    """Return the C-MOVE request for one series (PS3.4 C.4.2.1)."""
    request = C_MOVE()
    request.AffectedSOPClassUID = _MODEL
    request.Priority = _LOW_PRIORITY
    request.MoveDestination = destination_ae
    request.Identifier = identifier_of(wanted, syntax)
    return request


def identifier_of(wanted: tuple[str, str], syntax: str) -> BytesIO:
    """Return the identifier that asks for one series of one study (PS3.4 C.4.2.1.4)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID, identifier.SeriesInstanceUID = wanted
    encoded = encode(identifier, encoding_of(syntax).implicit, True)
    assert encoded is not None, "our own identifier can be encoded"
    return BytesIO(encoded)


def _count(response: C_MOVE | C_GET, kind: str) -> int:
    """Return one of the numbers of sub-operations; 0 where the peer leaves it out."""
    return int(getattr(response, f"NumberOf{kind}Suboperations") or 0)


def _word(status: int | None, failed: int) -> str:
    """Return what a last status means (PS3.4 Table C.4-2)."""
    if status == _SUCCESS:
        return "partly" if failed else "done"
    if status == _PARTLY:
        return "partly"
    return "unknown_destination" if status == _DESTINATION_UNKNOWN else "refused"
