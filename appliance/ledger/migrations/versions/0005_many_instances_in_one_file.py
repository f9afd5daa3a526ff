"""One spool file may hold many instances: what names bytes is the file and the place in it.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # SQLite drops no constraint in place: the table is copied, which is why foreign keys rest meanwhile.
    with op.batch_alter_table("instances") as table:
        table.drop_constraint("uq_instances_file", type_="unique")
        table.create_unique_constraint("uq_instances_place", ["file", "offset"])
