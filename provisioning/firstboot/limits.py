"""Every bound of first boot, each with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BootLimits:
    """How long an answer may be, and how long the page stays open.

    Attributes:
        tries_max: wrong claim codes in a row, then the door is locked.
        locked_seconds: for so long.
        idle_seconds_max: the page ends by itself when nobody who was let in asked for so long.
        grace_seconds: between the last page and the end, so that a browser gets it whole.
    """

    text_chars_max: int = 1_024
    reason_chars_max: int = 200
    password_chars_min: int = 12
    password_chars_max: int = 1_024
    file_bytes_max: int = 256 * 1024
    fields_max: int = 64
    tries_max: int = 5
    locked_seconds: float = 300.0
    idle_seconds_max: float = 1_800.0
    grace_seconds: float = 2.0
    certificate_days: int = 7


DEFAULT = BootLimits()
