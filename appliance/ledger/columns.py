"""What the tables are made of: their names' conventions, and the kinds of columns that they share.

Times are seconds since the Unix epoch, UTC, as doubles.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def row_id() -> sa.Column[int]:
    """Return the column of a row id."""
    # SQLite makes a row id only of INTEGER; PostgreSQL wants eight bytes.
    return sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )


def sequence() -> sa.Column[int]:
    """Return the column of a place in a chain, which the writer counts itself."""
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("seq", kind, primary_key=True, autoincrement=False)


def time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    """Return a column of a time."""
    return sa.Column(name, sa.Double, nullable=nullable)


def text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    """Return a column of text."""
    return sa.Column(name, sa.Text, nullable=nullable)


def refer(name: str, to: str, *, nullable: bool = False) -> sa.Column[int]:
    """Return an indexed column that refers to the rows of another table."""
    return sa.Column(name, sa.BigInteger, sa.ForeignKey(f"{to}.id"), nullable=nullable, index=True)


def unique_where(name: str, *columns: str, where: str) -> sa.Index:
    """Return a unique index over the rows that meet a condition."""
    return sa.Index(name, *columns, unique=True, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
