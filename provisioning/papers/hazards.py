"""Hazards and what is done about them, each with the test that shows it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from provisioning.papers.page import page

_FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """One hazard; `test` is a file or a folder of the source tree."""

    id: str
    hazard: str
    cause: str
    measure: str
    test: str


def hazards() -> list[Hazard]:
    """Return every hazard that was thought of."""
    return [Hazard(**one) for one in tomllib.loads(_FILE.read_text(encoding="utf-8"))["hazard"]]


def hazard_table(version: str) -> str:
    """Return them as Markdown."""
    rows = [(one.id, one.hazard, one.cause, one.measure, f"`{one.test}`") for one in hazards()]
    return page("hazards", version=version, hazards=rows)
