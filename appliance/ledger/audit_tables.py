"""The tables of the audit trail (PS3.15 A.5): its messages, its checkpoints, how far it was handed on."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, sequence, text, time

# The audit trail: one PS3.15 A.5 message for each row, chained by hashes from the first to the last.
# `event_id` is the row of the timeline that it tells of; none for what the trail says of itself.
audit = sa.Table(
    "audit",
    metadata,
    sequence(),
    sa.Column("event_id", sa.BigInteger, sa.ForeignKey("events.id"), nullable=True, unique=True),
    time("at"),
    text("body"),
    text("hash"),
)

# Signed states of the chain; the same lines stand in a file beside the ledger and leave by syslog.
audit_checkpoints = sa.Table(
    "audit_checkpoints",
    metadata,
    sequence(),
    time("at"),
    text("hash"),
    text("key_id"),
    text("signature"),
)

# How far the trail was handed to each audit repository.
audit_shipped = sa.Table(
    "audit_shipped",
    metadata,
    sa.Column("repository", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    time("at"),
)
