"""Every bound of segments and of what is prepared for them, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class DiskLimits:
    """How large segments are and how much of them is made ahead of need.

    A box that receives little reserves little: both grow with what came since the start.
    """

    segment_bytes_min: int = 16 * MIB
    segment_bytes_max: int = 256 * MIB
    # Zero-filled ahead of need: a write over zeros needs no metadata, and one over mere room does.
    spare_bytes_max: int = 1024 * MIB
    # So long no segment was taken before zeros are written: beside arrivals they cost more than they save.
    fill_quiet_seconds: float = 2.0
    # One write while a spare is filled; arrivals' writes go in between.
    fill_bytes: int = 1 * MIB


DEFAULT = DiskLimits()
