"""One registry for each test, copied from one that was made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.ledger.conftest import Cluster, cluster, dialect
from tests.provisioning.identity.town import Machine, Town, drawn, founded

__all__ = ["cluster", "dialect"]


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that nobody serves."""
    folder = tmp_path_factory.mktemp("plan")
    drawn(folder)
    return folder


@pytest.fixture
def town_anywhere(tmp_path: Path, plan: Path, dialect: str, request: pytest.FixtureRequest) -> Iterator[Town]:
    """A registry on loopback, on SQLite and on PostgreSQL."""
    if dialect == "sqlite":
        with founded(tmp_path, plan) as made:
            yield made
        return
    server: Cluster = request.getfixturevalue("cluster")
    name = server.database()
    with founded(tmp_path, plan, server.url(name)) as made:
        yield made
    server.drop(name)


@pytest.fixture
def town(tmp_path: Path, plan: Path) -> Iterator[Town]:
    """A registry on loopback."""
    with founded(tmp_path, plan) as made:
        yield made


@pytest.fixture
def box(town: Town) -> Machine:
    """A machine that was enrolled there."""
    made = town.machine("first")
    made.enrol(town.invite())
    return made
