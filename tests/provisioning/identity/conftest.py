"""One registry for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.provisioning.identity.town import Town, founded


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A registry on loopback."""
    with founded(tmp_path) as made:
        yield made
