"""Every bound on running a network, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InferenceLimits:
    """Bounds of one engine.

    Attributes:
        threads_max: threads of one call; 0 takes every core the process may use.
        golden_seconds_max: all golden cases of one package together, on this device.
        warm_up_side: length of an axis that the network leaves open, in the call that warms it up.
    """

    threads_max: int = 0
    golden_seconds_max: float = 600.0
    warm_up_side: int = 64
