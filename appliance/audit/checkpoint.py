"""Signed states of the chain, kept beside the ledger and sent away, so that a cut end is seen.

Promises: a signature holds for one row number, time and hash of one box's trail; a key that was read is
whole.
Never: gives the private key to anyone.
"""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.disk.durable import make_folder, write_file

_DOMAIN = b"readside audit checkpoint 1\0"
_KEY_NAME = "key.pem"
_PUBLIC_NAME = "key.pub.pem"
_FOLDER = "checkpoints"


class KeyFault(Exception):
    """The key of the trail cannot be read; the message says which file."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a trail after row `seq`, signed; `at` in epoch seconds, `signature` in base64."""

    seq: int
    at: float
    hash: str
    key_id: str
    signature: str


def folder_of(storage_root: Path) -> Path:
    """Return where the key and the checkpoints lie."""
    return storage_root / "audit"


class Signer:
    """Holds the private key of this box's trail (Ed25519, RFC 8032)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    def sign(self, *, seq: int, at: float, hash: str) -> Checkpoint:
        """Sign the state after a row."""
        signature = self._key.sign(_signed(seq, at, hash))
        return Checkpoint(
            seq=seq, at=at, hash=hash, key_id=self.key_id, signature=b64encode(signature).decode()
        )


def open_signer(folder: Path) -> Signer:
    """Read the box's key, or make it the first time; it and its public half are durable on return.

    Raises:
        KeyFault: there is a key that cannot be read; making another would hide that.
    """
    path = make_folder(folder) / _KEY_NAME
    if not path.exists():
        _make_key(path)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise KeyFault(f"{_KEY_NAME} of the audit trail cannot be read: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(f"{_KEY_NAME} of the audit trail is of another kind than Ed25519")
    return Signer(key)


def _make_key(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # The public half first: a key without it would be used before anybody can check its signatures.
    write_file(path.with_name(_PUBLIC_NAME), public)
    write_file(path, private)


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key from a PEM file.

    Raises:
        KeyFault: it is not there, or no Ed25519 key.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyFault(f"{path.name} cannot be read as a public key: {type(error).__name__}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFault(f"{path.name} is of another kind than Ed25519")
    return key


def public_key_path(folder: Path) -> Path:
    """Return the file of the public key that belongs to a trail's folder."""
    return folder / _PUBLIC_NAME


def key_id(key: Ed25519PublicKey) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a public key."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def is_genuine(checkpoint: Checkpoint, key: Ed25519PublicKey) -> bool:
    """Say whether a checkpoint was signed by the private half of `key`."""
    try:
        signature = b64decode(checkpoint.signature, validate=True)
        key.verify(signature, _signed(checkpoint.seq, checkpoint.at, checkpoint.hash))
    except (InvalidSignature, ValueError, struct.error):
        return False
    return checkpoint.key_id == key_id(key)


def keep_file(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside the ledger; durable on return."""
    path = make_folder(folder / _FOLDER) / f"{checkpoint.seq:012d}.json"
    write_file(path, written(checkpoint).encode())


def written(checkpoint: Checkpoint) -> str:
    """Write a checkpoint as one line of JSON."""
    return json.dumps(asdict(checkpoint), separators=(",", ":"))


def parsed(text: str) -> Checkpoint:
    """Read a checkpoint from JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        entry = json.loads(text)
        return Checkpoint(
            seq=int(entry["seq"]),
            at=float(entry["at"]),
            hash=str(entry["hash"]),
            key_id=str(entry["key_id"]),
            signature=str(entry["signature"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError("not a checkpoint of an audit trail") from error


def files(folder: Path) -> Iterator[Path]:
    """Yield the files of the checkpoints beside the ledger, oldest first."""
    yield from sorted((folder / _FOLDER).glob("*.json"))


def _signed(seq: int, at: float, hash: str) -> bytes:
    return _DOMAIN + struct.pack(">Qd", seq, at) + hash.encode()
