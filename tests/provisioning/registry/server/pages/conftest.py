"""A fleet whose pages people look at."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from appliance.core.clock import HeldClock
from provisioning.registry.book import Book
from provisioning.registry.database import accounts
from provisioning.registry.database.engine import FILE
from provisioning.registry.database.words import Role
from tests.appliance import packages
from tests.provisioning.fleet import PASSWORD, Fleet, fleet
from tests.provisioning.registry.rollout.conftest import published
from tests.provisioning.registry.rollout.making import MONDAY
from tests.provisioning.registry.server.pages.visiting import Visit

__all__ = ["published"]
ADMIN = "ada"


@pytest.fixture
def empty(published: Path, newest_tables: Path, tmp_path: Path, clock: HeldClock) -> Iterator[Fleet]:
    """A server with releases and with people, one of each role; no slot yet."""
    clock.seconds = MONDAY
    folder = Path(shutil.copytree(published / "registry", tmp_path / "registry"))
    shutil.copyfile(newest_tables, folder / FILE)
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with fleet(Book(folder=folder, clock=clock), clock, packages.NAME) as made:
        with made.database.write() as tx:
            accounts.add(tx, ADMIN, hasher.hash(PASSWORD), Role.ADMIN, at=clock.now())
        yield made


@pytest.fixture
def stranger(empty: Fleet) -> Iterator[Visit]:
    """A browser in which nobody logged in."""
    visit = Visit(empty.served.url)
    yield visit
    visit.client.close()


@pytest.fixture
def enter(empty: Fleet) -> Iterator[Callable[[str], Visit]]:
    """Open a browser for somebody and log in."""
    with ExitStack() as stack:

        def _enter(name: str) -> Visit:
            visit = Visit(empty.served.url)
            stack.callback(visit.client.close)
            assert visit.log_in(name).status_code == 200
            return visit

        yield _enter
