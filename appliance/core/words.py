"""The words that log, console and command line share, and how a UID is written where people may read it.

A word names what happened (`receive.kept`); it never holds data.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum


def short(uid: str) -> str:
    """Return a 12-digit pseudonym of a UID for logs and metrics (P11: no identifier of a patient's study)."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


class StudyState(StrEnum):
    """Where a study stands; see `appliance.ledger.states` for the moves that are allowed."""

    GATHERING = "GATHERING"
    READY = "READY"
    DECIDED = "DECIDED"
    CLOSED = "CLOSED"
    HELD = "HELD"


class JobState(StrEnum):
    """Where a job stands."""

    WAITING = "WAITING"
    LEASED = "LEASED"
    DONE = "DONE"
    FAILED = "FAILED"
    HELD = "HELD"


class DeliveryState(StrEnum):
    """Where the delivery of one object to one peer stands."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    ACCEPTED = "ACCEPTED"
    COMMITTED = "COMMITTED"
    LATER = "LATER"
    DEAD = "DEAD"
    SETTLED = "SETTLED"


class InstanceState(StrEnum):
    """The one place a kept instance is in (P2)."""

    STUDY = "study"
    QUARANTINED = "quarantined"
    PURGED = "purged"


class Verdict(StrEnum):
    """What a route decided about a study."""

    RUN = "run"
    NOT_ELIGIBLE = "not eligible"
    NO_MATCH = "no match"


class Outcome(StrEnum):
    """What a result says. Only a real inference may say "no finding" (P8)."""

    FINDING = "finding"
    NO_FINDING = "no finding"
    MEASURED = "measured"
    ABSTAINED = "abstained"
    NOT_ELIGIBLE = "not eligible"
    FAILED = "failed"
    NOT_RUN = "not run"
