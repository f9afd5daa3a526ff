"""What each peer takes of what it should get: for the health page and `readside peers`.

Never: asks a peer; it shows what was answered when it was last asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.core.config import Config, Peer
from appliance.core.outputs import INSTEAD, Output
from appliance.ledger import acceptances
from appliance.ledger.acceptances import Answer
from appliance.ledger.engine import Tx


@dataclass(frozen=True, kw_only=True)
class Taking:
    """One peer with what it said.

    Attributes:
        outputs: what the configuration says it gets.
        takes: those of them that it takes.
        refuses: those that it does not take -> what goes instead; "" where nothing stands in.
        unknown: those that it never spoke of.
        asked_at: when it last answered, in epoch seconds.
    """

    name: str
    ae_title: str
    reachable: bool
    outputs: Sequence[str]
    takes: Sequence[str]
    refuses: Mapping[str, str]
    unknown: Sequence[str]
    asked_at: float | None


def of_all(tx: Tx, config: Config) -> list[Taking]:
    """Return what is known of every peer of the configuration."""
    answers = acceptances.answers(tx, [peer.name for peer in config.peers])
    return [_of_one(peer, answers[peer.name]) for peer in config.peers]


def _of_one(peer: Peer, answer: Answer) -> Taking:
    # A peer without an address only sends: nothing is kept for it.
    outputs = peer.outputs if peer.deliverable else ()
    said = {output: answer.takes_output(output) for output in outputs}
    return Taking(
        name=peer.name,
        ae_title=peer.ae_title,
        reachable=peer.deliverable,
        outputs=outputs,
        takes=[output for output, takes in said.items() if takes],
        refuses={output: _instead(output, answer) for output, takes in said.items() if takes is False},
        unknown=[output for output, takes in said.items() if takes is None],
        asked_at=answer.asked_at,
    )


def _instead(output: Output, answer: Answer) -> str:
    """Return the first along the chain that a peer does not refuse."""
    after = INSTEAD.get(output)
    while after is not None and answer.takes_output(after) is False:
        after = INSTEAD.get(after)
    return after or ""
