"""Workitems of a worklist that the box performs.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "workitems",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("workitem_uid", sa.Text(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("came", sa.JSON(), nullable=False),
        sa.Column("told", sa.Text(), nullable=True),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("wanted_at", sa.Double(), nullable=False),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workitems")),
        sa.UniqueConstraint("workitem_uid", name="uq_workitems_workitem_uid"),
    )
    op.create_index(
        "ix_workitems_open",
        "workitems",
        ["id"],
        unique=False,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "workitem_inputs",
        sa.Column("workitem_id", sa.BigInteger(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("series", sa.JSON(), nullable=False),
        sa.Column("fetch_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workitem_id"], ["workitems.id"], name=op.f("fk_workitem_inputs_workitem_id")
        ),
        sa.ForeignKeyConstraint(["fetch_id"], ["fetches.id"], name=op.f("fk_workitem_inputs_fetch_id")),
        sa.PrimaryKeyConstraint("workitem_id", "study_uid", name=op.f("pk_workitem_inputs")),
    )
    op.create_index("ix_workitem_inputs_study", "workitem_inputs", ["study_uid"], unique=False)
    op.create_index(op.f("ix_workitem_inputs_fetch_id"), "workitem_inputs", ["fetch_id"], unique=False)
    op.create_table(
        "worklist_looks",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("word", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_worklist_looks")),
    )
