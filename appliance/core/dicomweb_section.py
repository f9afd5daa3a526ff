"""[dicomweb]: the port on which studies are stored by STOW-RS, and who may store there (PS3.18 10.5)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from appliance.core.addresses import is_loopback
from appliance.core.credential import SecretFile
from appliance.core.sections import AeTitleText, Fingerprints, Name, Section


class DicomwebTls(Section):
    """[dicomweb.tls]: how the port proves itself; with `ca`, clients may show certificates.

    Attributes:
        certificate: PEM file of the box's own certificate, with those between it and its authority.
        key: PEM file of its private key, without a password.
        ca: PEM file of the authorities whose certificates clients may show.
    """

    certificate: Path
    key: SecretFile
    ca: Path | None = None


class WebClient(Section):
    """[[dicomweb.clients]]: one that may store.

    Attributes:
        ae_title: what it brings is recorded under this; without it, under the name's first 16 characters.
        token_sha256: digests of its token: of the old and the new one, while it changes.
        certificate_sha256: fingerprints of the certificates it may show instead.
    """

    name: Name
    ae_title: AeTitleText | None = None
    token_sha256: Fingerprints = ()
    certificate_sha256: Fingerprints = ()

    @property
    def title(self) -> str:
        """Return the AE title that its instances are recorded under."""
        return self.ae_title or self.name[:16]


class Dicomweb(Section):
    """[dicomweb]: where the port is, how it is secured, and who may store.

    Attributes:
        port: none: there is no such port.
        plain: whether tokens may cross a network without TLS.
        open: whether anybody on this machine may store without showing anything.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    tls: DicomwebTls | None = None
    plain: bool = False
    open: bool = False
    clients: tuple[WebClient, ...] = ()

    @model_validator(mode="after")
    def _somebody_may_store_and_not_everybody(self) -> Self:
        if faults := [*self._faults(), *self._client_faults()]:
            raise ValueError("\n".join(faults))
        return self

    def _faults(self) -> list[str]:
        local, faults = is_loopback(self.host), []
        if self.port is None:
            stated = self.tls is not None or self.open or self.plain or bool(self.clients)
            return ["dicomweb.port: must be given with what else stands in [dicomweb]"] if stated else []
        if not self.clients and not self.open:
            faults.append("dicomweb.clients: name one at least; nobody may store without")
        if self.open and not local:
            faults.append("dicomweb.open: only for a host of this machine alone, 127.0.0.1 say")
        if self.tls is None and not local and not self.plain:
            faults.append(
                "dicomweb.tls: must be given, or plain = true: tokens would cross the network in the clear"
            )
        return faults

    def _client_faults(self) -> list[str]:
        names = [client.name for client in self.clients]
        faults = [
            f"dicomweb.clients: {name!r} stands there twice"
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        for client in self.clients:
            if not client.token_sha256 and not client.certificate_sha256:
                faults.append(f"dicomweb.clients.{client.name}: needs token_sha256 or certificate_sha256")
            if client.certificate_sha256 and (self.tls is None or self.tls.ca is None):
                faults.append(f"dicomweb.clients.{client.name}: certificate_sha256 needs dicomweb.tls.ca")
        shown = [one for client in self.clients for one in (*client.token_sha256, *client.certificate_sha256)]
        if len(shown) != len(set(shown)):
            faults.append("dicomweb.clients: two of them have one token or certificate")
        return faults
