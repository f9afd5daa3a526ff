"""The table of what people asked the box to fetch."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, row_id, text, time, unique_where

# One row for each time that somebody asked for a study of a peer; while one is open, asking again is it.
fetches = sa.Table(
    "fetches",
    metadata,
    row_id(),
    text("study_uid"),
    text("peer"),
    text("state"),
    text("asked_by"),
    time("asked_at"),
    sa.Column("tries", sa.Integer, nullable=False),
    # Instances that the peer has and the box does not hold; none while the peer was not asked.
    sa.Column("absent", sa.Integer, nullable=True),
    # What the last try came to.
    text("word", nullable=True),
    time("due_at"),
    time("ended_at", nullable=True),
    unique_where("uq_fetches_open", "study_uid", "peer", where="ended_at IS NULL"),
    sa.Index("ix_fetches_due", "peer", "due_at"),
)
