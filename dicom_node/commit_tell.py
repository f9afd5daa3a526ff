"""Tell a peer what is committed: N-EVENT-REPORT as SCP of the Push Model (PS3.4 J.3.3).

On the association of its request while that is open and idle, else on one that is opened for it, in which
this side proposes itself as SCP (PS3.7 D.3.3.4).
Promises: only the peer's own success means that it heard.
"""

from __future__ import annotations

import itertools
import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from pynetdicom import build_role
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from dicom_node.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    Report,
    commitment_context,
    encode_report,
)
from dicom_node.dial import dial
from dicom_node.errors import NoAssociation
from dicom_node.limits import Limits
from dicom_node.values import Peer, Uid, short

if TYPE_CHECKING:
    from dicom_node.association import GuardedAssociation

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.05
# A late answer to a former report must not be taken for one to this.
_message_ids: Final = itertools.cycle(range(1, 0x10000))


@dataclass(frozen=True, kw_only=True)
class Told:
    """What became of a report: the log word, `commit.reported` when the peer took it, and its status."""

    word: str
    status: int | None = None

    @property
    def ok(self) -> bool:
        """Tell whether the peer heard."""
        return self.word == "commit.reported"


def tell(peer: Peer, *, calling_ae: str, report: Report, limits: Limits) -> Told:
    """Report to `peer` on an association of our own."""
    roles = [build_role(PUSH_MODEL, scp_role=True)]
    try:
        with dial(
            peer, calling_ae=calling_ae, contexts=[commitment_context()], limits=limits, roles=roles
        ) as line:
            syntax, context_id = next(((pair[1], number) for pair, number in line.contexts.items()), ("", 0))
            told = Told(word="commit.no_context")
            if context_id:
                response = line.ask(_message(report, syntax), context_id)
                told = _judged(response)
    except NoAssociation as failure:
        told = Told(word=f"commit.{failure.reason}")
    return _noted(told, peer, report)


def tell_here(
    association: GuardedAssociation, peer: Peer, report: Report, *, context: Any, limits: Limits
) -> Told:
    """Report on the association of the request; called on its own thread, so nothing else is served now.

    Requests that come meanwhile are served afterwards.
    """
    message = _message(report, str(context.transfer_syntax))
    message.MessageID = next(_message_ids)
    association.dimse.send_msg(message, context.context_id)
    return _noted(_judged(_response(association, message.MessageID, limits)), peer, report)


def is_idle(association: GuardedAssociation) -> bool:
    """Tell whether an association stands, and its peer has asked for nothing since."""
    return (
        association.is_established
        and association.dul.is_alive()
        and not association.dul.to_user_queue.queue
        and not association.dimse.msg_queue.queue
    )


def _response(association: GuardedAssociation, message_id: int, limits: Limits) -> N_EVENT_REPORT | None:
    """Wait for the answer to our message; None where the peer is silent, leaves or ends."""
    messages = association.dimse.msg_queue
    deadline = time.monotonic() + limits.dimse_seconds_max
    others: list[Any] = []
    found = None
    while found is None and time.monotonic() < deadline and association.dul.is_alive():
        if association.dul.to_user_queue.queue:
            break
        try:
            context_id, message = messages.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        messages.task_done()
        if isinstance(message, N_EVENT_REPORT) and message.MessageIDBeingRespondedTo == message_id:
            found = message
        else:
            others.append((context_id, message))
    for other in others:
        messages.put(other)
    return found


def _message(report: Report, syntax: str) -> N_EVENT_REPORT:
    """Return the N-EVENT-REPORT request of a report (PS3.7 10.3.1)."""
    message = N_EVENT_REPORT()
    message.AffectedSOPClassUID = Uid(PUSH_MODEL)
    message.AffectedSOPInstanceUID = Uid(PUSH_MODEL_INSTANCE)
    message.EventTypeID = report.event_type
    message.EventInformation = encode_report(report, syntax)
    return message


def _judged(response: N_EVENT_REPORT | None) -> Told:
    if response is None or response.Status is None:
        return Told(word="commit.no_reply")
    ok = response.Status == 0 or response.Status & 0xF000 == 0xB000
    return Told(word="commit.reported" if ok else "commit.report_refused", status=int(response.Status))


def _noted(told: Told, peer: Peer, report: Report) -> Told:
    say = log.info if told.ok else log.warning
    say(
        told.word,
        peer=peer.name,
        transaction=short(report.transaction_uid),
        committed=len(report.committed),
        failed=len(report.failed),
        status=None if told.status is None else f"{told.status:04X}",
    )
    return told
