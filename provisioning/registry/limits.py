"""Every bound of the registry's commands, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class RegistryLimits:
    """How long signatures hold, and how many of them it takes.

    Attributes:
        offline_seconds: root and the list of releases; a person with keys renews them.
        online_seconds: what the server signs; it must stamp anew before this is over.
        bundle_seconds: a stick that is older is refused.
        keys: offline keys of a role.
        threshold: how many of them must sign.
        lock_wait_seconds_max: how long a command waits for another on the same registry.
        devices_max: one list holds every device's assignment; each device reads all of it when it changed.
        reason_characters_max: of the reason of a recall.
    """

    offline_seconds: int = 365 * DAY_SECONDS
    online_seconds: int = 7 * DAY_SECONDS
    bundle_seconds: int = 90 * DAY_SECONDS
    keys: int = 3
    threshold: int = 2
    lock_wait_seconds_max: float = 10.0
    devices_max: int = 1_000
    reason_characters_max: int = 200


DEFAULT = RegistryLimits()
