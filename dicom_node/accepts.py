"""Ask a peer by association which SOP classes and transfer syntaxes it takes (PS3.8 7.1, 9.3.3).

Promises: one presentation context for each pair, released at once; nothing is sent. Silence, a rejected
association and an aborted one are no answer: only the peer's own word about a context is.
Never: remembers an answer, or decides what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from pynetdicom import build_context

from dicom_node.dial import dial
from dicom_node.errors import NoAssociation
from dicom_node.limits import Limits
from dicom_node.values import Peer

log = structlog.get_logger(__name__)

# SOP class and transfer syntax.
Pair: TypeAlias = tuple[str, str]

_ANSWERED: Final = "accepts.answered"


@dataclass(frozen=True, kw_only=True)
class Accepts:
    """What a peer said it takes.

    Attributes:
        answered: whether it said anything about the pairs; if not, nothing is known of any of them.
        word: the log word.
        accepted: the pairs it takes, of those that were proposed.
    """

    answered: bool
    word: str
    accepted: frozenset[Pair]


def accepts(peer: Peer, *, calling_ae: str, pairs: Sequence[Pair], limits: Limits) -> Accepts:
    """Ask `peer` which pairs of SOP class and transfer syntax it takes as an SCP of storage.

    More than 128 pairs need a second association, one after the other; one that is not answered spoils all.
    """
    asked = list(dict.fromkeys(pairs))
    accepted: frozenset[Pair] = frozenset()
    for start in range(0, len(asked), limits.contexts_max):
        answer = _ask(peer, calling_ae, asked[start : start + limits.contexts_max], limits)
        if not answer.answered:
            log.warning(answer.word, peer=peer.name)
            return answer
        accepted |= answer.accepted
    log.info(_ANSWERED, peer=peer.name, proposed=len(asked), accepted=len(accepted))
    return Accepts(answered=True, word=_ANSWERED, accepted=accepted)


def _ask(peer: Peer, calling_ae: str, pairs: Sequence[Pair], limits: Limits) -> Accepts:
    """Associate once and read what was accepted."""
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    try:
        with dial(peer, calling_ae=calling_ae, contexts=contexts, limits=limits) as line:
            # The role may be refused while the context is accepted; what we may not send on is no offer.
            return _answer(frozenset(line.contexts) & frozenset(pairs))
    except NoAssociation as failure:
        # The peer associated and said no to every context: an answer, and the plainest one.
        if failure.reason == "no_context":
            return _answer(frozenset())
        return Accepts(answered=False, word=f"accepts.{failure.reason}", accepted=frozenset())


def _answer(accepted: frozenset[Pair]) -> Accepts:
    return Accepts(answered=True, word=_ANSWERED, accepted=accepted)
