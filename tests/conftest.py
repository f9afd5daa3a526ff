"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def ledger_url(tmp_path: Path) -> str:
    """Where a test's ledger lies: SQLite, or the PostgreSQL that `READSIDE_TEST_LEDGER` names."""
    return os.environ.get("READSIDE_TEST_LEDGER") or f"sqlite:///{tmp_path / 'ledger.sqlite3'}"


@pytest.fixture
def ledger(ledger_url: str, clock: HeldClock) -> Iterator[Ledger]:
    """An empty ledger at its newest schema."""
    opened = open_ledger(ledger_url, clock=clock)
    yield opened
    opened.close()
