"""Signed statements that are files: the Dead Simple Signing Envelope (DSSE 1.0.2), as far as it is used here.

What is signed is the payload with its type, each after its length, so that bytes of one type never pass for
bytes of another. Keys are elliptic curves, with the hash that belongs to each curve's size.

Promises: an envelope that is read has exactly one form; a signature holds for its type and payload or not.
Never: says who holds a key.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

_HASHES: Final[Mapping[int, hashes.HashAlgorithm]] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    521: hashes.SHA512(),
}
_SIGNATURES_MAX = 16


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What was signed, its type, and (key's id, signature) of each who signed."""

    kind: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as it is written."""
        signed = [{"keyid": key, "sig": base64.b64encode(sig).decode()} for key, sig in self.signatures]
        payload = base64.b64encode(self.payload).decode()
        return {"payloadType": self.kind, "payload": payload, "signatures": signed}

    def held_by(self, keys: Sequence[ec.EllipticCurvePublicKey]) -> bool:
        """Say whether one of these keys signed it."""
        return any(_holds(key, self, sig) for key in keys for _, sig in self.signatures)


def envelope_of(said: Any) -> Envelope:
    """Read an envelope.

    Raises:
        ValueError: it has another form.
    """
    if not isinstance(said, dict) or not isinstance(said.get("signatures"), list):
        raise ValueError("it is no envelope")
    if len(said["signatures"]) > _SIGNATURES_MAX or not isinstance(said.get("payloadType"), str):
        raise ValueError("it is no envelope")
    signed = tuple(_signature(one) for one in said["signatures"])
    return Envelope(kind=said["payloadType"], payload=_bytes(said.get("payload")), signatures=signed)


def to_sign(kind: str, payload: bytes) -> bytes:
    """Return what is signed: the pre-authentication encoding of its protocol."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def key_of(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a public key.

    Raises:
        ValueError: it is none, or of a kind or curve that is not used here.
    """
    key = load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in (
        "secp256r1",
        "secp384r1",
        "secp521r1",
    ):
        raise ValueError("it is no public key on one of the curves P-256, P-384, P-521")
    return key


def _holds(key: ec.EllipticCurvePublicKey, envelope: Envelope, signature: bytes) -> bool:
    try:
        signed = to_sign(envelope.kind, envelope.payload)
        key.verify(signature, signed, ec.ECDSA(_HASHES[key.curve.key_size]))
    except InvalidSignature:
        return False
    return True


def _signature(said: Any) -> tuple[str, bytes]:
    if not isinstance(said, dict) or not isinstance(said.get("keyid", ""), str):
        raise ValueError("a signature has another form")
    return said.get("keyid", ""), _bytes(said.get("sig"))


def _bytes(said: Any) -> bytes:
    if not isinstance(said, str):
        raise ValueError("bytes are missing")
    return base64.b64decode(said, validate=True)
