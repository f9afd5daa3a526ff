"""Roll-outs, and what happened to each.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "rollouts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("judgement", sa.JSON(), nullable=True),
        sa.Column("judged_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
    )
    op.create_index("ix_rollouts_model", "rollouts", ["model"], unique=False)
    op.create_index(
        "uq_rollouts_under_way",
        "rollouts",
        ["model"],
        unique=True,
        sqlite_where=sa.text("stage IN ('running', 'paused')"),
        postgresql_where=sa.text("stage IN ('running', 'paused')"),
    )
    op.create_table(
        "rollout_events",
        sa.Column("rollout", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_rollout_events_rollout")),
        sa.PrimaryKeyConstraint("rollout", "seq", name=op.f("pk_rollout_events")),
    )
