"""A request for a certificate (PKCS #10, RFC 2986), signed by a key that only signs and is not seen."""

from __future__ import annotations

import base64
from typing import Any, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import NameOID

from appliance.sync.signing import Signer


def request_for(key: Signer, slot: str, *, serial: str = "") -> bytes:
    """Return the request in DER; `serial` is the hardware's number, for the registry's list of devices."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, slot)]
    if serial:
        names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(names))
        .sign(_Lent(key), hashes.SHA256())
    )
    return made.public_bytes(Encoding.DER)


def as_base64(der: bytes) -> bytes:
    """Return it as it is sent (RFC 7030 section 4.2.1)."""
    return base64.encodebytes(der)


class _Lent(ec.EllipticCurvePrivateKey):
    """A key that the library may sign with and not see: in a TPM there is nothing to see."""

    def __init__(self, key: Signer) -> None:
        self._key = key
        public = load_pem_public_key(key.public_pem)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        self._public = public

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign with ECDSA over SHA-256, which is all that is asked for here."""
        assert isinstance(signature_algorithm.algorithm, hashes.SHA256)
        return self._key.sign(bytes(data))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public part."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """Return the curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Return the size of the curve's field in bits."""
        return self._public.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """Do not: the key signs."""
        raise NotImplementedError

    def private_numbers(self) -> NoReturn:
        """Do not: the key is not seen."""
        raise NotImplementedError

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        """Do not: the key is not seen."""
        raise NotImplementedError

    def __copy__(self) -> _Lent:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Lent:
        return self
