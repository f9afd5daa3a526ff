"""One set of answers, as a file, a terminal and a page are given them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from provisioning.firstboot.sitting import Sitting
from tests.provisioning.firstboot.said import Said


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 as it is, with less to compute; how strong it is elsewhere is another test's."""
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr("provisioning.firstboot.values.PasswordHasher", lambda: quick)


@pytest.fixture
def said(tmp_path: Path) -> Said:
    return Said(tmp_path)


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    return Sitting(state=tmp_path / "state.json", config=tmp_path / "site.toml")


@pytest.fixture
def read(tmp_path: Path) -> Any:
    return lambda: tomllib.loads((tmp_path / "site.toml").read_text(encoding="utf-8"))
