"""The tables are what the migrations build, on both databases, and what is wrong is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from provisioning.registry.database.engine import Database, open_database, url_of
from provisioning.registry.database.tables import metadata
from provisioning.registry.faults import RegistryFault


def test_migrations_build_exactly_the_tables(database: Database):
    with database.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx, opts={"compare_type": True}), metadata) == []


def test_a_newer_schema_is_refused(database: Database, database_url: str):
    with database.write() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RegistryFault, match=r"the registry's database has schema 9999.*newer Readside"):
        open_database(database_url)


def test_a_file_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "registry.sqlite").write_bytes(b"what is this" * 100)
    with pytest.raises(RegistryFault, match="the registry's database cannot be opened"):
        open_database(url_of(tmp_path))


def test_a_server_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(RegistryFault, match="--database"):
        open_database(f"postgresql://readside@/none?host={tmp_path}")


def test_the_file_lies_beside_the_tree_unless_another_is_named(tmp_path: Path):
    assert url_of(tmp_path) == f"sqlite:///{tmp_path}/registry.sqlite"
    assert url_of(tmp_path, "postgresql://db/registry") == "postgresql://db/registry"
