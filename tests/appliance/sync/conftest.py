"""A box without services, for commands on versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from appliance.core.config import parse
from appliance.ledger.engine import Ledger
from appliance.sync.box import ModelBox
from tests.appliance import packages

MakeBox: TypeAlias = Callable[..., ModelBox]


@pytest.fixture
def make_box(ledger: Ledger, ledger_url: str, tmp_path: Path) -> MakeBox:
    """Make a box of a site; arguments are sections of its configuration."""
    (tmp_path / "box").mkdir()

    def make(**sections: Any) -> ModelBox:
        route = {"name": "bands", "when": 'Modality == "CT"', "model": packages.NAME}
        storage = {"root": str(tmp_path / "box"), "floor_gib": 0.01, **sections.pop("storage", {})}
        tree = {"site": {"name": "Test"}, "ledger": {"url": ledger_url}, "routes": [route], **sections}
        return ModelBox(config=parse({**tree, "storage": storage}), ledger=ledger, by="jo")

    return make


@pytest.fixture
def box(make_box: MakeBox) -> ModelBox:
    """A box whose only engine is the processor's."""
    return make_box()


@pytest.fixture
def hasty(box: ModelBox) -> ModelBox:
    """A box whose commands do not wait for one another."""
    return replace(box, limits=replace(box.limits, command_wait_seconds_max=0.1))
