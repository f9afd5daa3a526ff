"""The port of the listener for STOW-RS, out of [dicomweb]."""

from __future__ import annotations

import ssl

from appliance.core.config import Config, Dicomweb, DicomwebTls
from dicom_node.dicomweb.clients import Client, Clients
from dicom_node.dicomweb.server import StowServer
from dicom_node.receive import Reception
from dicom_node.roster import OnSuspect
from dicom_node.tls import Credentials, Files, Notice

# Whoever stores on a port that is open to this machine, in the records.
ANYBODY = Client(name="anybody", ae_title="ANYBODY")


def stow_server(config: Config, reception: Reception, *, on_suspect: OnSuspect, notice: Notice) -> StowServer:
    """Return the port, which is not bound yet.

    Raises:
        TlsFault: the files of [dicomweb.tls] cannot be used.
    """
    section = config.dicomweb
    credentials = None
    if section.tls is not None:
        # Who is asked for a certificate and has only another site's is turned away: none without cause.
        asks = ssl.CERT_OPTIONAL if section.tls.ca else ssl.CERT_NONE
        credentials = Credentials(stow_files(section.tls), notice=notice, callers=asks)
        credentials.look()
    return StowServer(
        host=section.host,
        port=section.port or 0,
        called_ae=config.dicom.ae_title,
        clients=_clients(section),
        reception=reception,
        tls=credentials,
        on_suspect=on_suspect,
    )


def stow_files(tls: DicomwebTls) -> Files:
    """Return the files of [dicomweb.tls]; without authorities no certificate of a client is good."""
    return Files(certificate=tls.certificate, key=tls.key, ca=tls.ca or tls.certificate)


def _clients(section: Dicomweb) -> Clients:
    known = [
        Client(
            name=client.name,
            ae_title=client.title,
            token_sha256=frozenset(client.token_sha256),
            certificate_sha256=frozenset(client.certificate_sha256),
        )
        for client in section.clients
    ]
    return Clients(known=known, anybody=ANYBODY if section.open else None)
