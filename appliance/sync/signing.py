"""A device's request, signed: HTTP Message Signatures (RFC 9421) over method, path and a digest of the body.

The signature lies in three headers and not in the TLS connection, so it passes proxies that end TLS and load
balancers; the registry needs no client certificates on its socket.

Promises: who verifies knows that this key signed this method, this path and these bytes, at most 300 seconds
ago; a request that differs in one byte of them, or of the headers that say so, is refused.
Never: covers the query: what is signed has none. Keeps out the same request within the 300 seconds: what is
asked under a signature must bear being asked twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

SKEW_SECONDS_MAX: Final = 300.0
ALGORITHM: Final = "ecdsa-p256-sha256"
_LABEL = "device"
_COVERED = '("@method" "@path" "content-digest")'
_HEADER_CHARACTERS_MAX = 400
_HALF_BYTES = 32
_KEYS_KEPT_MAX = 20_000
_INPUT = re.compile(
    rf"{_LABEL}=(?P<parameters>{re.escape(_COVERED)};created=(?P<created>0|[1-9][0-9]{{0,11}});"
    rf'keyid="(?P<keyid>[0-9a-f]{{64}})";alg="{ALGORITHM}")'
)
_SIGNATURE = re.compile(rf"{_LABEL}=:(?P<value>[A-Za-z0-9+/]{{86}}==):")
_HEADERS = ("content-digest", "signature-input", "signature")


class SignatureFault(Exception):
    """The request is not taken as this device's; `word` is for a log and for the answer."""

    def __init__(self, word: str, sentence: str) -> None:
        """Keep both; the word is one of missing, form, clock, digest, key, signature."""
        super().__init__(sentence)
        self.word, self.sentence = word, sentence


class Signer(Protocol):
    """A private P-256 key that signs and is not seen: in a file, or in a TPM."""

    @property
    def id(self) -> str:
        """Return the device's id: SHA-256 of the key's SubjectPublicKeyInfo, 64 hex digits."""
        ...

    @property
    def public_pem(self) -> bytes:
        """Return the public key as SubjectPublicKeyInfo in PEM."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA signature over the SHA-256 of `data`, as DER."""
        ...


def device_id(public_key: bytes | str) -> str:
    """Return the id of a device by its public key in PEM.

    Raises:
        SignatureFault: it is no P-256 key.
    """
    return hashlib.sha256(_spki(_pem(public_key))).hexdigest()


def content_digest(body: bytes) -> str:
    """Return the value of the header Content-Digest (RFC 9530 section 2)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def sign(key: Signer, *, method: str, path: str, body: bytes, at: float) -> dict[str, str]:
    """Return the headers that make a request this device's; `at` is the time in epoch seconds."""
    digest = content_digest(body)
    parameters = f'{_COVERED};created={int(at)};keyid="{key.id}";alg="{ALGORITHM}"'
    first, second = decode_dss_signature(key.sign(_base(method, path, digest, parameters)))
    # RFC 9421 section 3.3.4: both numbers, 32 bytes each, and not DER.
    raw = first.to_bytes(_HALF_BYTES, "big") + second.to_bytes(_HALF_BYTES, "big")
    return {
        "Content-Digest": digest,
        "Signature-Input": f"{_LABEL}={parameters}",
        "Signature": f"{_LABEL}=:{base64.b64encode(raw).decode()}:",
    }


def keyid(headers: Mapping[str, str]) -> str:
    """Return the id of the device that a request says it comes from; nothing is verified by this.

    Raises:
        SignatureFault: it does not say so, or not in our form.
    """
    return _input(_picked(headers))["keyid"]


def verify(
    public_key: bytes | str, *, method: str, path: str, body: bytes, headers: Mapping[str, str], now: float
) -> None:
    """Make sure that the holder of a key (PEM) signed this request within the last 300 seconds.

    Raises:
        SignatureFault: it did not, the headers are not in our form, or the clocks differ by more.
    """
    picked = _picked(headers)
    said = _input(picked)
    if device_id(public_key) != said["keyid"]:
        raise SignatureFault("key", "the request names another key than the one it is held against")
    if abs(now - int(said["created"])) > SKEW_SECONDS_MAX:
        raise SignatureFault(
            "clock", f"the request was signed more than {SKEW_SECONDS_MAX:.0f} seconds before or after now"
        )
    if picked["content-digest"] != content_digest(body):
        raise SignatureFault("digest", "the body is not the one that was signed, or has no SHA-256 digest")
    base = _base(method, path, picked["content-digest"], said["parameters"])
    try:
        _key(_pem(public_key)).verify(_der(picked["signature"]), base, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise SignatureFault("signature", "the signature is not this key's over this request") from error


def _base(method: str, path: str, digest: str, parameters: str) -> bytes:
    """Return what is signed (RFC 9421 section 2.5)."""
    lines = (
        f'"@method": {method}',
        f'"@path": {path}',
        f'"content-digest": {digest}',
        f'"@signature-params": {parameters}',
    )
    return "\n".join(lines).encode()


def _picked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return our three headers, each of which must be there once."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in _HEADERS:
            if lower in found or len(value) > _HEADER_CHARACTERS_MAX:
                raise SignatureFault("form", f"the header {lower} is there twice, or is too long")
            found[lower] = value
    if missing := [name for name in _HEADERS if name not in found]:
        raise SignatureFault("missing", f"the request carries no {missing[0]}")
    return found


def _input(picked: Mapping[str, str]) -> dict[str, str]:
    match = _INPUT.fullmatch(picked["signature-input"])
    if match is None:
        raise SignatureFault("form", "the header signature-input is not in the form that devices use")
    return match.groupdict()


def _der(header: str) -> bytes:
    match = _SIGNATURE.fullmatch(header)
    try:
        raw = base64.b64decode(match["value"], validate=True) if match is not None else b""
    except binascii.Error:
        raw = b""
    # The last digits of base64 have bits to spare: only one spelling of a signature is taken.
    if match is None or base64.b64encode(raw).decode() != match["value"]:
        raise SignatureFault("form", "the header signature is not in the form that devices use")
    first, second = raw[:_HALF_BYTES], raw[_HALF_BYTES:]
    return encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big"))


def _pem(public_key: bytes | str) -> bytes:
    return public_key.encode() if isinstance(public_key, str) else public_key


@lru_cache(maxsize=_KEYS_KEPT_MAX)
def _key(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise SignatureFault("key", "this is no public key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureFault("key", "this is no public key on the curve P-256")
    return key


@lru_cache(maxsize=_KEYS_KEPT_MAX)
def _spki(pem: bytes) -> bytes:
    return _key(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
