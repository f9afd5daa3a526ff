"""Every bound of the spool, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.disk.limits import DiskLimits

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class SpoolLimits:
    """Bounds of what arrivals may hold in memory and on disk."""

    # Where an instance lies while it comes; a larger one goes to disk in pieces of this size.
    staging_bytes: int = 2 * MIB
    # So many instances may be on their way at once: more associations wait for each other.
    staging_buffers_max: int = 32
    staging_wait_seconds: float = 20.0
    # Durable instances whose digest is not known yet; beyond it, who brought one computes it himself.
    digests_waiting_max: int = 8
    digest_threads: int = 1

    # An instance of unknown length begins in a segment with this much room.
    lane_bytes_min: int = 128 * MIB
    lanes_waiting_max: int = 8
    growth_bytes: int = 64 * MIB
    disk: DiskLimits = field(default_factory=DiskLimits)


DEFAULT = SpoolLimits()
