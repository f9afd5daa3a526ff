"""How much of what people send about results is read at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """Bounds of reading assessments; a document past one of them is told in words and not judged."""

    document_bytes_max: int = 16 * 1024 * 1024
    items_max: int = 50_000
    item_depth_max: int = 48
    references_max: int = 20_000
    groups_max: int = 2_000
    # Of one turn: rows of instances passed over, and documents read.
    rows_per_turn_max: int = 20_000
    documents_per_turn_max: int = 16
    # Rows behind the newest one that are looked at again: of several writers one may commit late.
    rows_again: int = 1_000
    # Results of one study that a document is compared with.
    own_objects_max: int = 256

    def __post_init__(self) -> None:
        assert self.rows_per_turn_max > self.rows_again, "a turn gets past what it looks at again"


DEFAULT = ReadingLimits()
