"""The registry's database on SQLite and on PostgreSQL, and a server process' application on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from provisioning.registry.database.engine import Database, open_database
from tests.appliance.ledger.conftest import Cluster, cluster, dialect

__all__ = ["cluster", "dialect"]
_TEMPLATE = "registry_filled"


@pytest.fixture(scope="session")
def newest_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry's database on SQLite, at its newest schema."""
    path = tmp_path_factory.mktemp("registry") / "registry.sqlite"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database_url(
    dialect: str, tmp_path: Path, request: pytest.FixtureRequest, newest_tables: Path
) -> Iterator[str]:
    """Where a test's own database lies."""
    if dialect == "sqlite":
        shutil.copyfile(newest_tables, tmp_path / "registry.sqlite")
        yield f"sqlite:///{tmp_path / 'registry.sqlite'}"
        return
    server: Cluster = request.getfixturevalue("cluster")
    if _TEMPLATE not in server.made:
        server.execute(f"CREATE DATABASE {_TEMPLATE}")
        open_database(server.url(_TEMPLATE)).close()
        server.made.add(_TEMPLATE)
    name = server.database(template=_TEMPLATE)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database(database_url: str, clock: HeldClock) -> Iterator[Database]:
    """An empty database at its newest schema."""
    opened = open_database(database_url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def another(database_url: str, clock: HeldClock) -> Iterator[Callable[[], Database]]:
    """The same database, as another process would open it."""
    opened: list[Database] = []

    def make() -> Database:
        opened.append(open_database(database_url, clock=clock))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
