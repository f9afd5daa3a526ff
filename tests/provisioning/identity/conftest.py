"""One registry for each test, copied from one that was made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provisioning.identity.town import Town, drawn, founded


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry that nobody serves."""
    folder = tmp_path_factory.mktemp("plan")
    drawn(folder)
    return folder


@pytest.fixture
def town(tmp_path: Path, plan: Path) -> Iterator[Town]:
    """A registry on loopback."""
    with founded(tmp_path, plan) as made:
        yield made
