"""How devices get their certificates, shaped as EST (RFC 7030), and what they are given to believe.

`cacerts` and `simpleenroll` are as the RFC has them, with HTTP basic of slot and claim code. `simplereenroll`
is authenticated by the device's signature over the request in place of a client certificate, which no proxy
would let through; `welcome` and `decommission` are ours.

Promises: every failed claim looks the same. A device that waits for a person is told 202 and when to ask
again.
Never: reads a request that is longer than the server's bound; the guard before it refuses.
"""

from __future__ import annotations

import base64
import binascii

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool

from appliance.core import log
from provisioning.registry import ca, enrolment
from provisioning.registry.book import Book
from provisioning.registry.ca import RequestFault
from provisioning.registry.database.words import DeviceState
from provisioning.registry.enrolment import NotLetIn, Office
from provisioning.registry.faults import RegistryFault
from provisioning.registry.server.room import Here, Room
from provisioning.registry.server.signed import Unsigned, asked, unsigned

_log: structlog.typing.FilteringBoundLogger = log.get("registry")
_CERTIFICATES = "application/pkcs7-mime"
_REQUEST = "application/pkcs10"
_BASE64 = {"content-transfer-encoding": "base64"}
_BASIC = {"www-authenticate": 'Basic realm="Readside claim", charset="UTF-8"'}
_STATUS = {"unauthorised": 401, "occupied": 409, "known": 409, "key": 400}
_ASK_AGAIN_SECONDS = 300
_BODY_BYTES_MAX = 20_000

router = APIRouter(tags=["Devices"], include_in_schema=False)


def office_of(room: Room) -> Office:
    """Return what works on the devices of the registry that is served."""
    return Office(book=Book(folder=room.setting.folder, clock=room.clock), database=room.database)


@router.get("/.well-known/est/cacerts")
def cacerts(here: Here) -> Response:
    """Return the authorities (RFC 7030 section 4.1)."""
    try:
        found = [one.certificate for one in office_of(here).authorities()]
    except RegistryFault as fault:
        return _closed(fault)
    return PlainTextResponse(
        base64.encodebytes(ca.bag(found)).decode(), media_type=_CERTIFICATES, headers=_BASE64
    )


@router.post("/.well-known/est/simpleenroll")
async def simpleenroll(request: Request, here: Here) -> Response:
    """Let the holder of a claim code in (RFC 7030 section 4.2)."""
    body = await request.body()
    return await run_in_threadpool(_enrol, here, request, body)


@router.post("/.well-known/est/simplereenroll")
async def simplereenroll(request: Request, here: Here) -> Response:
    """Make another certificate for a device that is known (RFC 7030 section 4.2.2)."""
    body = await request.body()
    return await run_in_threadpool(_renew, here, request, body)


@router.post("/api/device/v1/welcome")
async def welcome(request: Request, here: Here) -> Response:
    """Return what a device is given to believe: both roots, its floors, the authorities, the time."""
    body = await request.body()
    return await run_in_threadpool(_welcome, here, request, body)


@router.post("/api/device/v1/decommission")
async def decommission(request: Request, here: Here) -> Response:
    """Let a device go for good, because it says that its key is about to be erased."""
    body = await request.body()
    return await run_in_threadpool(_decommission, here, request, body)


def _enrol(here: Room, request: Request, body: bytes) -> Response:
    credentials = _basic(request.headers.get("authorization", ""))
    if credentials is None:
        return _not_let_in(NotLetIn("unauthorised", "the slot or the claim code is not taken"))
    try:
        office = office_of(here)
        made = enrolment.enrol(office, *credentials, ca.request_of(_der(request, body)))
        return _certificate(enrolment.bagged(office, made))
    except RequestFault as fault:
        return _refused(400, "request", str(fault))
    except NotLetIn as fault:
        return _not_let_in(fault)
    except RegistryFault as fault:
        return _closed(fault)


def _renew(here: Room, request: Request, body: bytes) -> Response:
    try:
        known = asked(here, request, body, ended=True)
        office = office_of(here)
        made = enrolment.renew(office, known.device.id, ca.request_of(_der(request, body)))
        if made is None:
            said = {"error": "A person must let this device come back.", "reason": "waits"}
            return JSONResponse(said, 202, headers={"retry-after": str(_ASK_AGAIN_SECONDS)})
        return _certificate(enrolment.bagged(office, made))
    except Unsigned as fault:
        return unsigned(here, fault.word)
    except RequestFault as fault:
        return _refused(400, "request", str(fault))
    except NotLetIn as fault:
        return _not_let_in(fault)
    except RegistryFault as fault:
        return _closed(fault)


def _welcome(here: Room, request: Request, body: bytes) -> Response:
    try:
        known = asked(here, request, body)
        return JSONResponse(enrolment.welcome(office_of(here), known.device.slot))
    except Unsigned as fault:
        return unsigned(here, fault.word)
    except RegistryFault as fault:
        return _closed(fault)


def _decommission(here: Room, request: Request, body: bytes) -> Response:
    try:
        known = asked(here, request, body, ended=True)
        office = office_of(here)
        enrolment.end(office, known.device.id, DeviceState.DECOMMISSIONED, who="device")
        return JSONResponse({"slot": known.device.slot, "now": int(office.now())})
    except Unsigned as fault:
        return unsigned(here, fault.word)
    except RegistryFault as fault:
        return _closed(fault)


def _certificate(text: str) -> Response:
    return PlainTextResponse(text, media_type=f"{_CERTIFICATES}; smime-type=certs-only", headers=_BASE64)


def _der(request: Request, body: bytes) -> bytes:
    """Return the request for a certificate (RFC 7030 section 4.2.1: PKCS #10 in base64)."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != _REQUEST:
        raise RequestFault(f"send it as {_REQUEST}")
    if len(body) > _BODY_BYTES_MAX:
        raise RequestFault(f"it is longer than {_BODY_BYTES_MAX} bytes")
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestFault("it is not in base64") from error


def _basic(header: str) -> tuple[str, str] | None:
    """Return slot and code (RFC 7617)."""
    scheme, _, encoded = header.partition(" ")
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    slot, colon, code = text.partition(":")
    # PostgreSQL has no text with a zero byte.
    return (slot, code) if scheme.lower() == "basic" and colon and "\0" not in slot else None


def _not_let_in(fault: NotLetIn) -> Response:
    status = _STATUS[fault.word]
    return _refused(status, fault.word, str(fault), _BASIC if status == 401 else None)


def _refused(status: int, word: str, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": sentence, "reason": word}, status, headers=headers)


def _closed(fault: RegistryFault) -> Response:
    _log.error("est.closed", why=str(fault))
    said = {"error": "This server cannot do that now; its log says why.", "reason": "closed"}
    return JSONResponse(said, 503)
