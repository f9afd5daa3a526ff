"""A device's private key in a file, where the machine has no TPM.

Promises: the file is readable by its owner only, and is never written over.
Never: gives the key out of its object, or puts it into a message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from appliance.disk.durable import make_folder, write_file
from appliance.sync.signing import device_id

_BYTES_MAX = 10_000


class KeyFault(Exception):
    """The key of this device cannot be used or made; the sentence says why and what to do."""


@dataclass(frozen=True)
class SoftwareKey:
    """A P-256 key that this process holds in memory."""

    _private: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def public_pem(self) -> bytes:
        """Return the public key as SubjectPublicKeyInfo in PEM."""
        return self._private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def id(self) -> str:
        """Return the device's id: SHA-256 of the SubjectPublicKeyInfo, 64 hex digits."""
        return device_id(self.public_pem)

    def sign(self, data: bytes) -> bytes:
        """Return the ECDSA signature over the SHA-256 of `data`, as DER."""
        return self._private.sign(data, ec.ECDSA(hashes.SHA256()))


def make(path: Path) -> SoftwareKey:
    """Make a key and keep it in a file, durably, 0600.

    Raises:
        KeyFault: a file of that name is there.
        NoSpace, DiskFault: the disk is full or failed.
    """
    if path.exists():
        raise KeyFault(f"{path}: a key is there already, and keys are never written over")
    key = ec.generate_private_key(ec.SECP256R1())
    make_folder(path.parent)
    write_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return SoftwareKey(key)


def load(path: Path) -> SoftwareKey:
    """Open a key file.

    Raises:
        KeyFault: it cannot be read, is readable by others, or holds no P-256 key.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_mode & 0o077:
                raise KeyFault(
                    f"{path}: others may read it; run `chmod 600` on it, and enrol this device anew"
                )
            data = file.read(_BYTES_MAX)
    except OSError as error:
        raise KeyFault(f"{path}: cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise KeyFault(f"{path}: is no private key without a passphrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFault(f"{path}: is no key on the curve P-256")
    return SoftwareKey(key)
