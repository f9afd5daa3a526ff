"""Get series of a study from a peer, on the association that asks for them: C-GET (PS3.4 C.4.3, Study Root).

For a peer that does not know where we are, or may not call us. What it brings goes the way of a C-STORE: it
is judged and kept, and only then answered.
Promises: one request a series on one association; every wait is bounded, and can be called off; instances of
another study than the one asked for are refused.
Never: reads far ahead of the answers, or believes the peer's count: that is for the receiver to say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt
from pynetdicom.dimse_primitives import C_GET, C_STORE
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
)

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation
from dicom_node.familiar import Judge
from dicom_node.limits import Limits
from dicom_node.move import Moved, counted, identifier_of, series_by_series, tell
from dicom_node.receive import Reception, Request, answer_to
from dicom_node.storage_classes import STORAGE_CLASSES
from dicom_node.syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    OFFERED,
)
from dicom_node.values import Peer

_MODEL: Final = str(StudyRootQueryRetrieveInformationModelGet)
_LOW_PRIORITY: Final = 2
# What a peer may have sent that was not answered yet: without a bound it would fill the memory.
_AHEAD_MAX: Final = 4
_LOOK_SECONDS: Final = 0.01
_IMAGES: Final = "1.2.840.10008.5.1.4.1.1."
# For a peer that does not name the classes of what it has: CR, DX, MG, CT, MR, PT, US, US clips, NM, SC, and
# the enhanced ones.
_USUAL: Final = frozenset(
    _IMAGES + last
    for last in (
        *("1", "1.1", "1.2", "2", "2.1", "4", "4.1", "128", "130", "6.1", "3.1", "20", "7"),
        *("12.1", "12.2", "88.33", "88.34", "66.4", "11.1"),
    )
)
# What archives hold most: native, lossless JPEG, JPEG 2000, baseline JPEG, RLE, JPEG-LS. A study of many
# classes has no room for more. Big endian is left to peers that call us themselves.
_COMMON: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    *(f"1.2.840.10008.1.2.{last}" for last in ("4.70", "4.90", "4.50", "5", "4.80", "4.91", "4.51", "4.57")),
)
_SYNTAXES: Final = (
    *_COMMON,
    *(uid for uid in OFFERED if uid not in (*_COMMON, EXPLICIT_VR_BIG_ENDIAN)),
)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to get: series of one study, of instances of `sop_classes` as far as the peer named them."""

    study_uid: str
    series_uids: Sequence[str]
    sop_classes: Collection[str] = ()


def get(
    peer: Peer,
    *,
    calling_ae: str,
    wanted: Wanted,
    reception: Reception,
    limits: Limits,
    given_up: Callable[[], bool] = lambda: False,
) -> Moved:
    """Get what is `wanted` from `peer`, one series after the other, until one goes wrong."""
    deadline = time.monotonic() + limits.move_seconds_max
    classes = sorted(STORAGE_CLASSES.intersection(wanted.sop_classes or _USUAL))
    judge = Judge(reception.limits)

    def over() -> bool:
        return given_up() or time.monotonic() > deadline

    def stored(event: evt.Event) -> Dataset | int:
        request = _announced(event, peer, called_ae=calling_ae, study_uid=wanted.study_uid)
        return answer_to(event, request, reception=reception, judge=judge)

    def received(event: evt.Event) -> None:
        # On the thread that reads the socket: while it waits, so does a peer that sends ahead of the answers.
        association = event.assoc
        while association.dimse.msg_queue.qsize() > _AHEAD_MAX and not over():
            if association._sent_abort or not association.is_established:
                break
            time.sleep(_LOOK_SECONDS)

    # What comes in between the responses is instances, one of them in memory at a time.
    wide = replace(limits, reply_bytes_max=limits.get_instance_bytes_max)
    try:
        with dial(
            peer,
            calling_ae=calling_ae,
            contexts=contexts_for(classes, limits.contexts_max),
            limits=wide,
            handlers=[(evt.EVT_C_STORE, stored), (evt.EVT_DIMSE_RECV, received)],
            roles=[build_role(uid, scp_role=True) for uid in classes],
        ) as line:

            def one(series_uid: str) -> Moved:
                return _get_series(line, (wanted.study_uid, series_uid), limits, over=over)

            got = series_by_series(wanted.series_uids, one, "get")
    except NoAssociation as failure:
        got = Moved(word=f"get.{failure.reason}")
    tell(got, peer, wanted.study_uid)
    return got


def contexts_for(classes: Sequence[str], contexts_max: int) -> list[PresentationContext]:
    """Return the contexts to propose: each class in each syntax by itself, and what is left over in one.

    So the peer can send what it has as it lies there; what finds no context it has to convert, or leave out.
    """
    each = max((contexts_max - 1) // max(len(classes), 1), 1)
    alone = _SYNTAXES[: each - 1]
    groups = [*([uid] for uid in alone), list(_SYNTAXES[len(alone) :])][:each]
    storage = [build_context(uid, group) for uid in classes for group in groups if group]
    return [get_context(), *storage[: contexts_max - 1]]


def get_context() -> PresentationContext:
    """Return the context on which retrievals are asked for."""
    return build_context(_MODEL, [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN])


def _announced(event: evt.Event, peer: Peer, *, called_ae: str, study_uid: str) -> Request:
    """Return what a sub-operation announces."""
    stored, context = cast("C_STORE", event.request), event.context
    return Request(
        sop_class_uid=str(stored.AffectedSOPClassUID),
        sop_instance_uid=str(stored.AffectedSOPInstanceUID),
        abstract_syntax_uid=str(context.abstract_syntax),
        transfer_syntax_uid=str(context.transfer_syntax),
        peer=peer,
        calling_ae=peer.ae_title,
        called_ae=called_ae,
        study_uid=study_uid,
    )


def _get_series(line: Line, wanted: tuple[str, str], limits: Limits, *, over: Callable[[], bool]) -> Moved:
    """Ask for one series and keep what comes until the peer says that it is through (PS3.7 9.1.3)."""
    found = [(pair[1], number) for pair, number in line.contexts.items() if pair[0] == _MODEL]
    if not found:
        return Moved(word="get.no_context")
    syntax, context_id = found[0]
    request = C_GET()
    request.AffectedSOPClassUID = _MODEL
    request.Priority = _LOW_PRIORITY
    request.Identifier = identifier_of(wanted, syntax)
    responses = line.ask_patiently(
        request, context_id, seconds_max=limits.move_silence_seconds_max, given_up=over
    )
    return counted(responses, over=over, verb="get")
