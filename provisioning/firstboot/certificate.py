"""A certificate that the page makes for itself, known by its fingerprint alone.

Never: leaves its key on a disk for longer than it takes to load it.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.core.clock import SYSTEM
from provisioning.firstboot.limits import DEFAULT


def made(names: list[str]) -> tuple[ssl.SSLContext, str]:
    """Return a context to serve with, and the SHA-256 fingerprint of its certificate as browsers show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Readside first boot")])
    now = datetime.fromtimestamp(SYSTEM.now(), tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The clock of a bare box may be ahead of the browser's.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=DEFAULT.certificate_days))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "page.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        context.load_cert_chain(pem)
    return context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
