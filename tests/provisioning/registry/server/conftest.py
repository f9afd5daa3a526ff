"""A registry on loopback, over a database on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from appliance.core.clock import HeldClock
from provisioning.registry.database.engine import Database
from provisioning.registry.server.app import application
from provisioning.registry.server.setting import Setting
from tests.provisioning.registry.given import Served, serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a registry, with a tree in which only the stamps are."""
    for repository, version in (("image", 7), ("director", 9)):
        place = tmp_path / "registry" / "public" / repository / "metadata"
        place.mkdir(parents=True)
        (place / "timestamp.json").write_text(f'{{"signed": {{"version": {version}}}}}')
    return tmp_path / "registry"


@pytest.fixture
def app(folder: Path, database_url: str, clock: HeldClock) -> FastAPI:
    """The application, as a process of the server makes it."""
    return application(Setting(folder=folder, database=database_url, clock=clock))


@pytest.fixture
def served(app: FastAPI, database: Database) -> Iterator[Served]:
    """The application on loopback; `database` is the same, as another process would have it."""
    with serving(app) as made:
        yield made


@pytest.fixture
def dialect() -> str:
    """Most of the server is the same on both databases; what is not says so."""
    return "sqlite"
