"""The tables of the worklist that the box performs workitems of (PS3.4 CC)."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, refer, row_id, text, time

# The condition of a partial index, which queries repeat word for word.
UNENDED = "ended_at IS NULL"

# One row for each workitem that the box wanted, written before it was claimed. It is worked on once.
workitems = sa.Table(
    "workitems",
    metadata,
    row_id(),
    text("workitem_uid"),
    # By which the origin server knows that the workitem is this box's (PS3.4 CC.1.1).
    text("transaction_uid"),
    # Whose answer it waits for; empty: that of any route.
    text("route"),
    text("state"),
    # Why it is canceled, by name.
    text("reason", nullable=True),
    # What came of it once that is settled: [[study, peer, series, SOP class, SOP instance]].
    sa.Column("came", sa.JSON, nullable=False),
    # How far the origin server was last told that it is.
    text("told", nullable=True),
    # What the last request came to, and how many came to nothing since one did.
    text("word", nullable=True),
    sa.Column("failures", sa.Integer, nullable=False),
    time("wanted_at"),
    time("claimed_at", nullable=True),
    time("due_at"),
    time("ended_at", nullable=True),
    sa.UniqueConstraint("workitem_uid", name="uq_workitems_workitem_uid"),
    sa.Index(
        "ix_workitems_open",
        "id",
        sqlite_where=sa.text(UNENDED),
        postgresql_where=sa.text(UNENDED),
    ),
)

# The studies that a workitem names, and the request by which each is fetched.
workitem_inputs = sa.Table(
    "workitem_inputs",
    metadata,
    sa.Column("workitem_id", sa.BigInteger, sa.ForeignKey("workitems.id"), primary_key=True),
    sa.Column("study_uid", sa.Text, primary_key=True),
    # Series Instance UIDs; none: the whole study.
    sa.Column("series", sa.JSON, nullable=False),
    refer("fetch_id", "fetches"),
    sa.Index("ix_workitem_inputs_study", "study_uid"),
)

# When each worklist was last asked, and what came of it; no word: it answered.
worklist_looks = sa.Table(
    "worklist_looks",
    metadata,
    sa.Column("url", sa.Text, primary_key=True),
    time("asked_at"),
    time("answered_at", nullable=True),
    text("word", nullable=True),
)
