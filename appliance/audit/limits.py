"""Every bound of the audit trail, with its unit in its name (P10)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of the trail, its checkpoints and its way to a repository."""

    # Rows of the timeline that one turn puts into the trail, and how long it rests where nothing is left.
    events_per_turn_max: int = 500
    turn_seconds: float = 1.0
    # On PostgreSQL a row of the timeline may be committed after one with a higher number: so far back is
    # looked for rows that are not in the trail yet.
    events_looked_back: int = 10_000

    # What is after the newest checkpoint can be cut off unseen, so it is little and young.
    rows_per_checkpoint_max: int = 1_000
    checkpoint_seconds: float = 3_600.0
    # Rows that are in memory at once while a trail is verified.
    verify_rows: int = 2_000

    # RFC 5425 4.3.1: 2,048 octets shall and 8,192 should be taken; PS3.15 A.6 asks for 32,768.
    message_bytes_max: int = 32_768
    ship_rows_max: int = 200
    connect_seconds_max: float = 10.0
    send_seconds_max: float = 10.0
    # How long the repository's machine may take to acknowledge what was sent.
    drain_seconds_max: float = 10.0
    retry_seconds: float = 5.0
    retry_seconds_max: float = 300.0


DEFAULT = Limits()
