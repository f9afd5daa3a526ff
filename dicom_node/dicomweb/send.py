"""Send frozen objects to a peer by STOW-RS (PS3.18 10.5): the other way of `dicom_node.send`.

The encoded bytes go out exactly as they are, behind a head that says what they are.
Every object gets exactly one outcome, and only the peer's own word for it makes it "accepted".
Replies are hostile until checked: each has a deadline and a size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from dicom_node.dicomweb.limits import DEFAULT, WebLimits
from dicom_node.dicomweb.multipart import body_of, new_boundary
from dicom_node.dicomweb.outward import Request, Unanswered, WebPeer, ask
from dicom_node.dicomweb.part10 import Meta, head_of
from dicom_node.dicomweb.report import JSON_TYPE, XML_TYPE, Said, read_json, read_xml
from dicom_node.limits import Limits
from dicom_node.send import Outcome, Outgoing, Sent, judged, note

log = structlog.get_logger(__name__)

_PROCESSING_FAILURE: Final = 0x0110
# PS3.18 Table I.2-2: class, and transfer syntax, not supported.
_NOT_TAKEN: Final = frozenset((0x0122, 0xC122))
_ANSWERED: Final = frozenset((200, 202, 409))
# What is wrong with the request as a whole: one of several objects may be the reason.
_OF_THE_REQUEST: Final = frozenset((400, 406, 413, 415, 422))


@dataclass(frozen=True, kw_only=True)
class _Reply:
    status: int
    said: Said | None


def stow(
    peer: WebPeer, *, objects: Sequence[Outgoing], limits: Limits, web: WebLimits = DEFAULT
) -> Iterator[Sent]:
    """Send `objects` in order, some in one request, and yield what became of each, once each.

    Nothing is raised for what the peer does: an object it did not answer for is "later".
    """
    for batch in _batches(objects, web):
        for sent in _send_batch(peer, batch, limits, web):
            note(sent, peer.name)
            yield sent


def _batches(objects: Sequence[Outgoing], web: WebLimits) -> Iterator[list[Outgoing]]:
    batch: list[Outgoing] = []
    total = 0
    for item in objects:
        if batch and (len(batch) == web.stow_objects_max or total + len(item.data) > web.stow_bytes_max):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += len(item.data)
    if batch:
        yield batch


def _send_batch(peer: WebPeer, batch: Sequence[Outgoing], limits: Limits, web: WebLimits) -> Iterator[Sent]:
    try:
        reply = _posted(peer, batch, limits, web)
    except Unanswered as failure:
        yield from (_sent(item, "later", f"courier.{failure.word}") for item in batch)
        return
    log.info("courier.stow", peer=peer.name, objects=len(batch), http_status=reply.status)
    if reply.status in _OF_THE_REQUEST and len(batch) > 1:
        # One of them may be what the peer cannot take; the others must not go down with it.
        for item in batch:
            yield from _send_batch(peer, [item], limits, web)
        return
    yield from (_outcome(item, reply) for item in batch)


def _outcome(item: Outgoing, reply: _Reply) -> Sent:
    """Return what a reply means for one object (PS3.18 Table 10.5.3-1)."""
    uid, said = item.sop_instance_uid, reply.said
    if reply.status in _ANSWERED and said is not None:
        if uid in said.failed:
            reason = said.failed[uid] or _PROCESSING_FAILURE
            if reason in _NOT_TAKEN:
                # What an association would have said with its contexts: something may stand in for it.
                return _sent(item, "refused", "courier.no_context", reason)
            return judged(item, reason)
        if uid in said.stored and reply.status != 409:
            warning = said.stored[uid]
            return _sent(item, "accepted", "courier.coerced" if warning else "courier.accepted", warning)
    if reply.status == 200 and (said is None or not (said.stored or said.failed)):
        # Without a word on any instance, 200 says that all were stored.
        return _sent(item, "accepted", "courier.accepted", 0)
    if reply.status in (401, 403):
        return _sent(item, "later", "courier.unauthorised")
    if reply.status == 409 or reply.status in _OF_THE_REQUEST:
        return _sent(item, "refused", "courier.refused")
    return _sent(item, "later", "courier.later")


def _posted(peer: WebPeer, batch: Sequence[Outgoing], limits: Limits, web: WebLimits) -> _Reply:
    """Send one request and return its reply.

    Raises:
        Unanswered: there was none that can be used.
    """
    boundary = new_boundary(item.data for item in batch)
    request = Request(
        method="POST",
        target="/studies",
        fields=[
            ("Content-Type", f'multipart/related; type="application/dicom"; boundary={boundary}'),
            ("Accept", JSON_TYPE),
        ],
        pieces=body_of([(head_of(_meta(item)), item.data) for item in batch], boundary),
        seconds_max=web.stow_seconds_max,
        answer_bytes_max=web.reply_bytes_max,
    )
    answer = ask(peer, request, limits=limits, web=web)
    is_xml = answer.media_type in (XML_TYPE, "application/xml", "text/xml")
    said = (read_xml if is_xml else read_json)(answer.body)
    return _Reply(status=answer.status, said=said)


def _meta(item: Outgoing) -> Meta:
    return Meta(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
    )


def _sent(item: Outgoing, outcome: Outcome, word: str, status: int | None = None) -> Sent:
    return Sent(sop_instance_uid=item.sop_instance_uid, outcome=outcome, status=status, word=word)
