"""Every bound on versions of models, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SyncLimits:
    """Bounds of what one command may wait for and write down.

    Attributes:
        command_wait_seconds_max: how long a command waits for another that works on the box's models.
        faults_max: sentences of one refusal that are kept.
        fault_characters_max: of one such sentence.
        differences_max: sentences on one golden case that are kept.
    """

    command_wait_seconds_max: float = 10.0
    faults_max: int = 100
    fault_characters_max: int = 500
    differences_max: int = 20


DEFAULT = SyncLimits()
