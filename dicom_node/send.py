"""Send frozen objects to a peer by C-STORE (PS3.4 B, PS3.7 9.1.1).

The encoded bytes go out exactly as they are, in their own transfer syntax or not at all.
Every object gets exactly one outcome, and only the peer's own success or warning makes it "accepted".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Literal, TypeAlias

import structlog
from pynetdicom import build_context
from pynetdicom.dimse_primitives import C_STORE

from dicom_node.dial import Line, dial
from dicom_node.errors import NoAssociation
from dicom_node.limits import Limits
from dicom_node.values import Peer, short

log = structlog.get_logger(__name__)

Outcome: TypeAlias = Literal["accepted", "later", "refused"]

_MEDIUM_PRIORITY: Final = 0
_SUCCESS: Final = 0x0000
_DUPLICATE: Final = 0x0111
# PS3.7 Annex C.4: these mean that it was stored, with a remark. Bxxx as a whole is a warning too.
_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})
# Asking again would be answered the same: class not supported, not authorised.
_FINAL: Final = frozenset({0x0122, 0x0124})


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One object to send: its identity and its encoded data set without preamble or file meta information."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What became of one object: the outcome, the peer's status if there was one, and the log word."""

    sop_instance_uid: str
    outcome: Outcome
    status: int | None
    word: str


def send(peer: Peer, *, calling_ae: str, objects: Sequence[Outgoing], limits: Limits) -> Iterator[Sent]:
    """Send `objects` in order on one association and yield what became of each, once each.

    Proposes exactly the pairs of SOP class and transfer syntax that occur; only more than 128 pairs need a
    second association. Nothing is raised for what the peer does: an object it did not answer for is "later".
    """
    for batch in _batches(objects, limits.contexts_max):
        for sent in _send_batch(peer, calling_ae, batch, limits):
            note(sent, peer.name)
            yield sent


def _send_batch(peer: Peer, calling_ae: str, objects: Sequence[Outgoing], limits: Limits) -> Iterator[Sent]:
    """Send what fits one association."""
    pairs = dict.fromkeys((item.sop_class_uid, item.transfer_syntax_uid) for item in objects)
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    try:
        with dial(peer, calling_ae=calling_ae, contexts=contexts, limits=limits) as line:
            for item in objects:
                yield _send_one(line, item)
    except NoAssociation as failure:
        refused = failure.reason == "no_context"
        for item in objects:
            yield _sent(item, "refused" if refused else "later", f"courier.{failure.reason}")


def _send_one(line: Line, item: Outgoing) -> Sent:
    """Send one object on an open association, or say that it no longer is."""
    if not line.is_open:
        return _sent(item, "later", "courier.aborted")
    context_id = line.contexts.get((item.sop_class_uid, item.transfer_syntax_uid))
    if context_id is None:
        return _sent(item, "refused", "courier.no_context")
    response = line.ask(_request(item), context_id)
    if response is None or response.Status is None:
        return _sent(item, "later", "courier.no_reply")
    return judged(item, response.Status)


def _request(item: Outgoing) -> C_STORE:
    """Return the C-STORE request of one object (PS3.7 9.3.1.1)."""
    request = C_STORE()
    request.AffectedSOPClassUID = item.sop_class_uid
    request.AffectedSOPInstanceUID = item.sop_instance_uid
    request.Priority = _MEDIUM_PRIORITY
    request.DataSet = BytesIO(item.data)
    return request


def judged(item: Outgoing, status: int) -> Sent:
    """Return what a peer's status means (PS3.4 Table B.2-1, PS3.7 Annex C)."""
    if status == _SUCCESS:
        return _sent(item, "accepted", "courier.accepted", status)
    if status == _DUPLICATE:
        return _sent(item, "accepted", "courier.duplicate", status)
    if status in _WARNINGS or status & 0xF000 == 0xB000:
        return _sent(item, "accepted", "courier.coerced", status)
    if status in _FINAL or status & 0xFF00 == 0xA900 or status & 0xF000 == 0xC000:
        return _sent(item, "refused", "courier.refused", status)
    return _sent(item, "later", "courier.later", status)


def _sent(item: Outgoing, outcome: Outcome, word: str, status: int | None = None) -> Sent:
    return Sent(sop_instance_uid=item.sop_instance_uid, outcome=outcome, status=status, word=word)


def _batches(objects: Iterable[Outgoing], contexts_max: int) -> Iterator[list[Outgoing]]:
    """Split objects, in order, so that no part needs more contexts than one association has."""
    batch: list[Outgoing] = []
    pairs: set[tuple[str, str]] = set()
    for item in objects:
        pair = (item.sop_class_uid, item.transfer_syntax_uid)
        if pair not in pairs and len(pairs) == contexts_max:
            yield batch
            batch, pairs = [], set()
        batch.append(item)
        pairs.add(pair)
    if batch:
        yield batch


def note(sent: Sent, peer_name: str) -> None:
    """Log one outcome under its own word."""
    say = log.info if sent.outcome == "accepted" else log.warning
    status = None if sent.status is None else f"{sent.status:04X}"
    say(sent.word, peer=peer_name, status=status, instance=short(sent.sop_instance_uid))
