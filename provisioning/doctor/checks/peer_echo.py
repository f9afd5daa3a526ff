"""C-ECHO out: the peer answers the smallest question there is (PS3.4 A)."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.services.wire import wire_peer
from dicom_node.echo import echo
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, sound, wrong
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import Site, peers

FAILS = Fault(
    id="peer.echo-fails",
    cause="the PACS associates and does not answer C-ECHO as it must",
    fix="look into the log of the PACS at this time",
    who=Who.PACS,
)
NOT_OFFERED = Fault(
    id="peer.no-verification",
    cause="the PACS does not offer Verification to the box",
    fix="have the Verification SOP class allowed for the box; results go out without it",
    who=Who.PACS,
    grave=False,
)


def _look(site: Site, name: str) -> Iterator[Finding]:
    if not site.notes.get(("verifies", name), True):
        yield wrong(NOT_OFFERED, "no presentation context for Verification was accepted")
        return
    peer = wire_peer(site.peer(name), site.config)
    result = echo(peer, calling_ae=site.config.dicom.ae_title, limits=WIRE)
    status = "" if result.status is None else f", status {result.status:#06x}"
    if result.ok:
        yield sound("answers C-ECHO")
    else:
        yield wrong(FAILS, f"{result.word}{status}")


CHECK = Check(
    id="peer-echo",
    about="C-ECHO to peer",
    look=_look,
    faults=(FAILS, NOT_OFFERED),
    needs=("peer-associate",),
    each=peers,
    seconds_max=45.0,
)
