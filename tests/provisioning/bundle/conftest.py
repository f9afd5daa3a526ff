"""A registry that stamps bundles, a box without a network, and a stick."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.ledger.engine import Ledger
from appliance.sync.box import ModelBox
from appliance.sync.refusal import Word
from appliance.sync.standing import Standing, read_standing
from provisioning.bundle import stamps
from provisioning.bundle.carry import Stick
from provisioning.bundle.export import Exported, export
from provisioning.bundle.limits import DEFAULT, BundleLimits
from provisioning.bundle.take import Taking
from tests.provisioning.field import DEVICE, SERVES, Field, made
from tests.provisioning.origin import serving


@dataclass
class Site:
    """One registry, one box that has no way to it but a stick."""

    field: Field
    stick: Path
    bounds: BundleLimits = DEFAULT

    def export(self, *slots: str, stick: Path | None = None) -> Exported:
        return export(self.field.book, slots or (DEVICE,), stick or self.stick, limits=self.bounds)

    def taking(self, stick: Path | None = None, box: ModelBox | None = None) -> Taking:
        found = Stick(stick or self.stick, limits=self.bounds)
        return Taking(box=box or self.field.box, stick=found, bounds=self.bounds)

    def turn(self, stick: Path | None = None) -> Standing:
        return self.taking(stick).turn()

    def word(self, stick: Path | None = None) -> Word:
        (outcome,) = self.turn(stick).outcomes
        return outcome.word

    def refused(self, word: Word, stick: Path | None = None) -> str:
        """Take a turn that is refused with a word while the old model serves; return why."""
        (outcome,) = self.turn(stick).outcomes
        assert outcome.word is word, outcome
        assert self.field.serving() == SERVES
        standing = read_standing(self.field.box.root)
        assert standing is not None
        assert [one.word for one in standing.outcomes] == [word]
        return outcome.sentence


def offline(box: ModelBox) -> ModelBox:
    """The box as one that has no registry's address."""
    registry = box.config.registry.model_copy(update={"url": ""})
    return replace(box, config=box.config.model_copy(update={"registry": registry}))


@pytest.fixture
def site(tmp_path: Path, ledger: Ledger, ledger_url: str, clock: HeldClock) -> Iterator[Site]:
    """A box on which the second release serves; its stick is empty."""
    with serving(tmp_path) as origin:
        field = made(tmp_path, ledger, ledger_url, clock, origin)
        stamps.begin(field.book, field.keys)
        online, field.box = field.box, offline(field.box)
        assert online.config.registry.url
        (tmp_path / "stick").mkdir()
        yield Site(field=field, stick=tmp_path / "stick")
