"""Where a release stands on a device, and the numbers that this and each word have where no text may go.

Promises: a number, once given, means the same for ever; what is new gets a number that none had.
Never: numbers by order of a list: a word that is put between others would move those after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from appliance.sync.refusal import PASSING, Word


class Phase(IntEnum):
    """How far a release came on this device.

    Attributes:
        BUILT: its engine passed its golden cases here; it could serve.
        SHADOW: it runs beside the one that serves, and nothing of it leaves the box.
        WAITING_WINDOW, WAITING_CONSENT: the hospital said when, or that it wants to be asked.
        DRAINING: studies that were decided for the version before are being finished.
        SOAK: it serves and is watched; the one before is kept ready.
        ROLLED_BACK: it served, and this device went back by itself.
        HELD: a person at the box said that nothing changes now.
        REFUSED: it is not taken; the word says why.
    """

    UNKNOWN = 0
    ASSIGNED = 1
    FETCHING = 2
    VERIFIED = 3
    BUILT = 4
    SHADOW = 5
    WAITING_WINDOW = 6
    WAITING_CONSENT = 7
    DRAINING = 8
    ACTIVATING = 9
    SOAK = 10
    COMMITTED = 11
    ROLLED_BACK = 12
    HELD = 13
    REFUSED = 14

    @property
    def text(self) -> str:
        """Return it as a report writes it."""
        return self.name.lower()


# Tens are groups, so that a new word stands beside its like.
_CODES: Final[Mapping[Word, int]] = MappingProxyType(
    {
        Word.CURRENT: 0,
        Word.ACTIVATED: 1,
        Word.WAITING_WINDOW: 2,
        Word.WAITING_CONSENT: 3,
        Word.DRAINING: 4,
        Word.ON_HOLD: 5,
        Word.SHADOW: 6,
        Word.UNREACHABLE: 10,
        Word.CUT_OFF: 11,
        Word.TOO_SLOW: 12,
        Word.CARRIER_GONE: 13,
        Word.CAPTIVE_PORTAL: 14,
        Word.NOT_A_REGISTRY: 15,
        Word.STOPPED: 16,
        Word.WRONG_KEY: 20,
        Word.TOO_FEW_SIGNATURES: 21,
        Word.TAMPERED: 22,
        Word.ENDLESS_DATA: 23,
        Word.ROLLBACK: 24,
        Word.FREEZE: 25,
        Word.FAST_FORWARD: 26,
        Word.MIX_AND_MATCH: 27,
        Word.CLOCK_BEHIND: 28,
        Word.CLOCK_AHEAD: 29,
        Word.UNASSIGNED: 40,
        Word.DISAGREE: 41,
        Word.UNKNOWN_FORM: 42,
        Word.RECALLED: 43,
        Word.INCOMPATIBLE: 44,
        Word.REJECTED: 45,
        Word.HELD: 46,
        Word.PROVENANCE: 47,
        Word.NO_ROOM: 60,
        Word.BUSY: 61,
        Word.BOX_REFUSED: 62,
        Word.NOT_CLAIMED: 63,
        Word.FLOORS_DAMAGED: 64,
        Word.FAILING_JOBS: 80,
        Word.WORKER_DEATHS: 81,
        Word.FAILURE_RATIO: 82,
        Word.SLOWER: 83,
    }
)
_PHASES: Final[Mapping[Word, Phase]] = MappingProxyType(
    {
        Word.CURRENT: Phase.COMMITTED,
        Word.ACTIVATED: Phase.SOAK,
        Word.WAITING_WINDOW: Phase.WAITING_WINDOW,
        Word.WAITING_CONSENT: Phase.WAITING_CONSENT,
        Word.DRAINING: Phase.DRAINING,
        Word.ON_HOLD: Phase.HELD,
        Word.HELD: Phase.HELD,
        Word.SHADOW: Phase.SHADOW,
        Word.FAILING_JOBS: Phase.ROLLED_BACK,
        Word.WORKER_DEATHS: Phase.ROLLED_BACK,
        Word.FAILURE_RATIO: Phase.ROLLED_BACK,
        Word.SLOWER: Phase.ROLLED_BACK,
    }
)


def code_of(word: Word) -> int:
    """Return the number of a word."""
    return _CODES[word]


def word_of(code: int) -> Word | None:
    """Return the word of a number; none where a newer device knows one that this program does not."""
    return next((word for word, number in _CODES.items() if number == code), None)


def phase_of(word: Word) -> Phase:
    """Return how far a release came whose turn ended with a word, where nothing more is known of it."""
    return _PHASES.get(word, Phase.ASSIGNED if word in PASSING else Phase.REFUSED)
