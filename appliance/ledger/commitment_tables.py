"""The tables of storage commitment (PS3.4 J): what the box asks of a peer, and what it owes one."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, refer, row_id, text, time

# The conditions of partial indices, which queries repeat word for word.
UNENDED = "ended_at IS NULL"

# One row for each request that the box made: a Transaction UID, and the deliveries that it names.
commitments = sa.Table(
    "commitments",
    metadata,
    row_id(),
    text("transaction_uid"),
    text("peer"),
    text("state"),
    # Ids of deliveries: an answer about anything else changes nothing.
    sa.Column("asked_for", sa.JSON, nullable=False),
    text("word", nullable=True),
    time("asked_at"),
    time("ended_at", nullable=True),
    sa.UniqueConstraint("transaction_uid", name="uq_commitments_transaction_uid"),
)

# Deliveries that a peer accepted and has to commit. A row ends, and begins anew when the object went again.
uncommitted = sa.Table(
    "uncommitted",
    metadata,
    sa.Column("delivery_id", sa.BigInteger, sa.ForeignKey("deliveries.id"), primary_key=True),
    text("peer"),
    # The request that is open; none while it is to be asked.
    refer("commitment_id", "commitments", nullable=True),
    # Requests that the peer took and did not answer, that it refused, and how often it lost the object.
    sa.Column("asks", sa.Integer, nullable=False),
    sa.Column("refusals", sa.Integer, nullable=False),
    sa.Column("losses", sa.Integer, nullable=False),
    # When it is asked; with an open request, until when an answer may take.
    time("due_at"),
    time("ended_at", nullable=True),
    sa.Index(
        "ix_uncommitted_open",
        *("peer", "due_at"),
        sqlite_where=sa.text(UNENDED),
        postgresql_where=sa.text(UNENDED),
    ),
)

# What peers asked the box to commit, kept before they were answered, and what they were told.
promises = sa.Table(
    "promises",
    metadata,
    row_id(),
    text("peer"),
    text("transaction_uid"),
    # [[SOP Class UID, SOP Instance UID]]
    sa.Column("asked_for", sa.JSON, nullable=False),
    text("state"),
    sa.Column("tries", sa.Integer, nullable=False),
    text("word", nullable=True),
    sa.Column("committed", sa.Integer),
    sa.Column("failed", sa.Integer),
    time("asked_at"),
    time("due_at"),
    time("ended_at", nullable=True),
    sa.UniqueConstraint("peer", "transaction_uid", name="uq_promises_transaction_uid"),
    sa.Index("ix_promises_state", "state", "due_at"),
)
