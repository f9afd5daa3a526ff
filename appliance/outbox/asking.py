"""Ask destinations what they take: each at set-up and every day, and sooner while one does not answer.

Promises: silence changes nothing of what is known of a peer.
Never: sends an object, or decides what follows from an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.core import log
from appliance.core.config import Config, Peer
from appliance.core.limits import DEFAULT, Limits
from appliance.core.outputs import OUTPUTS, SOP_CLASSES
from appliance.ledger import acceptances, events
from appliance.ledger.acceptances import Answer, Pair
from appliance.ledger.engine import Ledger
from dicom_node.accepts import Accepts
from dicom_node.syntaxes import EXPLICIT_VR_LITTLE_ENDIAN

_log = log.get("outbox")
# Every kind of object in the syntax that results are written in, whoever asked for it: what stands in for
# another is then known too, and so is what the site may choose next.
PAIRS: Final[Sequence[Pair]] = tuple(
    (sop_class, EXPLICIT_VR_LITTLE_ENDIAN) for sop_class in dict.fromkeys(SOP_CLASSES.values())
)
# A peer and what to ask -> what it said.
Ask = Callable[[Peer, Sequence[Pair]], Accepts]


def destinations(config: Config) -> list[Peer]:
    """Return the peers that results may be sent to by C-STORE: a route names them, and they have an address.

    What takes results by STOW-RS cannot be asked: it says of each object whether it takes it.
    """
    named = {name for route in config.routes for name in route.send_to}
    return [peer for peer in config.peers if peer.name in named and is_askable(peer)]


def is_askable(peer: Peer) -> bool:
    """Say whether a peer has contexts to ask about, and gets results under them."""
    return peer.reachable and peer.dicomweb is None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of asking one peer once."""

    answered: bool
    word: str


class Asking:
    """Asks one peer at a time and writes down what it said."""

    def __init__(self, ledger: Ledger, ask: Ask, limits: Limits = DEFAULT) -> None:
        self._ledger, self._ask, self._limits = ledger, ask, limits

    def due_in_seconds(self, peer: Peer) -> float:
        """Return how long what is known of a peer is still good; 0 when it must be asked now."""
        with self._ledger.read() as tx:
            known = {
                (row.sop_class_uid, row.transfer_syntax_uid): row.asked_at
                for row in acceptances.of_peer(tx, peer.name)
            }
        if not set(PAIRS) <= set(known):
            return 0.0
        oldest = min(known[pair] for pair in PAIRS)
        # A clock that was set back must not put the next question off for longer than a day.
        age = max(self._ledger.clock.now() - oldest, 0.0)
        return max(self._limits.acceptance_seconds_max - age, 0.0)

    def ask(self, peer: Peer) -> Asked:
        """Ask a peer now, and record its answer if it gave one."""
        said = self._ask(peer, PAIRS)
        if said.answered:
            now = self._ledger.clock.now()
            with self._ledger.write() as tx:
                before = acceptances.answer_of(tx, peer.name)
                acceptances.record(tx, peer.name, PAIRS, accepted=said.accepted, at=now)
                after = acceptances.answer_of(tx, peer.name)
                if before.takes and before.takes != after.takes:
                    events.add(tx, "peer.changed", at=now, peer=peer.name, **_change(before, after))
        _log.info(said.word, peer=peer.name, accepted=len(said.accepted))
        return Asked(answered=said.answered, word=said.word)


def _change(before: Answer, after: Answer) -> dict[str, str]:
    """Return the outputs that a peer takes no longer, and those that it takes now."""
    gone = [o for o in OUTPUTS if before.takes_output(o) and not after.takes_output(o)]
    new = [o for o in OUTPUTS if after.takes_output(o) and not before.takes_output(o)]
    return {"gone": ", ".join(gone) or "nothing", "new": ", ".join(new) or "nothing"}
