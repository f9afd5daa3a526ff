"""Every bound of telemetry and alarms, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """Bounds of one batch, the same at both ends.

    Attributes:
        batch_bytes_max: as it travels, compressed.
        plain_bytes_max: unpacked; read no further than this, whatever the rest would become.
        records_max: in one batch.
    """

    batch_bytes_max: int = 1 << 20
    plain_bytes_max: int = 8 << 20
    records_max: int = 2_000


BATCH = BatchLimits()
