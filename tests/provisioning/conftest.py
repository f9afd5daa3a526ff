"""A registry, a server on loopback, a box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.ledger.engine import Ledger
from tests.provisioning.field import Field, made
from tests.provisioning.origin import serving


@pytest.fixture
def field(tmp_path: Path, ledger: Ledger, ledger_url: str, clock: HeldClock) -> Iterator[Field]:
    """One registry, and one box on which its second release serves."""
    with serving(tmp_path) as origin:
        yield made(tmp_path, ledger, ledger_url, clock, origin)
