"""What is said of a study's workitems, and of the worklist that they come from."""

from __future__ import annotations

from typing import Any

from appliance.assemble.discontinued import REASONS
from appliance.core.clock import as_text
from appliance.core.config import Config
from appliance.ledger import workitems
from appliance.ledger.engine import Tx
from appliance.ledger.performed import Why
from appliance.ledger.states import WorkitemState
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


def sentence(item: Item) -> str:
    """Say of a workitem that names a study how it stands, and why it was canceled."""
    route = f" from route {item.route}" if item.route else ""
    asked = f"A workitem of the worklist asked for this study to be analysed{route}"
    why = f" ({REASONS[Why(item.reason)][1].rstrip('.')})" if item.reason else ""
    word = f"; last answer: {item.word}" if item.word else ""
    return f"{asked}: {_STANDING.get(item.state, 'it is claimed')}{why}{word}."


def standing(tx: Tx, config: Config) -> dict[str, Any] | None:
    """Return how the box stands with its worklist, as `readside status` writes it; None without one."""
    counted, url = workitems.counted(tx), config.worklist.url
    if url is None:
        return {"workitems": dict(counted), "off": True} if counted else None
    look = workitems.look_of(tx, url)
    return {
        "workitems": dict(counted),
        "asked_at": None if look is None else as_text(look.asked_at),
        "answered_at": None if look is None or look.answered_at is None else as_text(look.answered_at),
        "word": None if look is None else look.word,
    }
