"""Ask a peer to commit what it was sent: N-ACTION as SCU of the Push Model (PS3.4 J.3.2).

Promises: a report that comes on the association of its request is answered after it was taken; whether one
comes is not waited for longer than a moment, as a peer may open an association of its own later.
Never: decides what follows from a report.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pynetdicom import evt
from pynetdicom.dimse_primitives import N_ACTION

from dicom_node.commit_take import take_report
from dicom_node.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_COMMITMENT,
    Report,
    Request,
    commitment_context,
    encode_request,
)
from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation
from dicom_node.limits import Limits
from dicom_node.values import Peer, Uid, short

log = structlog.get_logger(__name__)

# Says whether a report answers a request that was made of this peer.
OnReport = Callable[[Report], bool]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a peer said of a request.

    Attributes:
        word: the log word: `confirm.asked`, `confirm.refused`, `confirm.no_context`, `confirm.no_reply` or
            why there was no association.
        status: the peer's, if it gave one.
    """

    word: str
    status: int | None = None

    @property
    def ok(self) -> bool:
        """Tell whether the peer took the request: then a report is to come."""
        return self.word == "confirm.asked"

    @property
    def refused(self) -> bool:
        """Tell whether asking again would be answered the same."""
        return self.word in ("confirm.refused", "confirm.no_context")


class _Ear:
    """Takes the reports that come on one association; the library calls it on a thread for each."""

    def __init__(self, peer: Peer, on_report: OnReport, limits: Limits) -> None:
        self._peer, self._on_report, self._limits = peer, on_report, limits
        self._threads: list[threading.Thread] = []

    def __call__(self, event: evt.Event) -> tuple[int, None]:
        """Take one report."""
        self._threads.append(threading.current_thread())
        return take_report(event, self._peer, self._on_report, self._limits), None

    def heard(self) -> bool:
        """Tell whether a report came and was answered."""
        return bool(self._threads) and not any(thread.is_alive() for thread in self._threads)


def ask_to_commit(
    peer: Peer, *, calling_ae: str, request: Request, on_report: OnReport, limits: Limits
) -> Taken:
    """Ask `peer` to commit instances, and take its report if it comes at once."""
    ear = _Ear(peer, on_report, limits)
    try:
        with dial(
            peer,
            calling_ae=calling_ae,
            contexts=[commitment_context()],
            limits=limits,
            handlers=[(evt.EVT_N_EVENT_REPORT, ear)],
        ) as line:
            taken = _ask(line, request)
            if taken.ok:
                line.stay(limits.commitment_event_seconds, until=ear.heard)
    except NoAssociation as failure:
        taken = Taken(word=f"confirm.{failure.reason}")
    say = log.info if taken.ok else log.warning
    status = None if taken.status is None else f"{taken.status:04X}"
    say(
        taken.word,
        peer=peer.name,
        transaction=short(request.transaction_uid),
        references=len(request.references),
        status=status,
    )
    return taken


def _ask(line: Line, request: Request) -> Taken:
    syntax, context_id = next(((pair[1], number) for pair, number in line.contexts.items()), ("", 0))
    if not context_id:
        return Taken(word="confirm.no_context")
    action = N_ACTION()
    action.RequestedSOPClassUID = Uid(PUSH_MODEL)
    action.RequestedSOPInstanceUID = Uid(PUSH_MODEL_INSTANCE)
    action.ActionTypeID = REQUEST_COMMITMENT
    action.ActionInformation = encode_request(request, syntax)
    response = line.ask(action, context_id)
    if response is None or response.Status is None:
        return Taken(word="confirm.no_reply")
    # Bxxx is a warning; whatever else is not success was not taken (PS3.7 Annex C).
    ok = response.Status == 0 or response.Status & 0xF000 == 0xB000
    return Taken(word="confirm.asked" if ok else "confirm.refused", status=int(response.Status))
