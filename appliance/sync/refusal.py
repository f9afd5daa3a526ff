"""Why nothing new was taken from a registry: a word for each reason, in log, timeline and status alike."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Word(StrEnum):
    """What a turn came to, for one model or as a whole."""

    # Nothing is wrong.
    CURRENT = "current"
    ACTIVATED = "activated"
    # It could serve, and waits: for the hospital, or for studies that are under way.
    WAITING_WINDOW = "waiting_window"
    WAITING_CONSENT = "waiting_consent"
    DRAINING = "draining"
    ON_HOLD = "on_hold"
    # It runs beside the one that serves, and nothing of it leaves the box.
    SHADOW = "shadow"
    # The carrier: network, server, stick.
    UNREACHABLE = "unreachable"
    CUT_OFF = "cut_off"
    TOO_SLOW = "too_slow"
    CARRIER_GONE = "carrier_gone"
    CAPTIVE_PORTAL = "captive_portal"
    NOT_A_REGISTRY = "not_a_registry"
    STOPPED = "stopped"
    # The signed lists.
    WRONG_KEY = "wrong_key"
    TOO_FEW_SIGNATURES = "too_few_signatures"
    TAMPERED = "tampered"
    ENDLESS_DATA = "endless_data"
    ROLLBACK = "rollback"
    FREEZE = "freeze"
    FAST_FORWARD = "fast_forward"
    MIX_AND_MATCH = "mix_and_match"
    CLOCK_BEHIND = "clock_behind"
    CLOCK_AHEAD = "clock_ahead"
    # What is assigned.
    UNASSIGNED = "unassigned"
    DISAGREE = "disagree"
    UNKNOWN_FORM = "unknown_form"
    RECALLED = "recalled"
    INCOMPATIBLE = "incompatible"
    PROVENANCE = "provenance"
    REJECTED = "rejected"
    HELD = "held"
    # This box.
    NO_ROOM = "no_room"
    BUSY = "busy"
    BOX_REFUSED = "box_refused"
    NOT_CLAIMED = "not_claimed"
    FLOORS_DAMAGED = "floors_damaged"
    # It served after it had passed, and this box went back by itself.
    FAILING_JOBS = "failing_jobs"
    WORKER_DEATHS = "worker_deaths"
    FAILURE_RATIO = "failure_ratio"
    SLOWER = "slower"


# Nothing is wrong: it is so because it was meant to be.
WELL: Final = frozenset(
    {
        Word.CURRENT,
        Word.ACTIVATED,
        Word.WAITING_WINDOW,
        Word.WAITING_CONSENT,
        Word.DRAINING,
        Word.ON_HOLD,
        Word.SHADOW,
    }
)
# It served, and what it did among real studies spoke against it: it is not tried again.
RETURNED: Final = frozenset({Word.FAILING_JOBS, Word.WORKER_DEATHS, Word.FAILURE_RATIO, Word.SLOWER})
# Nothing was tried on this box: a link, a stick or another command was in the way.
PASSING: Final = frozenset(
    {
        Word.UNREACHABLE,
        Word.CUT_OFF,
        Word.TOO_SLOW,
        Word.CARRIER_GONE,
        Word.CAPTIVE_PORTAL,
        Word.NOT_A_REGISTRY,
        Word.STOPPED,
        Word.NO_ROOM,
        Word.BUSY,
        Word.BOX_REFUSED,
    }
)


class Refusal(Exception):
    """Nothing new is taken, and what serves goes on serving; the sentence is for a person."""

    def __init__(self, word: Word, sentence: str) -> None:
        """Keep both."""
        super().__init__(f"{word}: {sentence}")
        self.word, self.sentence = word, sentence
