"""Turn the configuration's peers into the wire's."""

from __future__ import annotations

from appliance.core import config
from dicom_node.values import AeTitle, Peer


def wire_peer(peer: config.Peer) -> Peer:
    """Return a peer as the wire knows it."""
    return Peer(
        name=peer.name,
        ae_title=AeTitle.parse(peer.ae_title),
        host=peer.host,
        port=peer.port or 0,
        may=frozenset(peer.may),
    )
