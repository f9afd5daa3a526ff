"""The tables of earlier studies that a job waits for, in order to be compared with them."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.ledger.columns import metadata, refer, row_id, text, time

OPEN = sa.text("ended_at IS NULL")

# One row for each job whose route asks for earlier studies; once it ended, what the job is compared with
# stands for ever. Nothing here names a patient: who it is was read from the images and told to the peers.
prior_asks = sa.Table(
    "prior_asks",
    metadata,
    row_id(),
    sa.Column("job_id", sa.BigInteger, sa.ForeignKey("jobs.id"), nullable=False),
    text("study_uid"),
    text("route"),
    sa.Column("wait_seconds", sa.Double, nullable=False),
    # When the job goes on in any case.
    time("until_at"),
    # When peers are asked next, until one answered.
    time("due_at"),
    time("answered_at", nullable=True),
    # Of the patient's studies that the peers named: all earlier ones, and those that fit the route.
    sa.Column("found", sa.Integer, nullable=True),
    sa.Column("fitting", sa.Integer, nullable=True),
    # Peers that did not say.
    sa.Column("silent", sa.Integer, nullable=True),
    text("word", nullable=True),
    time("ended_at", nullable=True),
    sa.UniqueConstraint("job_id", name="uq_prior_asks_job"),
    sa.Index("ix_prior_asks_open", "due_at", sqlite_where=OPEN, postgresql_where=OPEN),
)

# One row for each earlier study that was chosen, and what became of it.
priors = sa.Table(
    "priors",
    metadata,
    row_id(),
    refer("ask_id", "prior_asks"),
    text("study_uid"),
    # Who was asked to send it; none where it was here.
    text("peer", nullable=True),
    # Nothing of it was here and it is old: what is fetched is for comparison and nothing else.
    sa.Column("only", sa.Boolean, nullable=False),
    text("state"),
    text("word", nullable=True),
    refer("result_id", "results", nullable=True),
    time("chosen_at"),
    time("ended_at", nullable=True),
    sa.UniqueConstraint("ask_id", "study_uid", name="uq_priors_study"),
    sa.Index("ix_priors_study", "study_uid"),
)
