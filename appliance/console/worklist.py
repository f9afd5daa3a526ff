"""What is said of a study's workitems, and of the worklist that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.assemble.discontinued import REASONS
from appliance.core.clock import as_text
from appliance.core.config import Config
from appliance.ledger import workitems
from appliance.ledger.engine import Tx
from appliance.ledger.performed import Why
from appliance.ledger.states import WORKITEM, WorkitemState
from appliance.ledger.workitems import Item

_STANDING = {
    WorkitemState.WORKING: "it is in progress",
    WorkitemState.COMPLETING: "it is done here, and the worklist has yet to take that",
    WorkitemState.CANCELING: "it is to be canceled, and the worklist has yet to take that",
    WorkitemState.COMPLETED: "it is completed",
    WorkitemState.CANCELED: "it is canceled",
    WorkitemState.TAKEN: "the worklist says that somebody else has it now",
    WorkitemState.GONE: "the worklist has it no longer",
}
_ENDS = frozenset(state for state, moves in WORKITEM.items() if not moves)


def sentence(item: Item) -> str:
    """Say of a workitem that names a study how it stands, and why it was canceled."""
    route = f" from route {item.route}" if item.route else ""
    asked = f"A workitem of the worklist asked for this study to be analysed{route}"
    why = f" ({REASONS[Why(item.reason)][1].rstrip('.')})" if item.reason else ""
    word = f"; last answer: {item.word}" if item.word else ""
    return f"{asked}: {_STANDING.get(item.state, 'it is claimed')}{why}{word}."


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How the box stands with its worklist.

    Attributes:
        workitems: how many there are, by state.
        asked_at: when it was asked last, in epoch seconds; None where it never was, or none is configured.
        answered_at: when it answered last.
        word: why it did not answer when it was asked last.
    """

    workitems: Mapping[str, int]
    asked_at: float | None
    answered_at: float | None
    word: str | None

    @property
    def under_way(self) -> int:
        """Return how many were wanted and have not ended."""
        return sum(count for state, count in self.workitems.items() if state not in _ENDS)

    def as_json(self) -> dict[str, Any]:
        """Return it as `readside status` writes it."""
        return {
            "workitems": dict(self.workitems),
            "asked_at": None if self.asked_at is None else as_text(self.asked_at),
            "answered_at": None if self.answered_at is None else as_text(self.answered_at),
            "word": self.word,
        }


def standing(tx: Tx, config: Config) -> Standing | None:
    """Return how the box stands with its worklist; None where it has none and never had one."""
    counted, url = workitems.counted(tx), config.worklist.url
    if url is None and not counted:
        return None
    look = None if url is None else workitems.look_of(tx, url)
    return Standing(
        workitems=counted,
        asked_at=None if look is None else look.asked_at,
        answered_at=None if look is None else look.answered_at,
        word=None if look is None else look.word,
    )
