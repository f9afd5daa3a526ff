"""What destinations take, what stands in for what they do not, and what people said of results.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("instead_of", sa.Text(), nullable=True))
    unsettled = sa.text("state IN ('PENDING', 'SENDING', 'LATER')")
    op.create_index(
        "ix_deliveries_unsettled",
        "deliveries",
        ["peer", "object_id", "due_at", "state"],
        unique=False,
        sqlite_where=unsettled,
        postgresql_where=unsettled,
    )
    op.create_table(
        "acceptances",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "sop_class_uid", "transfer_syntax_uid", name=op.f("pk_acceptances")),
    )
    op.create_table(
        "assessments",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("result_id", sa.BigInteger(), nullable=False),
        sa.Column("study_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("tracking_uid", sa.Text(), nullable=False),
        sa.Column("calling_ae", sa.Text(), nullable=False),
        sa.Column("assessed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_assessments_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessments")),
        sa.UniqueConstraint("sop_instance_uid", "result_id", "tracking_uid", name="uq_assessments_document"),
    )
    op.create_index(op.f("ix_assessments_result_id"), "assessments", ["result_id"], unique=False)
