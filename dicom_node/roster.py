"""Who may associate with this node (PS3.8 9.3.4).

An AE title is a label that anyone may write on a letter: it keeps mistakes out, not attackers.
Under TLS the certificate says who calls, and an AE title holds only with a certificate that is bound to it.
The address a connection comes from is not compared with the peer's host in this version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from dicom_node.proof import Proof
from dicom_node.user import UserFault
from dicom_node.values import Peer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """The three numbers of an A-ASSOCIATE-RJ (PS3.8 9.3.4) and the word for the log."""

    result: int
    source: int
    reason: int
    word: str


DRAINING = Rejection(result=2, source=3, reason=1, word="node.draining")
FULL = Rejection(result=2, source=3, reason=2, word="node.full")
CALLED_AE_UNKNOWN = Rejection(result=1, source=1, reason=7, word="node.refused_ae")
CALLING_AE_UNKNOWN = Rejection(result=1, source=1, reason=3, word="node.refused_ae")
# To the peer it looks like any unknown AE title: whoever guesses learns nothing.
IDENTITY_MISMATCH = Rejection(result=1, source=1, reason=3, word="roster.identity_mismatch")
USER_REFUSED = Rejection(result=1, source=2, reason=1, word="roster.user_refused")


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """Somebody who is not who they should be; what the site's audit trail tells of.

    Attributes:
        word: "tls.refused" for a handshake that failed, "roster.identity_mismatch" for an AE title whose
            certificate is another's, "roster.user_refused" for one that does not show its user.
        reason: why, in one word.
    """

    word: str
    reason: str
    address: str
    calling_ae: str = ""


OnSuspect: TypeAlias = Callable[[Suspect], None]


class Roster:
    """The known peers by calling AE title, and our own title."""

    def __init__(self, ae_title: str, peers: Sequence[Peer]) -> None:
        """Index `peers`; two with one AE title count as the first, with the rights of both."""
        self._ae_title = ae_title
        self._peers: dict[str, Peer] = {}
        for peer in peers:
            known = self._peers.get(peer.ae_title, peer)
            self._peers[peer.ae_title] = replace(known, may=known.may | peer.may)

    def __len__(self) -> int:
        """Count the AE titles known."""
        return len(self._peers)

    def rejection(
        self, *, calling_ae: str, called_ae: str, proof: Proof | None = None, proposed: Iterable[object] = ()
    ) -> Rejection | None:
        """Return why an association may not be, or None when it may.

        `proof` is the certificate that the caller showed, none without TLS; `proposed` is the user
        information of its request (PS3.7 D.3.3).
        """
        if called_ae.strip(" ") != self._ae_title:
            return CALLED_AE_UNKNOWN
        peer = self.peer(calling_ae)
        if peer is None:
            return CALLING_AE_UNKNOWN
        if not _proven(peer, proof):
            return IDENTITY_MISMATCH
        return None if _named(peer, proposed) else USER_REFUSED

    def peer(self, calling_ae: str) -> Peer | None:
        """Return the peer that calls itself `calling_ae`."""
        return self._peers.get(calling_ae.strip(" "))


def _named(peer: Peer, proposed: Iterable[object]) -> bool:
    """Say whether a peer shows the user that it has to; with a passcode that nobody can read, none does."""
    if peer.shows is None:
        return True
    try:
        return peer.shows.is_shown_in(proposed)
    except UserFault as fault:
        log.error("roster.user_file", peer=peer.name, reason=str(fault))
        return False


def _proven(peer: Peer, proof: Proof | None) -> bool:
    """Say whether a peer's certificate is its own; without one, whether it may do without."""
    if proof is None:
        return peer.tls is None and not peer.certificate_sha256
    return proof.is_of(peer)
