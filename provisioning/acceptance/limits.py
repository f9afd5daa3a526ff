"""Every bound of an acceptance, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AcceptanceLimits:
    """How long each part may take.

    Attributes:
        routed_seconds_max: the PACS's own rule must have sent the phantom within this time.
        fetched_seconds_max: else it is asked for, and must have come within this time.
        answered_seconds_max: from the last image to the last result in the PACS.
        volume_ml_max: how far a volume may be from the one counted in the phantom.
    """

    routed_seconds_max: float = 60.0
    fetched_seconds_max: float = 120.0
    answered_seconds_max: float = 300.0
    volume_ml_max: float = 0.1
    look_seconds: float = 0.5


DEFAULT = AcceptanceLimits()
