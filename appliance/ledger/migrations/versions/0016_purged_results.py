"""When the bytes of a result's object were given up.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_KEPT = sa.text("purged_at IS NULL")


def upgrade() -> None:
    op.add_column("objects", sa.Column("purged_at", sa.Double(), nullable=True))
    op.create_index("ix_objects_kept", "objects", ["result_id"], sqlite_where=_KEPT, postgresql_where=_KEPT)
