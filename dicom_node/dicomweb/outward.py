"""One request of ours to somebody's DICOMweb service, and its answer: what STOW-RS and UPS-RS share.

Promises: under https the other side proves itself first; every request has a deadline and every answer a
size; what came to nothing is one word.
Never: follows a redirection, uses a proxy, or reads what an answer means.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import h11

from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.line import Gone, HttpLine
from dicom_node.limits import Limits
from dicom_node.sockets import TlsConnection, adopt, prepare
from dicom_node.tls import TlsFault, finish_handshake, reason_of

_TOKEN_BYTES_MAX: Final = 8192


@dataclass(frozen=True, kw_only=True)
class WebPeer:
    """Where somebody's DICOMweb service is, and what it is shown.

    Attributes:
        url: of the service; /studies or /workitems follows.
        token_file: holds what goes into the Authorization field: a bare token is a bearer's (RFC 6750).
        context: gives the TLS context for https; it checks the certificate and the name.
    """

    name: str
    url: str
    token_file: Path | None
    context: Callable[[], ssl.SSLContext]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked.

    Attributes:
        target: what follows the path of the service's address, with the query, percent-encoded.
        pieces: the body, which goes out piece by piece; none: there is no body.
        seconds_max: for the request and its answer together.
        answer_bytes_max: a longer answer is none.
    """

    method: str
    target: str
    fields: Sequence[tuple[str, str]] = ()
    pieces: Sequence[bytes] = ()
    seconds_max: float
    answer_bytes_max: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; `fields` by name in lower case."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def media_type(self) -> str:
        """Return what the body is said to be, without parameters."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()


class Unanswered(Exception):
    """A request came to nothing; `word` says why: unreachable, tls_expired, token_file, no_reply ..."""

    def __init__(self, word: str) -> None:
        """Keep the word."""
        super().__init__(word)
        self.word = word


def ask(peer: WebPeer, request: Request, *, limits: Limits, web: WebLimits) -> Answer:
    """Send one request on a connection of its own and return the answer, whatever its status.

    Raises:
        Unanswered: there was none that can be used.
    """
    url = urlsplit(peer.url)
    fields = [
        ("Host", url.netloc.rpartition("@")[2]),
        *request.fields,
        ("Connection", "close"),
        *_authorization(peer),
    ]
    if request.pieces:
        fields.append(("Content-Length", str(sum(map(len, request.pieces)))))
    line = HttpLine(
        _connected(peer, limits),
        server=False,
        head_bytes_max=web.head_bytes_max,
        silence_seconds_max=limits.dimse_seconds_max,
    )
    try:
        line.allow(request.seconds_max)
        target = url.path.rstrip("/") + request.target
        # A peer that has heard enough answers and closes before it took everything.
        with suppress(Gone):
            line.send(h11.Request(method=request.method, target=target, headers=fields))
            for piece in request.pieces:
                line.send(h11.Data(data=piece))
            line.send(h11.EndOfMessage())
        return _answer(line, request.answer_bytes_max)
    except Gone as gone:
        raise Unanswered("aborted" if gone.word == "cut" else "no_reply") from None
    except h11.RemoteProtocolError:
        raise Unanswered("protocol_error") from None
    finally:
        line.close()


def _answer(line: HttpLine, bytes_max: int) -> Answer:
    event = line.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = line.next_event()
    if not isinstance(event, h11.Response):
        raise Unanswered("aborted")
    response, body = event, bytearray()
    while isinstance(event := line.next_event(), h11.Data):
        body += event.data
        if len(body) > bytes_max:
            raise Unanswered("protocol_error")
    fields = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in response.headers}
    return Answer(status=response.status_code, fields=fields, body=bytes(body))


def _connected(peer: WebPeer, limits: Limits) -> socket.socket:
    """Return a connection to the peer, under TLS where its address says so."""
    url = urlsplit(peer.url)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        plain = adopt(socket.create_connection((host, port), timeout=limits.connect_seconds_max))
    except OSError:
        raise Unanswered("unreachable") from None
    prepare(plain, seconds_max=limits.network_seconds_max)
    if url.scheme != "https":
        return plain
    try:
        context = peer.context()
        context.sslsocket_class = TlsConnection
        secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    except (TlsFault, OSError):
        plain.close()
        raise Unanswered("tls_files") from None
    assert isinstance(secured, TlsConnection)
    secured.send_seconds_max = limits.network_seconds_max
    try:
        finish_handshake(secured, seconds_max=limits.tls_handshake_seconds_max)
    except OSError as error:
        secured.close()
        raise Unanswered(f"tls_{reason_of(error)}") from None
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
        raise Unanswered("token_file")
    return [("Authorization", text if " " in text else f"Bearer {text}")]
