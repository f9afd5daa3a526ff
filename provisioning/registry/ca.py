"""The registry's own authority: it makes the certificates of devices, and of nothing else.

P-256 keys, RFC 5280 certificates. An authority may follow another while that one still holds: the newest
makes certificates, each that holds is handed out, so no device meets one that it does not know.

Promises: a certificate holds 90 days, never longer than its authority, and names the slot that it was made
for; the key in it signed the request.
Never: takes a name, a time or an extension from the request: a device asks with its key alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.core.clock import as_datetime
from appliance.disk.durable import make_folder, write_file
from appliance.sync.unreadable import NO_CERTIFICATE
from provisioning.registry.faults import RegistryFault

DAY_SECONDS: Final = 86_400
_ORGANISATION = "Readside registry"
_REQUEST_BYTES_MAX = 8_000
_SERIAL = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestFault(Exception):
    """The request for a certificate is none that is answered with one; the sentence says why."""


@dataclass(frozen=True, kw_only=True)
class AuthorityLimits:
    """How long certificates hold.

    Attributes:
        device_seconds: of a device.
        authority_seconds: of an authority; another should follow when half of it is over.
        early_seconds: from when before now a certificate holds, for a clock that is a little behind.
    """

    device_seconds: int = 90 * DAY_SECONDS
    authority_seconds: int = 10 * 365 * DAY_SECONDS
    early_seconds: int = 300


DEFAULT: Final = AuthorityLimits()


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a request for a certificate (PKCS #10, RFC 2986) says: its key in PEM, and the hardware's number.

    The number is for the list of devices and stands in no certificate.
    """

    public_pem: bytes
    serial: str = ""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A new certificate; the times are epoch seconds, the serial is in hexadecimal."""

    certificate: x509.Certificate
    serial: str
    begins_at: float
    ends_at: float

    @property
    def pem(self) -> str:
        """Return it in PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()


@dataclass(frozen=True, kw_only=True)
class Authority:
    """One authority: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def name(self) -> str:
        """Return what it is called."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def holds(self, now: float) -> bool:
        """Say whether its certificate holds at this time."""
        began = self.certificate.not_valid_before_utc
        return began <= as_datetime(now) < self.certificate.not_valid_after_utc

    def issue(self, request: Request, slot: str, *, now: float, limits: AuthorityLimits = DEFAULT) -> Made:
        """Make a certificate for the key of a request, as the device of a slot."""
        begins = as_datetime(now - limits.early_seconds).replace(microsecond=0)
        ends = min(
            as_datetime(now + limits.device_seconds).replace(microsecond=0),
            self.certificate.not_valid_after_utc,
        )
        builder = _builder(slot, _public(request.public_pem), begins, ends)
        made = (
            builder.issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        return _made(made)


def authorities(folder: Path, *, now: float) -> list[Authority]:
    """Return the authorities of a registry that hold, the newest first; the first is made on first need.

    `folder` is `online/ca`; who works on the registry alone calls this first.

    Raises:
        RegistryFault: one of them cannot be read.
    """
    found = [_load(path) for path in sorted(folder.glob("*.crt"), reverse=True)]
    if not found:
        return [add(folder, now=now)]
    holding = [one for one in found if one.holds(now)]
    if not holding:
        raise RegistryFault(
            f"{folder}: no authority there holds now: look at this machine's clock, or make another with"
            " `readside registry authority --new` and invite the devices anew"
        )
    return holding


def add(folder: Path, *, now: float, limits: AuthorityLimits = DEFAULT) -> Authority:
    """Make an authority that follows those that are there.

    Raises:
        NoSpace, DiskFault: the disk is full or failed.
    """
    number = 1 + max((int(path.stem) for path in folder.glob("*.crt") if path.stem.isdigit()), default=0)
    key = ec.generate_private_key(ec.SECP256R1())
    begins = as_datetime(now - DEFAULT.early_seconds).replace(microsecond=0)
    ends = begins + timedelta(seconds=limits.authority_seconds)
    builder = _builder(f"{_ORGANISATION} {number}", key.public_key(), begins, ends)
    made = (
        builder.issuer_name(_name(f"{_ORGANISATION} {number}"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    make_folder(folder)
    # The key first: a certificate without its key would stand for an authority that cannot sign.
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(folder / f"{number:04d}.key", pem)
    write_file(folder / f"{number:04d}.crt", made.public_bytes(Encoding.PEM))
    return Authority(certificate=made, key=key)


def made_before(pem: str) -> Made:
    """Return a certificate that was made here before."""
    return _made(x509.load_pem_x509_certificate(pem.encode()))


def request_of(der: bytes) -> Request:
    """Read a request (PKCS #10 in DER) and make sure that its key signed it.

    Raises:
        RequestFault: it is none, too large, not of a P-256 key, or signed by another.
    """
    if len(der) > _REQUEST_BYTES_MAX:
        raise RequestFault(f"it is longer than {_REQUEST_BYTES_MAX} bytes")
    try:
        read = x509.load_der_x509_csr(der)
        key, signed = read.public_key(), read.is_signature_valid
    except NO_CERTIFICATE as error:
        raise RequestFault("it is no request for a certificate (PKCS #10) of a kind known here") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RequestFault("its key is not on the curve P-256")
    if not signed:
        raise RequestFault("it is not signed by its own key")
    return Request(
        public_pem=key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), serial=_serial(read)
    )


def bag(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return certificates as PKCS #7 without a signature ("certs-only"; RFC 7030 section 4.1.3), in DER."""
    return serialize_certificates(list(certificates), Encoding.DER)


def _made(certificate: x509.Certificate) -> Made:
    return Made(
        certificate=certificate,
        serial=f"{certificate.serial_number:x}",
        begins_at=certificate.not_valid_before_utc.timestamp(),
        ends_at=certificate.not_valid_after_utc.timestamp(),
    )


def _serial(request: x509.CertificateSigningRequest) -> str:
    """Return the hardware's number that a request says, if it is a short word."""
    said = request.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    text = str(said[0].value) if len(said) == 1 else ""
    return text if _SERIAL.fullmatch(text) else ""


def _load(path: Path) -> Authority:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = load_pem_private_key(path.with_suffix(".key").read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise RegistryFault(f"{path}: or its key cannot be read ({type(error).__name__})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise RegistryFault(f"{path.with_suffix('.key')}: is no key on an elliptic curve")
    return Authority(certificate=certificate, key=key)


def _public(pem: bytes) -> ec.EllipticCurvePublicKey:
    key = load_pem_public_key(pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
