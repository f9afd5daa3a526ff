"""The thread beside the turns says when one is worth taking, once for each reason; its faults are seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import HeldClock
from appliance.core.config import parse
from appliance.ledger import controls, passages
from appliance.ledger.controls import Kind
from appliance.ledger.engine import Ledger
from appliance.services.stage import Stage
from appliance.services.watching import Watching
from appliance.sync.box import ModelBox
from appliance.sync.limits import STEPS
from appliance.sync.phase import Phase
from appliance.sync.refusal import Word

NAME, HOUR = "ct-tissue-bands", 3600.0


@pytest.fixture
def stage(tmp_path: Path, ledger: Ledger, ledger_url: str) -> Stage:
    """The sync service of a box without a registry."""
    tree = {"site": {"name": "A"}, "storage": {"root": str(tmp_path)}, "ledger": {"url": ledger_url}}
    return Stage(name="sync", config=parse(tree), ledger=ledger)


def watching(stage: Stage) -> Watching:
    box = ModelBox(config=stage.config, ledger=stage.ledger, by="registry")
    return Watching(stage, box, limits=replace(STEPS, look_seconds=0.01))


def test_the_end_of_a_hold_is_worth_a_turn_once(stage: Stage, clock: HeldClock):
    at = clock.now()
    with stage.ledger.write() as tx:
        passages.assigned(tx, name=NAME, version="1.1.0", digest="sha256:1", phase=Phase.ASSIGNED, at=at)
        passages.enter(tx, "sha256:1", Phase.HELD, at=at, word=Word.ON_HOLD, sentence="held")
        controls.place(tx, Kind.HOLD, NAME, reason="why", by="jo", at=at, until=at + HOUR)
    seen = watching(stage)
    assert not seen.look()
    clock.advance(HOUR)
    assert seen.look()
    assert not seen.look(), "a registry that does not answer is not asked every few seconds"


def test_it_looks_by_itself_wakes_and_ends_with_the_service(stage: Stage, clock: HeldClock):
    at = clock.now()
    with stage.ledger.write() as tx:
        passages.assigned(tx, name=NAME, version="1.1.0", digest="sha256:1", phase=Phase.ASSIGNED, at=at)
        passages.enter(tx, "sha256:1", Phase.HELD, at=at, word=Word.ON_HOLD, sentence="held")
    seen = watching(stage)
    seen.start()
    assert seen.wake.wait(30), "nothing holds it any more"
    seen.wake.clear()
    stage.stop()
    assert seen.wake.wait(30), "whoever waits for it ends too"
    seen.join()
    assert not stage.faulty.is_set()


def test_a_fault_that_nobody_foresaw_ends_the_service(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    seen = watching(stage)
    monkeypatch.setattr(Watching, "look", lambda self: 1 / 0)
    seen.start()
    assert stage.stopping.wait(30)
    seen.join()
    assert stage.faulty.is_set()
