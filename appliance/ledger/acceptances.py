"""What each destination said it takes, when it was last asked by association.

Promises: a destination that never answered has no row, so "unknown" and "refuses" are never mixed up.
Never: asks anybody; what follows from an answer is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa

from appliance.core.outputs import SOP_CLASSES
from appliance.ledger.engine import Tx
from appliance.ledger.rows import insert_unless_there
from appliance.ledger.tables import acceptances

# SOP class and transfer syntax.
Pair: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """What one peer said of one pair; `asked_at` in epoch seconds."""

    peer: str
    sop_class_uid: str
    transfer_syntax_uid: str
    accepted: bool
    asked_at: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that one peer said.

    Attributes:
        takes: SOP class -> whether the peer takes it in any transfer syntax it was asked about; a class that
            it was never asked about, or never answered for, is not in it.
        asked_at: when the oldest of it was said, in epoch seconds; None when it never answered.
    """

    takes: Mapping[str, bool]
    asked_at: float | None

    def takes_output(self, output: str) -> bool | None:
        """Say whether the peer takes a kind of output; None when that is not known."""
        return self.takes.get(SOP_CLASSES[output])  # type: ignore[index]  # the ledger's outputs are text


UNASKED = Answer(takes={}, asked_at=None)


def record(tx: Tx, peer: str, proposed: Collection[Pair], *, accepted: Collection[Pair], at: float) -> None:
    """Record a peer's answer in the place of what it said of the same pairs before."""
    for pair in sorted(set(proposed)):
        _put(tx, peer, pair, accepted=pair in accepted, at=at)


def refused(tx: Tx, peer: str, pair: Pair, *, at: float) -> None:
    """Record that a peer took no context for a pair when an object was to be sent."""
    _put(tx, peer, pair, accepted=False, at=at)


def _put(tx: Tx, peer: str, pair: Pair, *, accepted: bool, at: float) -> None:
    key = {"peer": peer, "sop_class_uid": pair[0], "transfer_syntax_uid": pair[1]}
    values: dict[str, Any] = {"accepted": accepted, "asked_at": at}
    if not insert_unless_there(tx, acceptances, key | values):
        tx.execute(sa.update(acceptances).filter_by(**key).values(**values))


def of_peer(tx: Tx, peer: str) -> list[Acceptance]:
    """Return what a peer said, pair by pair."""
    query = sa.select(acceptances).where(acceptances.c.peer == peer)
    query = query.order_by(acceptances.c.sop_class_uid, acceptances.c.transfer_syntax_uid)
    return [Acceptance(**row._mapping) for row in tx.execute(query)]


def answer_of(tx: Tx, peer: str) -> Answer:
    """Return what a peer takes as far as it is known."""
    takes: dict[str, bool] = {}
    said = of_peer(tx, peer)
    for row in said:
        takes[row.sop_class_uid] = takes.get(row.sop_class_uid, False) or row.accepted
    return Answer(takes=takes, asked_at=min((row.asked_at for row in said), default=None))


def answers(tx: Tx, peers: Collection[str]) -> dict[str, Answer]:
    """Return what several peers take, by name."""
    return {peer: answer_of(tx, peer) for peer in peers}
