"""Send frozen objects to a peer by STOW-RS (PS3.18 10.5): the other way of `dicom_node.send`.

The encoded bytes go out exactly as they are, behind a head that says what they are.
Every object gets exactly one outcome, and only the peer's own word for it makes it "accepted".
Replies are hostile until checked: each has a deadline and a size.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import h11
import structlog

from dicom_node.dicomweb.limits import DEFAULT, WebLimits
from dicom_node.dicomweb.line import Gone, HttpLine
from dicom_node.dicomweb.multipart import body_of, new_boundary
from dicom_node.dicomweb.part10 import Meta, head_of
from dicom_node.dicomweb.report import JSON_TYPE, XML_TYPE, Said, read_json, read_xml
from dicom_node.limits import Limits
from dicom_node.send import Outcome, Outgoing, Sent, judged, note
from dicom_node.sockets import TlsConnection, adopt, prepare
from dicom_node.tls import TlsFault, finish_handshake, reason_of

log = structlog.get_logger(__name__)

_PROCESSING_FAILURE: Final = 0x0110
_TOKEN_BYTES_MAX: Final = 8192
# PS3.18 Table I.2-2: class, and transfer syntax, not supported.
_NOT_TAKEN: Final = frozenset((0x0122, 0xC122))
_ANSWERED: Final = frozenset((200, 202, 409))
# What is wrong with the request as a whole: one of several objects may be the reason.
_OF_THE_REQUEST: Final = frozenset((400, 406, 413, 415, 422))


@dataclass(frozen=True, kw_only=True)
class WebPeer:
    """Where a peer takes results, and what it is shown.

    Attributes:
        url: of its DICOMweb service; /studies follows.
        token_file: holds what goes into the Authorization field: a bare token is a bearer's (RFC 6750).
        context: gives the TLS context for https; it checks the certificate and the name.
    """

    name: str
    url: str
    token_file: Path | None
    context: Callable[[], ssl.SSLContext]


class _Failed(Exception):
    """A request came to nothing; carries the log word."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


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
    except _Failed as failure:
        yield from (_sent(item, "later", failure.word) for item in batch)
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
        _Failed: there was none that can be used.
    """
    url = urlsplit(peer.url)
    boundary = new_boundary(item.data for item in batch)
    pieces = body_of([(head_of(_meta(item)), item.data) for item in batch], boundary)
    headers = [
        ("Host", url.netloc.rpartition("@")[2]),
        ("Content-Type", f'multipart/related; type="application/dicom"; boundary={boundary}'),
        ("Content-Length", str(sum(map(len, pieces)))),
        ("Accept", JSON_TYPE),
        ("Connection", "close"),
        *_authorization(peer),
    ]
    line = HttpLine(
        _connected(peer, limits),
        server=False,
        head_bytes_max=web.head_bytes_max,
        silence_seconds_max=limits.dimse_seconds_max,
    )
    try:
        line.allow(web.stow_seconds_max)
        request = h11.Request(method="POST", target=f"{url.path.rstrip('/')}/studies", headers=headers)
        # A peer that has heard enough answers and closes before it took everything.
        with suppress(Gone):
            line.send(request)
            for piece in pieces:
                line.send(h11.Data(data=piece))
            line.send(h11.EndOfMessage())
        return _reply(line, web)
    except Gone as gone:
        raise _Failed("courier.aborted" if gone.word == "cut" else "courier.no_reply") from None
    except h11.RemoteProtocolError:
        raise _Failed("courier.protocol_error") from None
    finally:
        line.close()


def _reply(line: HttpLine, web: WebLimits) -> _Reply:
    event = line.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = line.next_event()
    if not isinstance(event, h11.Response):
        raise _Failed("courier.aborted")
    response, body = event, bytearray()
    while isinstance(event := line.next_event(), h11.Data):
        body += event.data
        if len(body) > web.reply_bytes_max:
            raise _Failed("courier.protocol_error")
    kind = dict(response.headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
    is_xml = kind in (XML_TYPE.encode(), b"application/xml", b"text/xml")
    said = (read_xml if is_xml else read_json)(bytes(body))
    return _Reply(status=response.status_code, said=said)


def _connected(peer: WebPeer, limits: Limits) -> socket.socket:
    """Return a connection to the peer, under TLS where its address says so."""
    url = urlsplit(peer.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        plain = adopt(socket.create_connection((host, port), timeout=limits.connect_seconds_max))
    except OSError:
        raise _Failed("courier.unreachable") from None
    prepare(plain, seconds_max=limits.network_seconds_max)
    if url.scheme != "https":
        return plain
    try:
        context = peer.context()
        context.sslsocket_class = TlsConnection
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except (TlsFault, OSError):
        plain.close()
        raise _Failed("courier.tls_files") from None
    assert isinstance(secured, TlsConnection)
    secured.send_seconds_max = limits.network_seconds_max
    try:
        finish_handshake(secured, seconds_max=limits.tls_handshake_seconds_max)
    except OSError as error:
        secured.close()
        raise _Failed(f"courier.tls_{reason_of(error)}") from None
    return secured


def _authorization(peer: WebPeer) -> list[tuple[str, str]]:
    """Return the Authorization field, out of the peer's file as it is now."""
    if peer.token_file is None:
        return []
    try:
        with peer.token_file.open(encoding="ascii") as file:
            text = file.read(_TOKEN_BYTES_MAX).strip()
    except (OSError, ValueError):
        text = ""
    if not text or not text.isprintable():
        raise _Failed("courier.token_file")
    return [("Authorization", text if " " in text else f"Bearer {text}")]


def _meta(item: Outgoing) -> Meta:
    return Meta(
        sop_class_uid=item.sop_class_uid,
        sop_instance_uid=item.sop_instance_uid,
        transfer_syntax_uid=item.transfer_syntax_uid,
    )


def _sent(item: Outgoing, outcome: Outcome, word: str, status: int | None = None) -> Sent:
    return Sent(sop_instance_uid=item.sop_instance_uid, outcome=outcome, status=status, word=word)
