"""The tables of what peers say belongs to a study: availability and performed steps (PS3.4 R, F.7)."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, row_id, text, time

# The condition of a partial index, which queries repeat word for word.
LIVE = "ended_at IS NULL"

# One row for each notice and study: a performed step may answer requests of several studies.
notices = sa.Table(
    "notices",
    metadata,
    row_id(),
    text("peer"),
    text("kind"),
    text("notice_uid"),
    text("study_uid"),
    text("state"),
    # Why a step was discontinued: a DCM code.
    text("reason", nullable=True),
    # What it names: series, and instances of all kinds.
    sa.Column("series", sa.Integer, nullable=False),
    sa.Column("instances", sa.Integer, nullable=False),
    time("at"),
    time("changed_at"),
    # When what it names was compared with what came, for a peer that can be asked for the rest.
    time("compared_at", nullable=True),
    # Since when it counts no longer; its instances are forgotten then.
    time("ended_at", nullable=True),
    sa.UniqueConstraint("peer", "notice_uid", "study_uid", name="uq_notices_notice"),
    sa.Index("ix_notices_study", "study_uid"),
    sa.Index(
        "ix_notices_live",
        *("peer", "changed_at"),
        sqlite_where=sa.text(LIVE),
        postgresql_where=sa.text(LIVE),
    ),
)

# The instances that a notice names. `awaited` are the images: a study is not whole without them.
announced = sa.Table(
    "announced",
    metadata,
    sa.Column("notice_id", sa.BigInteger, sa.ForeignKey("notices.id"), primary_key=True),
    sa.Column("sop_instance_uid", sa.Text, primary_key=True),
    text("series_uid"),
    sa.Column("awaited", sa.Boolean, nullable=False),
)
