"""The tables of shadows: versions that run beside the ones that serve, and how far they agree.

Nothing here is a result: no object and no delivery refers to these rows, and no promise about results counts
them.
"""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, refer, row_id, text, time, unique_where

# One row for each time that a version was let run beside; one of a name at a time.
shadows = sa.Table(
    "shadows",
    metadata,
    row_id(),
    text("name"),
    text("version"),
    text("digest"),
    # Jobs up to this one were decided before it began.
    sa.Column("after_job", sa.BigInteger, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),
    text("started_by"),
    time("started_at"),
    time("ended_at", nullable=True),
    text("word", nullable=True),
    unique_where("uq_shadows_running", "name", where="ended_at IS NULL"),
    sa.Index("ix_shadows_digest", "digest"),
)

# One row for each job whose answer a shadow is to be held against; a row that ended stays, with its word.
comparisons = sa.Table(
    "comparisons",
    metadata,
    row_id(),
    refer("shadow_id", "shadows"),
    refer("job_id", "jobs"),
    text("state"),
    text("word", nullable=True),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("kills", sa.Integer, nullable=False),
    text("owner", nullable=True),
    time("lease_until", nullable=True),
    time("not_before"),
    time("created_at"),
    time("ended_at", nullable=True),
    # `models.beside.Pair` as JSON: what both versions said, in numbers.
    sa.Column("pair", sa.JSON, nullable=True),
    sa.UniqueConstraint("shadow_id", "job_id", name="uq_comparisons_job"),
    sa.Index("ix_comparisons_state", "state", "not_before"),
)

# One row for each two versions of a model that were compared here.
agreements = sa.Table(
    "agreements",
    metadata,
    sa.Column("old_digest", sa.Text, primary_key=True),
    sa.Column("new_digest", sa.Text, primary_key=True),
    text("name"),
    text("old_version"),
    text("new_version"),
    # `models.beside.Tally` as JSON, of those that were compared.
    sa.Column("compared", sa.Integer, nullable=False),
    sa.Column("tally", sa.JSON, nullable=False),
    # Of those that were not: how many by word.
    sa.Column("passed_over", sa.Integer, nullable=False),
    sa.Column("words", sa.JSON, nullable=False),
    time("first_at"),
    time("last_at"),
)
