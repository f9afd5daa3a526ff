"""Storage commitment: what the box asks of peers, and what it owes them.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_for", sa.JSON(), nullable=False),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint("transaction_uid", name="uq_commitments_transaction_uid"),
    )
    op.create_table(
        "uncommitted",
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("commitment_id", sa.BigInteger(), nullable=True),
        sa.Column("asks", sa.Integer(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id", name=op.f("pk_uncommitted")),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"], name=op.f("fk_uncommitted_delivery_id")),
        sa.ForeignKeyConstraint(
            ["commitment_id"], ["commitments.id"], name=op.f("fk_uncommitted_commitment_id")
        ),
    )
    op.create_index(op.f("ix_uncommitted_commitment_id"), "uncommitted", ["commitment_id"], unique=False)
    op.create_index(
        "ix_uncommitted_open",
        "uncommitted",
        ["peer", "due_at"],
        unique=False,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_table(
        "promises",
        sa.Column("id", _ID, autoincrement=True, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("asked_for", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("word", sa.Text(), nullable=True),
        sa.Column("committed", sa.Integer(), nullable=True),
        sa.Column("failed", sa.Integer(), nullable=True),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promises")),
        sa.UniqueConstraint("peer", "transaction_uid", name="uq_promises_transaction_uid"),
    )
    op.create_index("ix_promises_state", "promises", ["state", "due_at"], unique=False)
