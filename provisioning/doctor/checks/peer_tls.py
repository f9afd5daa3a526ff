"""TLS with a peer: the certificate that it shows, its name, its dates, and who issued it (PS3.15 B.12)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives import hashes

from appliance.core.clock import SYSTEM
from appliance.core.config import DicomTls, Peer
from appliance.services.wire import files_of
from dicom_node.tls import Credentials, TlsFault
from provisioning.doctor.check import Check
from provisioning.doctor.checks import peer_tcp
from provisioning.doctor.checks.tls_files import HANDED_OVER, is_handed_over
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.handshake import Unproven, authorities_in, said_of, shake
from provisioning.doctor.road import Unreached, connect
from provisioning.doctor.site import Site, peers

EXPIRED = Fault(
    id="peer.certificate-expired",
    cause="the peer's certificate has expired, or is not valid yet",
    fix="have a new certificate issued for the PACS and put in place there",
    who=Who.PACS,
)
NAME = Fault(
    id="peer.certificate-name",
    cause="the peer's certificate is for another name than `host` of the peer",
    fix="put the name that stands in the certificate into `host`, or pin it with `certificate_sha256`",
    who=Who.TECHNICIAN,
)
ISSUER = Fault(
    id="peer.certificate-issuer",
    cause="the peer's certificate was not issued by an authority in `ca` of `[dicom.tls]`: it is another "
    "hospital's, or something in between opens the connection",
    fix="compare the issuers; put the right authority into `ca`, or have the connection left unopened",
    who=Who.NETWORK,
)
PINNED = Fault(
    id="peer.certificate-another",
    cause="the peer shows another certificate than `certificate_sha256` names",
    fix="ask whether the PACS has a new certificate, and compare its fingerprint before you write it down",
    who=Who.PACS,
)
NO_TLS = Fault(
    id="peer.no-tls",
    cause="the peer does not speak TLS at this port, or none that is safe today",
    fix="compare `port` with the PACS's port for DICOM under TLS; it needs TLS 1.2 or 1.3 (BCP 195)",
    who=Who.PACS,
)
REFUSES_US = Fault(
    id="peer.refuses-our-certificate",
    cause="the peer does not trust the box's certificate",
    fix="give the PACS the authority that issued the box's certificate",
    who=Who.PACS,
)
SOON = Fault(
    id="peer.certificate-expires-soon",
    cause="the peer's certificate expires within a month",
    fix="have a new certificate issued for the PACS and put in place there",
    who=Who.PACS,
    grave=False,
)
FAULT_OF: Final = {
    "expired": EXPIRED,
    "not_yet_valid": EXPIRED,
    "wrong_name": NAME,
    "foreign_ca": ISSUER,
    "not_trusted": REFUSES_US,
    "no_certificate": REFUSES_US,
}
_DAY_SECONDS = 86_400.0


def _look(site: Site, name: str) -> Iterator[Finding]:
    peer, tls = site.peer(name), site.config.dicom.tls
    if not peer.tls or tls is None:
        yield sound("is spoken with in the clear")
        return
    if is_handed_over(tls.key):
        yield not_looked_at(HANDED_OVER)
        return
    if because := site.notes.get(("tls-files", "dicom.tls")):
        yield not_looked_at(f"because of {because}", because=because)
        return
    try:
        context = Credentials(files_of(tls)).client(checks_name=not peer.certificate_sha256)
    except TlsFault as fault:
        yield not_looked_at(str(fault), because="tls-files.unusable")
        return
    yield _shaken(site, peer, tls, context)


def _shaken(site: Site, peer: Peer, tls: DicomTls, context: ssl.SSLContext) -> Finding:
    seconds, port = site.limits.connect_seconds_max, peer.port or 0
    try:
        certificate = shake(
            lambda: connect(peer.host, port, seconds_max=seconds),
            peer.host,
            context,
            expected=authorities_in(tls.ca),
        )
    except Unreached as error:
        return wrong(peer_tcp.FAULT_OF[error.word], error.sentence)
    except Unproven as error:
        return wrong(FAULT_OF.get(error.reason, NO_TLS), error.sentence, reason=error.reason)
    shown = certificate.fingerprint(hashes.SHA256()).hex()
    if peer.certificate_sha256 and shown not in peer.certificate_sha256:
        return wrong(PINNED, f"it shows {shown}")
    left_seconds = certificate.not_valid_after_utc.timestamp() - SYSTEM.now()
    soon = left_seconds / _DAY_SECONDS < site.limits.expiry_days_min
    return wrong(SOON, said_of(certificate)) if soon else sound(said_of(certificate))


CHECK = Check(
    id="peer-tls",
    about="TLS with peer",
    look=_look,
    faults=(EXPIRED, NAME, ISSUER, PINNED, NO_TLS, REFUSES_US, SOON, *peer_tcp.FAULT_OF.values()),
    needs=("peer-tcp", "clock"),
    after=("tls-files",),
    each=peers,
    seconds_max=30.0,
)
