"""A console over an empty or a filled ledger."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.console.app import create_app
from appliance.console.limits import DEFAULT, Limits
from appliance.core.clock import HeldClock
from appliance.core.config import Config, parse
from appliance.ledger.engine import Ledger, open_ledger
from tests.appliance.console import filling
from tests.appliance.console.filling import Console


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A site with one user, one peer and two routes."""
    return parse(
        {
            "site": {"name": "St Elsewhere, reading room 2"},
            "storage": {"root": str(tmp_path), "floor_gib": 0.001},
            "peers": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 11113}],
            "routes": [
                {
                    "name": "ct-bands",
                    "when": 'Modality == "CT" && slices >= 40',
                    "model": "ct-tissue-bands",
                    "send_to": ["pacs"],
                },
                {
                    "name": "lesion",
                    "when": 'Modality == "CT"',
                    "model": "ct-phantom-lesion",
                    "mode": "shadow",
                },
            ],
            "console": {"users": [{"name": "amina", "password_hash": filling.HASH}]},
        }
    )


@pytest.fixture
def make_console(ledger: Ledger, clock: HeldClock, config: Config, tmp_path: Path) -> Callable[..., Console]:
    """Make a console with other bounds or another configuration."""

    def _make(limits: Limits = DEFAULT, config: Config = config) -> Console:
        app = create_app(ledger=ledger, config=config, spool_root=tmp_path, clock=clock, limits=limits)
        return Console(app=app, ledger=ledger, clock=clock, config=config, root=tmp_path, limits=limits)

    return _make


@pytest.fixture
def console(make_console: Callable[..., Console]) -> Console:
    """A console over an empty ledger."""
    # A look at the counts must not be shared between two moments of a test.
    return make_console(replace(DEFAULT, snapshot_seconds=-1.0))


@pytest.fixture(scope="session")
def filled_before(tmp_path_factory: pytest.TempPathFactory, newest_schema: Path) -> Path:
    """A folder with a filled ledger on SQLite: a copy of it costs a hundredth of the filling."""
    folder = tmp_path_factory.mktemp("filled")
    shutil.copyfile(newest_schema, folder / "ledger.sqlite3")
    clock = HeldClock()
    opened = open_ledger(f"sqlite:///{folder / 'ledger.sqlite3'}", clock=clock)
    filling.fill(opened, folder, clock)
    opened.close()
    return folder


@pytest.fixture
def ledger_url(request: pytest.FixtureRequest, ledger_url: str, tmp_path: Path) -> str:
    """Where a test's ledger lies: a filled one for a test that asks for `filled`."""
    if "filled" in request.fixturenames and _own(ledger_url, tmp_path):
        shutil.copytree(request.getfixturevalue("filled_before"), tmp_path, dirs_exist_ok=True)
    return ledger_url


@pytest.fixture
def filled(console: Console, ledger_url: str, tmp_path: Path) -> Console:
    """A console over a ledger with a normal, a failed, a held, a gathering and a late study."""
    if not _own(ledger_url, tmp_path):
        filling.fill(console.ledger, console.root, console.clock)
    return console


def _own(ledger_url: str, folder: Path) -> bool:
    """Say whether a ledger is a file in the test's own folder, and not one that somebody named."""
    return ledger_url == f"sqlite:///{folder / 'ledger.sqlite3'}"
