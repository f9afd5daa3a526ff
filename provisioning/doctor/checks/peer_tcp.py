"""The road to a peer: its name has an address, and something answers at its port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.road import Unreached, connect
from provisioning.doctor.site import Site, peers

UNKNOWN_HOST = Fault(
    id="peer.unknown-host",
    cause="the peer's host name has no address",
    fix="correct `host` of the peer, or have the name put into the hospital's DNS",
    who=Who.TECHNICIAN,
)
PORT_CLOSED = Fault(
    id="peer.port-closed",
    cause="the machine answers and nothing listens at the port: it is the wrong port, or the PACS is down",
    fix="compare `port` of the peer with the one that the PACS listens on for DICOM, and see whether it runs",
    who=Who.PACS,
)
SILENT = Fault(
    id="peer.silent",
    cause="nobody answers at the peer's address: a firewall drops the connection, or the address is wrong",
    fix="open the firewall from the box to the peer's port; compare `host` of the peer",
    who=Who.NETWORK,
)
NO_ROUTE = Fault(
    id="peer.no-route",
    cause="the network knows no way from the box to the peer",
    fix="look at the box's gateway and network mask, and at the routes to the peer's network",
    who=Who.NETWORK,
)
FAULT_OF: Final = {
    "unknown_host": UNKNOWN_HOST,
    "refused": PORT_CLOSED,
    "silent": SILENT,
    "no_route": NO_ROUTE,
}


def _look(site: Site, name: str) -> Iterator[Finding]:
    peer = site.peer(name)
    assert peer.port is not None, "only peers with an address are looked at"
    try:
        connect(peer.host, peer.port, seconds_max=site.limits.connect_seconds_max).close()
    except Unreached as error:
        yield wrong(FAULT_OF[error.word], error.sentence, host=peer.host, port=peer.port)
        return
    yield sound(f"{peer.host}:{peer.port} takes the connection", host=peer.host, port=peer.port)


CHECK = Check(
    id="peer-tcp",
    about="the road to peer",
    look=_look,
    faults=tuple(FAULT_OF.values()),
    needs=("configuration",),
    each=peers,
    # A name may have several addresses, and each has its time.
    seconds_max=30.0,
)
