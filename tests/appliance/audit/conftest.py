"""A box's trail on the ledger of a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.audit import checkpoint
from appliance.audit.limits import Limits
from appliance.audit.trail import Trail
from appliance.core.config import Config, parse
from appliance.ledger import events
from appliance.ledger.engine import Ledger
from tests.appliance.ledger import given

LIMITS = Limits(rows_per_checkpoint_max=5, checkpoint_seconds=3_600.0, verify_rows=3)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A site with one sender and one destination."""
    peers = [
        {"name": "ct", "ae_title": "CT1", "host": "10.0.0.7", "port": 104},
        {"name": "pacs", "ae_title": "PACS1", "host": "pacs.example", "port": 104},
    ]
    return parse(
        {"site": {"name": "St. Elsewhere"}, "storage": {"root": str(tmp_path / "box")}, "peers": peers}
    )


@pytest.fixture
def trail(ledger: Ledger, config: Config) -> Trail:
    """The trail, with a key of its own."""
    signer = checkpoint.open_signer(checkpoint.folder_of(config.storage.root))
    return Trail(ledger, config, signer, LIMITS)


@pytest.fixture
def happened(ledger: Ledger) -> Callable[..., None]:
    """Write into the timeline."""

    def add(word: str, *, study_uid: str | None = None, **detail: Any) -> None:
        with ledger.write() as tx:
            events.add(tx, word, at=given.NOW, study_uid=study_uid, **detail)

    return add
