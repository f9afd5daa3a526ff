"""What a look may come to: a fault by its stable name, its plain cause and fix, and who has to act.

Promises: a fault's name never changes its meaning; causes and fixes are fixed text.
Never: holds patient data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Fact = str | int | float | bool | None


class Who(StrEnum):
    """Who has to act."""

    NETWORK = "network team"
    PACS = "PACS administrator"
    TECHNICIAN = "technician"
    US = "Readside's support"


class State(StrEnum):
    """How a look ended."""

    SOUND = "sound"
    ADVICE = "advice"
    FAULT = "fault"
    UNKNOWN = "unknown"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that can be wrong.

    Attributes:
        id: its stable name, check and kind: `peer.wrong-called-ae`.
        cause: one sentence that says what it is.
        fix: one sentence that says what to do.
        who: who has to do it.
        grave: whether the box cannot do its work, or not safely; otherwise it is advice.
    """

    id: str
    cause: str
    fix: str
    who: Who
    grave: bool = True


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found at one thing.

    Attributes:
        text: what was found, in one sentence; with a fault, what shows it.
        fault: what is wrong, for a fault and for advice.
        because: the fault that kept this from being looked at.
        facts: numbers and words for a machine.
        check: the check that looked; the runner sets it.
        subject: what it looked at, a peer's name say; "" for the box itself.
    """

    state: State
    text: str
    fault: Fault | None = None
    because: str = ""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    check: str = ""
    subject: str = ""

    @property
    def what(self) -> str:
        """Return the check with what it looked at."""
        return f"{self.check} {self.subject}".rstrip()


def sound(text: str, **facts: Fact) -> Finding:
    """Say that a thing is as it should be."""
    return Finding(state=State.SOUND, text=text, facts=facts)


def wrong(fault: Fault, text: str, **facts: Fact) -> Finding:
    """Say that a thing is not as it should be."""
    state = State.FAULT if fault.grave else State.ADVICE
    return Finding(state=state, text=text, fault=fault, facts=facts)


def unknown(text: str, **facts: Fact) -> Finding:
    """Say that it cannot be told from here."""
    return Finding(state=State.UNKNOWN, text=text, facts=facts)


def not_looked_at(text: str, *, because: str = "") -> Finding:
    """Say that a thing was not looked at, and why."""
    return Finding(state=State.NOT_LOOKED_AT, text=text, because=because)
