"""Every bound of bundles and their receipts, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BundleLimits:
    """What a stick may hold, and for how long.

    Attributes:
        file_bytes_max: of one file on FAT32 (its length field has 32 bits).
        part_bytes: longer files are cut into parts of this; a stick that was pulled costs one of them.
        name_characters_max: of one name on FAT32.
        parts_max: of one file.
        list_bytes_max: of a list of parts.
        slots_max: on one stick.
        receipts_max: on one stick that are read.
        receipt_bytes_max: of one receipt.
        records_max: of what waits to be told, in one receipt.
        chunk_bytes: read or written at once.
    """

    file_bytes_max: int = (4 << 30) - 1
    part_bytes: int = 1 << 30
    name_characters_max: int = 255
    parts_max: int = 999
    list_bytes_max: int = 100_000
    slots_max: int = 1_000
    receipts_max: int = 1_000
    receipt_bytes_max: int = 3_000_000
    records_max: int = 2_000
    chunk_bytes: int = 1 << 20


DEFAULT = BundleLimits()
