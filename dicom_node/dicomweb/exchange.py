"""Answer the requests of one connection: who asks, for what, and what became of it (PS3.18 8.5, 10.5).

Promises: nothing of a body is read before its sender is known and may store; the answer to a Store request
comes after every instance that it calls stored is durable; each end has a status or a word.
Never: serves anything else: no query, no retrieval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

import h11
import structlog

from dicom_node.dicomweb.clients import Client, Clients
from dicom_node.dicomweb.limits import WebLimits
from dicom_node.dicomweb.line import Gone, HttpLine
from dicom_node.dicomweb.multipart import Malformed, Parts, boundary_of, media_type
from dicom_node.dicomweb.report import JSON_TYPE, XML_TYPE, json_of, xml_of
from dicom_node.dicomweb.storing import DICOM_TYPE, Storing
from dicom_node.proof import Proof
from dicom_node.receive import Reception
from dicom_node.values import Uid

log = structlog.get_logger(__name__)

_MULTIPART: Final = "multipart/related"


class Declined(Exception):
    """A request is answered without its body; carries the status, the log word and a sentence."""

    def __init__(self, status: int, word: str, sentence: str, *fields: tuple[str, str]) -> None:
        """Keep what the answer is made of."""
        super().__init__(word)
        self.status, self.word, self.sentence, self.fields = status, word, sentence, fields


class Seats(Protocol):
    """Whether one more Store request may be taken now."""

    def take(self) -> Declined | None:
        """Take a seat, or say why there is none."""

    def leave(self) -> None:
        """Give the seat back."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What every connection works with; `warn` logs a word for an address, and no flood of them."""

    reception: Reception
    clients: Clients
    called_ae: str
    limits: WebLimits
    seats: Seats
    on_stranger: Callable[[str, str], None]
    warn: Callable[..., None]


