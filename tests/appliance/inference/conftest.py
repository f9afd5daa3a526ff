"""Fixtures of the tests of engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.inference.settings import EngineSettings
from models.package import Package
from tests.appliance.inference.fakes import ROOT
from tests.appliance.inference.given import bands


@pytest.fixture(scope="session")
def package() -> Package:
    """The tissue bands."""
    return bands()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSettings:
    """Settings with a store of its own; children find the engines of the tests."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return EngineSettings(store=tmp_path / "root" / "engines")
