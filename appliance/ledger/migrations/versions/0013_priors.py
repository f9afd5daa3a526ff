"""Earlier studies that a job waits for.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "prior_asks",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("wait_seconds", sa.Double(), nullable=False),
        sa.Column("until_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("found", sa.Integer(), nullable=True),
        sa.Column("fitting", sa.Integer(), nullable=True),
        sa.Column("silent", sa.Integer(), nullable=True),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_prior_asks_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prior_asks")),
        sa.UniqueConstraint("job_id", name="uq_prior_asks_job"),
    )
    op.create_index(
        "ix_prior_asks_open",
        "prior_asks",
        ["due_at"],
        unique=False,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "priors",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("ask_id", sa.BigInteger(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=True),
        sa.Column("only", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("result_id", sa.BigInteger(), nullable=True),
        sa.Column("chosen_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["ask_id"], ["prior_asks.id"], name=op.f("fk_priors_ask_id")),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_priors_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_priors")),
        sa.UniqueConstraint("ask_id", "study_uid", name="uq_priors_study"),
    )
    op.create_index(op.f("ix_priors_ask_id"), "priors", ["ask_id"], unique=False)
    op.create_index("ix_priors_study", "priors", ["study_uid"], unique=False)
    op.create_index(op.f("ix_priors_result_id"), "priors", ["result_id"], unique=False)