class Exchange:
    """One connection."""

    def __init__(
        self,
        service: Service,
        line: HttpLine,
        *,
        address: str,
        proof: Proof | None,
        on_known: Callable[[], None],
    ) -> None:
        """Serve `line`, whose other side showed `proof`; `on_known` is called once it is a known client's."""
        self._service, self._line = service, line
        self._address, self._proof = address, proof
        self._on_known = on_known
        self._limits = service.limits

    def serve(self) -> None:
        """Answer requests until one side wants no more.

        Raises:
            Gone: the peer went away or was too slow.
        """
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Answer one request; tell whether another may follow on this connection."""
        line, limits = self._line, self._limits
        # Also how long a connection may idle between two requests.
        line.allow(limits.head_seconds_max)
        try:
            event = line.next_event()
            if not isinstance(event, h11.Request):
                return False
            line.allow(limits.request_seconds_max)
            self._answer_to(event)
        except Declined as declined:
            self._decline(declined)
            return False
        except h11.RemoteProtocolError as error:
            self._decline(Declined(error.error_status_hint, "dicomweb.not_http", "This is no HTTP request."))
            return False
        if line.http.our_state is h11.DONE and line.http.their_state is h11.DONE:
            line.http.start_next_cycle()
            return True
        return False

    def _answer_to(self, request: h11.Request) -> None:
        fields = _fields(request)
        study_uid = _study_of(request)
        client = self._client(fields)
        self._on_known()
        parts_boundary = _boundary(fields)
        if int(fields.get("content-length", "0")) > self._limits.request_bytes_max:
            raise Declined(413, "dicomweb.too_large", "The request is larger than is taken at once.")
        declined = self._service.seats.take()
        if declined is not None:
            raise declined
        try:
            self._store(client, study_uid, parts_boundary, fields.get("accept", ""))
        finally:
            self._service.seats.leave()

    def _client(self, fields: dict[str, str]) -> Client:
        client = self._service.clients.find(fields.get("authorization", ""), self._proof)
        if client is None:
            shown = fields.get("authorization", "")
            self._service.on_stranger(self._address, "wrong_token" if shown else "no_token")
            challenge = ("WWW-Authenticate", 'Bearer realm="dicomweb", Basic realm="dicomweb"')
            raise Declined(401, "dicomweb.stranger", "Show the token of a known client.", challenge)
        return client

    def _store(self, client: Client, study_uid: str, boundary: bytes, accept: str) -> None:
        """Take the body to its end, then say what became of each part."""
        service = self._service
        storing = Storing(
            service.reception,
            client.as_peer,
            called_ae=service.called_ae,
            study_uid=study_uid,
            limits=self._limits,
        )
        try:
            sound = self._take_parts(Parts(boundary, storing, self._limits))
        except Gone as gone:
            counts = {"instances": len(storing.outcomes), "kept": storing.kept}
            log.warning("dicomweb.aborted", peer=client.name, reason=gone.word, **counts)
            raise
        finally:
            storing.cut()
        if not sound:
            storing.spoilt()
        outcomes, status = storing.outcomes, storing.status_code
        if not sound and status == 409:
            status = 400
        say = log.info if status == 200 else log.warning
        say("dicomweb.stored", peer=client.name, status=status, instances=len(outcomes), kept=storing.kept)
        xml = _wants_xml(accept)
        headers = [("Content-Type", XML_TYPE if xml else JSON_TYPE)]
        if status == 503:
            headers.append(("Retry-After", str(self._limits.retry_after_seconds)))
        self._respond(status, headers, xml_of(outcomes) if xml else json_of(outcomes), last=not sound)

    def _take_parts(self, parts: Parts) -> bool:
        """Read the body; tell whether it was a whole multipart body."""
        left = self._limits.request_bytes_max
        try:
            while isinstance(event := self._line.next_event(), h11.Data):
                left -= len(event.data)
                if left < 0:
                    raise Malformed("the body is larger than is taken at once")
                parts.feed(event.data)
            parts.finish()
        except Malformed as fault:
            log.warning("dicomweb.malformed", reason=str(fault), parts=parts.count)
            return False
        except h11.RemoteProtocolError:
            log.warning("dicomweb.malformed", reason="the body is not framed as HTTP frames it")
            return False
        return True

    def _decline(self, declined: Declined) -> None:
        self._service.warn(declined.word, self._address, status=declined.status)
        body = f"{declined.sentence}\n".encode()
        fields = [("Content-Type", "text/plain; charset=utf-8"), *declined.fields]
        self._respond(declined.status, fields, body, last=True)

    def _respond(self, status: int, fields: list[tuple[str, str]], body: bytes, *, last: bool) -> None:
        """Answer; `last` when what the peer still sends is not to be read."""
        line = self._line
        if line.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        line.allow(self._limits.head_seconds_max)
        fields = [*fields, ("Content-Length", str(len(body)))]
        if last:
            fields.append(("Connection", "close"))
        line.send(h11.Response(status_code=status, headers=fields))
        line.send(h11.Data(data=body))
        line.send(h11.EndOfMessage())
        if last:
            line.linger(seconds=self._limits.linger_seconds_max, bytes_max=self._limits.linger_bytes_max)


def _fields(request: h11.Request) -> dict[str, str]:
    """Return the header fields by name; of those that must be one, two are a fault."""
    found: dict[str, str] = {}
    for name, value in request.headers:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        if key in found and key in ("authorization", "content-type", "content-encoding"):
            raise Declined(400, "dicomweb.not_http", f"{key} stands there twice.")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _study_of(request: h11.Request) -> str:
    """Return the study that the URL names, or "" (PS3.18 10.5.1.1).

    Raises:
        Declined: there is nothing at this address, or not this to be done with it.
    """
    try:
        path = urlsplit(request.target.decode("ascii")).path
    except ValueError:
        raise Declined(400, "dicomweb.not_http", "The address is malformed.") from None
    steps = path.strip("/").split("/")
    if steps[0] != "studies" or len(steps) > 2:
        raise Declined(404, "dicomweb.no_such_resource", "Only /studies and /studies/{uid} are here.")
    if request.method != b"POST":
        raise Declined(405, "dicomweb.not_served", "Only storing is served here.", ("Allow", "POST"))
    if len(steps) == 1:
        return ""
    try:
        return Uid.parse(steps[1])
    except ValueError:
        raise Declined(400, "dicomweb.bad_uid", "The Study Instance UID of the URL is malformed.") from None


def _boundary(fields: dict[str, str]) -> bytes:
    """Return what parts the body (PS3.18 8.7.1, 10.5.1.2).

    Raises:
        Declined: the body is of a kind that is not taken here.
    """
    if fields.get("content-encoding", "identity").lower() != "identity":
        raise Declined(415, "dicomweb.media_type", "A compressed body is not taken.")
    try:
        kind, parameters = media_type(fields.get("content-type", ""))
        if kind != _MULTIPART or parameters.get("type", DICOM_TYPE).lower() != DICOM_TYPE:
            raise Declined(
                415, "dicomweb.media_type", 'Only multipart/related; type="application/dicom" is taken.'
            )
        return boundary_of(parameters)
    except Malformed:
        raise Declined(400, "dicomweb.malformed", "The Content-Type or its boundary is malformed.") from None


def _wants_xml(accept: str) -> bool:
    """Tell whether XML is asked for and JSON is not (PS3.18 8.7.5)."""
    wanted = [one.partition(";")[0].strip().lower() for one in accept.split(",")]
    is_json = any(one in (JSON_TYPE, "application/json", "*/*", "application/*") for one in wanted)
    return XML_TYPE in wanted and not is_json
