"""An association with a peer: it knows the box's AE title, and answers to its own (PS3.8 9.3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.clock import SYSTEM
from appliance.services.wire import wire_peer
from dicom_node.echo import answers
from dicom_node.errors import NoAssociation
from provisioning.doctor.check import Check
from provisioning.doctor.checks.peer_tcp import SILENT
from provisioning.doctor.checks.peer_tls import NO_TLS, REFUSES_US
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import Site, peers

CALLING = Fault(
    id="peer.does-not-know-us",
    cause="the PACS does not know the box's AE title",
    fix="enter the box into the PACS: its AE title, its address and its port; mind upper and lower case",
    who=Who.PACS,
)
CALLED = Fault(
    id="peer.wrong-ae-title",
    cause="the PACS does not answer to the AE title that the configuration gives it",
    fix="ask for the PACS's AE title, mind upper and lower case, and correct `ae_title` of the peer",
    who=Who.TECHNICIAN,
)
REJECTS = Fault(
    id="peer.rejects",
    cause="the PACS rejects the association for a reason of its own",
    fix="look into the log of the PACS at this time; often it wants the box's address entered as well",
    who=Who.PACS,
)
BUSY = Fault(
    id="peer.busy",
    cause="the PACS says that it is busy: every association that it allows is taken",
    fix="try again; when it stays so, let the PACS allow more associations at once",
    who=Who.PACS,
)
MUTE = Fault(
    id="peer.mute",
    cause="something takes the connection and never answers: another program, or a firewall that opens "
    "connections and lets nothing through",
    fix="compare `port` of the peer; look whether a firewall or a balancer stands in between",
    who=Who.NETWORK,
)
ABORTS = Fault(
    id="peer.aborts",
    cause="the connection is ended without a word of DICOM: another program listens there, it wants TLS, or "
    "it ends those it does not know",
    fix="compare `port` and `tls` of the peer, then have the box's AE title and address entered in the PACS",
    who=Who.PACS,
)
# PS3.8 Table 9-21: rejected for good by the user, calling or called AE title not recognised.
_REJECTIONS: Final = {(1, 1, 3): CALLING, (1, 1, 7): CALLED}
_TRANSIENT: Final = 2
_NEARLY: Final = 0.9


def _look(site: Site, name: str) -> Iterator[Finding]:
    peer, ours = site.peer(name), site.config.dicom.ae_title
    titles = f"from {ours} to {peer.ae_title}"
    began = SYSTEM.elapsed()
    try:
        verifies = answers(wire_peer(peer, site.config), calling_ae=ours, limits=WIRE)
    except NoAssociation as failure:
        waited = SYSTEM.elapsed() - began
        yield _failed(failure, titles, waited_seconds=waited)
        return
    site.notes["verifies", name] = verifies
    yield sound(f"associates, {titles}")


def _failed(failure: NoAssociation, titles: str, *, waited_seconds: float) -> Finding:
    rejection = failure.rejection
    if rejection is not None:
        fault = BUSY if rejection[0] == _TRANSIENT else _REJECTIONS.get(rejection, REJECTS)
        numbers = "/".join(str(number) for number in rejection)
        return wrong(fault, f"{titles}: rejected with result/source/reason {numbers}", rejection=numbers)
    if failure.reason in ("tls_not_trusted", "tls_no_certificate"):
        return wrong(REFUSES_US, f"{titles}: {failure.reason}")
    if failure.reason.startswith("tls_"):
        return wrong(NO_TLS, f"{titles}: {failure.reason}")
    if failure.reason == "unreachable":
        return wrong(SILENT, f"{titles}: it took a connection a moment ago, and does not any more")
    if waited_seconds > _NEARLY * WIRE.acse_seconds_max:
        return wrong(MUTE, f"{titles}: no answer within {waited_seconds:.0f} s")
    return wrong(ABORTS, f"{titles}: {failure.reason}")


CHECK = Check(
    id="peer-associate",
    about="an association with peer",
    look=_look,
    faults=(CALLING, CALLED, REJECTS, BUSY, MUTE, ABORTS, SILENT, REFUSES_US, NO_TLS),
    needs=("peer-tcp", "peer-tls"),
    each=peers,
    seconds_max=45.0,
)
