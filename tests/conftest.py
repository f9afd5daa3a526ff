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

_SHARED_STUDIES = Path(__file__).resolve().parents[2] / "shared" / "studies"


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
