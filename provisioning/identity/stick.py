"""A claim without a network: a request goes out on a stick or as a QR code, an answer comes back on a stick.

Promises: the answer is believed only for the key that asked, the slot that was asked for and the roots that
the invitation names; it may lie about for as long as its certificate holds.
Never: carries a key. The request carries the claim code: until it was answered, who finds the stick can use
it, once, as who finds the invitation can.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.clock import SYSTEM, Clock
from appliance.disk.durable import remove_file, write_file
from appliance.sync.csr import request_for
from appliance.sync.est import Answer, hold, welcome_of
from appliance.sync.identity import certificate_of, key_in
from appliance.sync.refusal import Refusal
from appliance.sync.softkey import KeyFault
from appliance.sync.unreadable import NO_JSON
from provisioning.identity.code import Invitation
from provisioning.identity.enrol import Claimed, EnrolFault, Home, believe, born, home_in, keep

_ASKED: Final = "claim.asked.json"
_FORM: Final = 1
_BYTES_MAX: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a box asks for: slot, claim code, and PKCS #10 in DER."""

    slot: str
    code: str
    request: bytes


def ask(
    roots: Path, invitation: Invitation, *, home: Home = Home.AUTO, new_key: bool = False, serial: str = ""
) -> str:
    """Make the key of a box and return its request as one line of text; what it waits for is kept in `roots`.

    Raises:
        EnrolFault: the key cannot be made or used.
        NoSpace, DiskFault: the disk is full or failed.
    """
    try:
        key = born(roots, home, new_key=new_key)
        request = request_for(key, invitation.slot, serial=serial)
    except (KeyFault, Refusal) as fault:
        raise EnrolFault(str(fault)) from fault
    kept = {name: value for name, value in asdict(invitation).items() if name != "code"}
    write_file(roots / _ASKED, json.dumps(kept).encode())
    said = {
        "form": _FORM,
        "slot": invitation.slot,
        "code": invitation.code,
        "request": base64.b64encode(request).decode(),
    }
    return json.dumps(said, separators=(",", ":"))


def read_request(data: bytes) -> Asked:
    """Read what a box asks for.

    Raises:
        EnrolFault: it is no request.
    """
    said = _object(data, "request")
    try:
        return Asked(
            slot=str(said["slot"]),
            code=str(said["code"]),
            request=base64.b64decode(said["request"], validate=True),
        )
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise EnrolFault("this file is no request of a box") from error


def answer_text(certificate: str, welcome: dict[str, Any]) -> str:
    """Return an answer: the certificate in PEM, and what the box is given to believe."""
    return json.dumps({"form": _FORM, "certificate": certificate, "welcome": welcome}, indent=1)


def take(roots: Path, data: bytes, *, clock: Clock = SYSTEM) -> Claimed:
    """Take an answer, which makes the box claimed.

    Raises:
        EnrolFault: it is none, or of another box, slot or registry.
        NoSpace, DiskFault: the disk is full or failed.
    """
    said = _object(data, "answer")
    try:
        kept = Invitation(**json.loads((roots / _ASKED).read_bytes()), code="")
    except (OSError, ValueError, TypeError) as error:
        raise EnrolFault("this box waits for no answer: make a request first") from error
    try:
        key = key_in(roots)
        if key is None:
            raise EnrolFault("the key that asked is not here any more: make a request anew")
        welcome = welcome_of(json.dumps(said.get("welcome")).encode())
        certificate = certificate_of(str(said.get("certificate", "")).encode())
        answer = Answer(certificate=certificate, authorities=welcome.authorities)
        hold(answer, key.id, kept.slot, now=clock.now())
        believe(kept, answer, welcome)
    except ValueError as error:
        raise EnrolFault("the answer holds no certificate that can be read") from error
    except Refusal as refusal:
        raise EnrolFault(f"{refusal.word}: {refusal.sentence}") from refusal
    keep(roots, certificate, welcome)
    remove_file(roots / _ASKED)
    return Claimed(slot=kept.slot, device=key.id, home=home_in(roots), certificate=certificate)


def read_small(path: Path) -> bytes:
    """Read a file of a stick.

    Raises:
        EnrolFault: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
    except OSError as error:
        raise EnrolFault(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _BYTES_MAX:
        raise EnrolFault(f"{path}: is longer than {_BYTES_MAX} bytes")
    return data


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except NO_JSON as error:
        raise EnrolFault(f"this file is no {what}") from error
    if not isinstance(said, dict) or said.get("form") != _FORM:
        raise EnrolFault(f"this file is no {what}, or of a newer form")
    return said
