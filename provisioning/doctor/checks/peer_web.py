"""A peer that takes results by STOW-RS: its host, its port, and the certificate that it proves itself with.

Nothing is asked behind that: what a service answers to a question would be about patients.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.services.wire import web_peer
from dicom_node.tls import TlsFault
from provisioning.doctor.check import Check
from provisioning.doctor.checks import peer_tcp, peer_tls
from provisioning.doctor.checks.tls_files import HANDED_OVER, is_handed_over
from provisioning.doctor.finding import Finding, not_looked_at, sound, wrong
from provisioning.doctor.handshake import Unproven, authorities_in, said_of, shake
from provisioning.doctor.road import Unreached, connect, road_to
from provisioning.doctor.site import Site

_FAULTS = tuple(dict.fromkeys((*peer_tcp.FAULT_OF.values(), *peer_tls.FAULT_OF.values(), peer_tls.NO_TLS)))


def _look(site: Site, name: str) -> Iterator[Finding]:
    tls = site.config.dicom.tls
    if tls is not None and is_handed_over(tls.key):
        yield not_looked_at(HANDED_OVER)
    else:
        yield _reached(site, name)


def _reached(site: Site, name: str) -> Finding:
    peer, tls, seconds = site.peer(name), site.config.dicom.tls, site.limits.connect_seconds_max
    road = road_to(peer.dicomweb or "")
    try:
        if road.scheme == "http":
            connect(road.host, road.port, seconds_max=seconds).close()
            return sound(f"{road.host}:{road.port} takes the connection, in the clear")
        certificate = shake(
            lambda: connect(road.host, road.port, seconds_max=seconds),
            road.host,
            web_peer(peer, site.config).context(),
            expected="an authority of this machine's store" if tls is None else authorities_in(tls.ca),
        )
    except Unreached as error:
        return wrong(peer_tcp.FAULT_OF[error.word], error.sentence, host=road.host, port=road.port)
    except Unproven as error:
        return wrong(peer_tls.FAULT_OF.get(error.reason, peer_tls.NO_TLS), error.sentence)
    except TlsFault as fault:
        return not_looked_at(str(fault), because="tls-files.unusable")
    return sound(f"{road.host}:{road.port} is proven, {said_of(certificate)}")


def _each(site: Site) -> list[str]:
    return [peer.name for peer in site.config.peers if peer.dicomweb is not None]


CHECK = Check(
    id="peer-web",
    about="the web service of peer",
    look=_look,
    faults=_FAULTS,
    needs=("configuration", "clock"),
    after=("tls-files",),
    each=_each,
    seconds_max=30.0,
)
