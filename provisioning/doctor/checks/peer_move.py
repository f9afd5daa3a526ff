"""C-MOVE to self: the peer sends the marked object back, and it arrives; only when it was asked for.

A move that the peer calls a success, and nothing came: another node has the box's AE title there, or the
peer's entry for the box leads elsewhere. No echo shows that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from appliance.core.clock import SYSTEM
from appliance.core.config import Peer
from appliance.services.wire import wire_peer
from dicom_node.move import Moved, move
from provisioning.doctor.arrival import Door, NoDoor
from provisioning.doctor.check import Check
from provisioning.doctor.checks.ports import TAKEN
from provisioning.doctor.finding import Fault, Finding, Who, not_looked_at, sound, wrong
from provisioning.doctor.limits import WIRE
from provisioning.doctor.site import Site, destinations_of
from provisioning.doctor.specimen import Specimen

NO_DESTINATION = Fault(
    id="peer.no-destination",
    cause="the PACS has no entry for the box to send to",
    fix="enter the box as a destination in the PACS: its AE title, its address and its port",
    who=Who.PACS,
)
ELSEWHERE = Fault(
    id="peer.sends-elsewhere",
    cause="the PACS says that it sent the object to the box, and it did not arrive: another node has the "
    "box's AE title, or the PACS has another address for it",
    fix="correct address and port of the box in the PACS, and look for another node under its AE title",
    who=Who.PACS,
)
CANNOT = Fault(
    id="peer.cannot-call-us",
    cause="the PACS knows the box and cannot send to it: a firewall stands in between, or the PACS has a "
    "wrong port for the box",
    fix="open the firewall from the PACS to the box's DICOM port; compare the port that the PACS has for it",
    who=Who.NETWORK,
)
NOT_FOUND = Fault(
    id="peer.does-not-find",
    cause="the PACS stored the object and does not find it under its identifiers",
    fix="look whether the PACS holds new studies back or changes their identifiers (coercion)",
    who=Who.PACS,
    grave=False,
)
NOT_OFFERED = Fault(
    id="peer.no-move",
    cause="the PACS does not offer C-MOVE to the box",
    fix="have Study Root retrieve (C-MOVE) allowed for the box, or take `query` out of `may` of the peer",
    who=Who.PACS,
    grave=False,
)
SILENT = Fault(
    id="peer.move-silent",
    cause="the PACS does not say what became of a C-MOVE",
    fix="look into the log of the PACS at this time; a PACS that waits for a firewall's answer does so",
    who=Who.PACS,
)
_SILENT: Final = ("move.no_reply", "move.called_off")
_LOOK_SECONDS: Final = 0.1


def _look(site: Site, name: str) -> Iterator[Finding]:
    peer, made = site.peer(name), site.notes.get(("specimen", name))
    if "query" not in peer.may:
        yield not_looked_at('"query" is not in `may` of the peer: the box does not ask it for studies')
    elif peer.retrieve != "move":
        yield not_looked_at("the box gets studies from it by C-GET, on its own connection")
    elif made is not None:
        try:
            with Door(site, made.study_uid) as door:
                yield _moved(site, peer, made, door)
        except NoDoor as error:
            yield wrong(TAKEN, str(error))


def _moved(site: Site, peer: Peer, made: Specimen, door: Door) -> Finding:
    moved = _asked(site, peer, made)
    status = "without a status" if moved.status is None else f"status {moved.status:#06x}"
    said = f"{moved.word}, {status}, {moved.completed} sent, {moved.failed} failed"
    if moved.word == "move.unknown_destination":
        return wrong(NO_DESTINATION, said)
    if moved.word == "move.no_context":
        return wrong(NOT_OFFERED, said)
    if moved.word in _SILENT:
        return wrong(SILENT, said)
    if not moved.whole:
        return wrong(CANNOT, said)
    until = SYSTEM.elapsed() + site.limits.arrival_seconds_max
    while not door.has_come():
        if SYSTEM.elapsed() > until:
            # A peer may leave the numbers out of its answer: then only what arrives counts.
            return wrong(ELSEWHERE if moved.completed else NOT_FOUND, f"{said}; nothing came")
        door.wait(_LOOK_SECONDS)
    return sound(f"{said}; it came")


def _asked(site: Site, peer: Peer, made: Specimen) -> Moved:
    """Ask until the peer has filed what it took, and no longer than some seconds."""
    ours, tries = site.config.dicom.ae_title, site.limits.move_tries_max
    for left in reversed(range(tries)):
        moved = move(
            wire_peer(peer, site.config),
            calling_ae=ours,
            destination_ae=ours,
            study_uid=made.study_uid,
            series_uids=[made.series_uid],
            limits=WIRE,
        )
        if moved.completed or not moved.whole or not left:
            break
        time.sleep(site.limits.move_pause_seconds)
    return moved


CHECK = Check(
    id="peer-move",
    about="C-MOVE to self by peer",
    look=_look,
    faults=(NO_DESTINATION, ELSEWHERE, CANNOT, NOT_FOUND, NOT_OFFERED, SILENT, TAKEN),
    needs=("peer-store", "ports"),
    each=destinations_of,
    asked=True,
    seconds_max=150.0,
)
