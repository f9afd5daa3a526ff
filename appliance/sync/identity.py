"""Who this box is to its registry: the key that was born on it, and the certificate that was made for it.

Both lie in `registry.roots`, beside the roots and floors of the claim.

Promises: a key without a certificate is no identity yet.
Never: makes or changes a key; `provisioning.identity` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.core.config import Config
from appliance.sync import softkey, tpm
from appliance.sync.refusal import Refusal, Word
from appliance.sync.signing import SignatureFault, Signer, device_id
from appliance.sync.softkey import KeyFault
from appliance.sync.unreadable import NO_CERTIFICATE

KEY_FILE = "device.key"
TPM_FILE = "device.tpm.json"
CERTIFICATE_FILE = "device.crt"
_BYTES_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The device's certificate: its holder's key, and from when to when it holds in epoch seconds."""

    pem: bytes
    device: str
    slot: str
    begins_at: float
    ends_at: float

    def left_seconds(self, now: float) -> float:
        """Return for how long it still holds; less than 0 when it ended."""
        return self.ends_at - now


def identity_of(config: Config) -> Signer | None:
    """Return what signs for this box; none when it was not enrolled.

    Raises:
        Refusal: NOT_CLAIMED, when what is there cannot be used or does not belong together.
    """
    return identity_in(config.registry.roots)


def identity_in(roots: Path) -> Signer | None:
    """Return what signs for the box whose claim lies in this folder; none when it was not enrolled.

    Raises:
        Refusal: NOT_CLAIMED, when what is there cannot be used or does not belong together.
    """
    certificate = certificate_in(roots)
    if certificate is None or (key := key_in(roots)) is None:
        return None
    if key.id != certificate.device:
        raise Refusal(
            Word.NOT_CLAIMED,
            f"{CERTIFICATE_FILE} is of another key than this device's: enrol this device anew",
        )
    return key


def certificate_in(roots: Path) -> Certificate | None:
    """Return the certificate of the box whose claim lies in this folder; none when there is none.

    Raises:
        Refusal: NOT_CLAIMED, when it cannot be read.
    """
    try:
        with (roots / CERTIFICATE_FILE).open("rb") as file:
            return certificate_of(file.read(_BYTES_MAX))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Refusal(
            Word.NOT_CLAIMED,
            f"{CERTIFICATE_FILE} cannot be read ({type(error).__name__}): enrol this device anew",
        ) from error


def certificate_of(pem: bytes) -> Certificate:
    """Return what a device's certificate says, which nothing is verified by.

    Raises:
        ValueError: it is none, or not a device's.
    """
    try:
        return _certificate(x509.load_pem_x509_certificate(pem))
    except NO_CERTIFICATE as error:
        raise ValueError(f"it is no certificate of a device ({type(error).__name__})") from error


def _certificate(read: x509.Certificate) -> Certificate:
    names = read.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ValueError("the certificate names no slot")
    public = read.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        device = device_id(public)
    except SignatureFault as error:
        raise ValueError(error.sentence) from error
    return Certificate(
        pem=read.public_bytes(Encoding.PEM),
        device=device,
        slot=str(names[0].value),
        begins_at=read.not_valid_before_utc.timestamp(),
        ends_at=read.not_valid_after_utc.timestamp(),
    )


def key_in(roots: Path) -> Signer | None:
    """Return the key that was born on this box, whether a certificate was made for it or not.

    Raises:
        Refusal: NOT_CLAIMED, when it cannot be used, or there are two.
    """
    file, wrapped = roots / KEY_FILE, roots / TPM_FILE
    try:
        if file.exists() and wrapped.exists():
            raise KeyFault(
                f"{KEY_FILE} and {TPM_FILE} are both there: remove the one that is not this device's"
            )
        if wrapped.exists():
            return tpm.load(wrapped)
        return softkey.load(file) if file.exists() else None
    except KeyFault as fault:
        raise Refusal(Word.NOT_CLAIMED, str(fault)) from fault
