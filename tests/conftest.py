"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from appliance.core.clock import HeldClock
from appliance.ledger.engine import Ledger, open_ledger

_HERE = Path(__file__).resolve().parent
_SHARED_STUDIES = _HERE.parents[1] / "shared" / "studies"
# Their longest files take minutes: begun last, they would be what all other processes of a run wait for.
_FIRST = (_HERE / "viewers", _HERE / "systemd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the rooms of the longest files first; all else stays in its order."""
    items.sort(key=lambda item: not any(item.path.is_relative_to(folder) for folder in _FIRST))


@pytest.fixture
def shared_studies() -> Path:
    """The folder of real CT studies beside the checkout; tests that need it are skipped without it."""
    if not _SHARED_STUDIES.is_dir():
        pytest.skip("the folder of real studies is not beside this checkout")
    return _SHARED_STUDIES


@pytest.fixture
def clock() -> HeldClock:
    """A clock that only the test moves."""
    return HeldClock()


@pytest.fixture
def loud_again() -> Iterator[None]:
    """The log of this process as it is, after commands that keep theirs quiet."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def newest_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger on SQLite at its newest schema; a copy of it costs a hundredth of its migrations."""
    path = tmp_path_factory.mktemp("schema") / "ledger.sqlite3"
    open_ledger(f"sqlite:///{path}").close()
    assert not path.with_name("ledger.sqlite3-wal").exists(), "a closed ledger is one file"
    return path


@pytest.fixture
def ledger_url(tmp_path: Path, newest_schema: Path) -> str:
    """Where a test's ledger lies: SQLite, or the PostgreSQL that `READSIDE_TEST_LEDGER` names."""
    if named := os.environ.get("READSIDE_TEST_LEDGER"):
        return named
    shutil.copyfile(newest_schema, tmp_path / "ledger.sqlite3")
    return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"


@pytest.fixture
def ledger(ledger_url: str, clock: HeldClock) -> Iterator[Ledger]:
    """An empty ledger at its newest schema."""
    opened = open_ledger(ledger_url, clock=clock)
    yield opened
    opened.close()
