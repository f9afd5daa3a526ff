"""The device's end of enrolment, shaped as EST (RFC 7030): a request goes out, a certificate comes back.

Promises: what comes back is held against the device's own key, its slot, an authority and the clock before
anybody believes it.
Never: keeps anything; who asks writes what came.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates

from appliance.core.clock import Clock
from appliance.sync.csr import as_base64
from appliance.sync.identity import Certificate, certificate_of
from appliance.sync.line import LINE, LineLimits, post_to
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import Signer
from appliance.sync.unreadable import NO_CERTIFICATE, NO_JSON

ENROL: Final = "/.well-known/est/simpleenroll"
RENEW: Final = "/.well-known/est/simplereenroll"
WELCOME: Final = "/api/device/v1/welcome"
DECOMMISSION: Final = "/api/device/v1/decommission"
_REQUEST = "application/pkcs10"


class Waits(Exception):
    """The registry knows this device, and a person must let it come back first."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A certificate for this device's key, and the authorities that came with it, in PEM."""

    certificate: Certificate
    authorities: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """What a device is given to believe: files by name, authorities in PEM, the registry's time."""

    slot: str
    files: Mapping[str, bytes]
    authorities: tuple[str, ...]
    now: float


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where a device enrols: the registry's address, and its own key."""

    url: str
    key: Signer
    clock: Clock
    limits: LineLimits = LINE

    def enrol(self, slot: str, code: str, request: bytes) -> Answer:
        """Come into a slot with a claim code; `request` is PKCS #10 in DER.

        Raises:
            Refusal: the registry was not reached, or does not let this device in.
        """
        basic = base64.b64encode(f"{slot}:{code}".encode()).decode()
        said = post_to(
            self.url,
            None,
            ENROL,
            as_base64(request),
            content_type=_REQUEST,
            headers={"Authorization": f"Basic {basic}"},
            clock=self.clock,
            limits=self.limits,
        )
        return self._held(answer_of(said), slot)

    def renew(self, slot: str, request: bytes) -> Answer:
        """Ask for another certificate.

        Raises:
            Waits: this device's certificate ended, and a person must let it come back.
            Refusal: the registry was not reached, or does not know this device.
        """
        said = post_to(
            self.url,
            self.key,
            RENEW,
            as_base64(request),
            content_type=_REQUEST,
            clock=self.clock,
            limits=self.limits,
        )
        if said.lstrip().startswith(b"{"):
            raise Waits
        return self._held(answer_of(said), slot)

    def welcome(self) -> Welcome:
        """Ask what this device is to believe.

        Raises:
            Refusal: the registry was not reached, or does not know this device.
        """
        said = post_to(self.url, self.key, WELCOME, b"{}", clock=self.clock, limits=self.limits)
        return welcome_of(said)

    def leave(self) -> str:
        """Tell the registry that this device's key is about to be erased; return the slot that it leaves.

        Raises:
            Refusal: the registry was not reached, or does not know this device.
        """
        said = post_to(self.url, self.key, DECOMMISSION, b"{}", clock=self.clock, limits=self.limits)
        return str(_object(said).get("slot", ""))

    def _held(self, answer: Answer, slot: str) -> Answer:
        hold(answer, self.key.id, slot, now=self.clock.now())
        return answer


def answer_of(data: bytes) -> Answer:
    """Read base64 of PKCS #7 with the device's certificate first (RFC 7030 section 4.2.3).

    Raises:
        Refusal: UNKNOWN_FORM, it is none.
    """
    try:
        found = load_der_pkcs7_certificates(base64.b64decode(b"".join(data.split()), validate=True))
        own = [one for one in found if not _is_authority(one)]
        if len(own) != 1:
            raise ValueError("there is not one certificate for a device")
        return Answer(
            certificate=certificate_of(own[0].public_bytes(Encoding.PEM)),
            authorities=tuple(_pem(one) for one in found if _is_authority(one)),
        )
    except NO_CERTIFICATE as error:
        raise Refusal(
            Word.UNKNOWN_FORM, "the registry's answer holds no certificate that can be read"
        ) from error


def welcome_of(data: bytes) -> Welcome:
    """Read what a device is given to believe.

    Raises:
        Refusal: UNKNOWN_FORM, it is not in our form.
    """
    said = _object(data)
    try:
        slot, files, authorities, now = said["slot"], said["files"], said["authorities"], said["now"]
        if not isinstance(now, int) or not _texts([slot, *files.values(), *authorities]):
            raise TypeError("not in our form")
        return Welcome(
            slot=slot,
            files={name: text.encode() for name, text in files.items()},
            authorities=tuple(authorities),
            now=float(now),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Refusal(
            Word.UNKNOWN_FORM, "the registry's welcome is not in a form that is known here"
        ) from error


def _texts(values: list[Any]) -> bool:
    """Say whether all of these are text that can be written as UTF-8."""
    try:
        return all(isinstance(one, str) and one.encode() is not None for one in values)
    except UnicodeEncodeError:
        return False


def hold(answer: Answer, device: str, slot: str, *, now: float) -> None:
    """Hold a certificate against the key and the slot it is for, the authorities that came, and the clock.

    Raises:
        Refusal: WRONG_KEY, NOT_CLAIMED, or a wrong clock.
    """
    certificate = answer.certificate
    if certificate.device != device or certificate.slot != slot:
        raise Refusal(Word.WRONG_KEY, "the certificate that came is for another key or another slot")
    if not issued_by(certificate.pem, answer.authorities):
        raise Refusal(Word.WRONG_KEY, "the certificate that came is signed by no authority that came with it")
    if now < certificate.begins_at:
        raise Refusal(Word.CLOCK_BEHIND, "the certificate that came does not hold yet: set this box's clock")
    if now >= certificate.ends_at:
        raise Refusal(Word.CLOCK_AHEAD, "the certificate that came ended already: set this box's clock")


def issued_by(pem: bytes, authorities: Sequence[str]) -> bool:
    """Say whether one of these authorities signed a certificate (RFC 5280 section 6.1.3)."""
    certificate = x509.load_pem_x509_certificate(pem)
    for one in authorities:
        try:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(one.encode()))
        except (*NO_CERTIFICATE, InvalidSignature):
            continue
        return True
    return False


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except NO_JSON as error:
        raise Refusal(Word.NOT_A_REGISTRY, "what answers there is no registry") from error
    return said if isinstance(said, dict) else {}
