"""A stick brings a release to a box without a network, checked as over one; all else is refused."""

from __future__ import annotations

from pathlib import Path

from appliance.sync.refusal import Word
from appliance.sync.release import IMAGE
from provisioning.bundle.export import FOLDER
from tests.provisioning.bundle.conftest import Site
from tests.provisioning.field import NAME, NEXT

SMALL = 40_000


def releases(stick: Path) -> list[Path]:
    return sorted((stick / FOLDER / IMAGE / "targets").rglob("*.zip*"))


def test_a_release_serves_from_a_stick(site: Site):
    site.field.offer()
    made = site.export()
    assert made.releases == (f"{NAME} {NEXT}",)
    assert len(releases(site.stick)) == 1, "what no slot is assigned stays away"
    assert site.word() is Word.ACTIVATED
    assert site.field.serving() == NEXT
    assert site.word() is Word.CURRENT
