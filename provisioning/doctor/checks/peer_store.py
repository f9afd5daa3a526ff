"""C-STORE of a marked object of no patient in each destination; only when it was asked for.

The object stays in the PACS until somebody deletes it: patient READSIDE-DOCTOR.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.clock import SYSTEM
from appliance.services.wire import wire_peer
from dicom_node.send import send
from provisioning.doctor.check import Check
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import Site, destinations_of
from provisioning.doctor.specimen import PATIENT_ID, specimen

REFUSED = Fault(
    id="peer.store-refused",
    cause="the PACS answers C-ECHO and refuses to store what the box sends",
    fix="give the box the right to store in the PACS; many PACS have a list for it apart from that of peers",
    who=Who.PACS,
)
FULL = Fault(
    id="peer.out-of-room",
    cause="the PACS says that it has no room left",
    fix="make room in the PACS; results wait and are sent again",
    who=Who.PACS,
)
SILENT = Fault(
    id="peer.store-silent",
    cause="the PACS takes an object and does not say what became of it",
    fix="look into the log of the PACS at this time",
    who=Who.PACS,
)
_OUT_OF_RESOURCES: Final = 0xA700
_NEARLY: Final = 0.9


def _look(site: Site, name: str) -> Iterator[Finding]:
    made = specimen(site.notes.get(("takes", name), ()))
    if made is None:
        yield not_looked_at("it takes no kind of object that the trial can be", because="peer.takes-less")
        return
    peer, ours = wire_peer(site.peer(name), site.config), site.config.dicom.ae_title
    began = SYSTEM.elapsed()
    sent = next(send(peer, calling_ae=ours, objects=[made.outgoing], limits=WIRE))
    waited = SYSTEM.elapsed() - began
    status = "without a status" if sent.status is None else f"with status {sent.status:#06x}"
    if sent.outcome == "accepted":
        site.notes["specimen", name] = made
        yield sound(f"stored {status}; delete patient {PATIENT_ID} there when you are done")
    elif sent.status is None and waited < _NEARLY * WIRE.dimse_seconds_max:
        # Some end the association where they have nothing to say but no.
        yield wrong(REFUSED, "it ended the association in place of an answer")
    elif sent.status is None:
        yield wrong(SILENT, f"{sent.word}, {status} within {waited:.0f} s")
    elif sent.status & 0xFF00 == _OUT_OF_RESOURCES:
        yield wrong(FULL, f"{sent.word}, {status}", status=sent.status)
    else:
        yield wrong(REFUSED, f"{sent.word}, {status}", status=sent.status)


CHECK = Check(
    id="peer-store",
    about="C-STORE to peer",
    look=_look,
    faults=(REFUSED, FULL, SILENT),
    needs=("peer-accepts", "peer-echo"),
    each=destinations_of,
    asked=True,
    seconds_max=45.0,
)
