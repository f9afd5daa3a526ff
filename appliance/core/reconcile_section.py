"""[reconcile]: which peers are asked what they have, so that what never arrived is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from appliance.core.sections import Name, Peer, Section

# PS3.3 C.7.3.1.1.1: a defined term of Modality is a code string.
ModalityText = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_ ]{1,16}$")]
Minutes = Annotated[float, Field(gt=0, le=7 * 1440)]


class Reconcile(Section):
    """[reconcile]: who is asked, for what, and how often.

    Attributes:
        peers: names of the peers that are asked; none: nothing is asked or fetched.
        modalities: what the peers should have sent here; empty: everything.
        hours_back: how far back the dates of the studies go that are compared.
        grace_minutes: how long what is absent may still be on its way before it is fetched.
    """

    peers: tuple[Name, ...] = ()
    modalities: tuple[ModalityText, ...] = ()
    every_minutes: Minutes = 60.0
    hours_back: Annotated[float, Field(gt=0, le=31 * 24)] = 24.0
    grace_minutes: Annotated[float, Field(ge=0, le=7 * 1440)] = 15.0


def reconcile_faults(section: Reconcile, peers: Sequence[Peer]) -> list[str]:
    """Return a sentence for each peer of the section that cannot be asked, or cannot send."""
    by_name = {peer.name: peer for peer in peers}
    return [fault for name in section.peers for fault in _faults(name, by_name.get(name))]


def _faults(name: str, peer: Peer | None) -> list[str]:
    if peer is None:
        return [f"reconcile.peers: no peer is called {name!r}"]
    address = [] if peer.reachable else [f"reconcile.peers: peer {name!r} needs host and port to be asked"]
    lacking = [right for right in ("store", "query") if right not in peer.may]
    return address + [f'reconcile.peers: peer {name!r} needs "{right}" in its `may`' for right in lacking]
