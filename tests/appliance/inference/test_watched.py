"""An engine whose process ended is started on files that were looked at again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from appliance.inference.engine import InferenceError
from appliance.inference.quarantine import Quarantine
from appliance.inference.watched import WatchedEngine
from tests.appliance.inference.fakes import Built

BATCH = {"image": np.zeros((1, 1, 8, 8), np.float32)}


class Ending(Built):
    """Ends as it is told, once."""

    words: list[str]

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        if self.words:
            raise InferenceError(self.words.pop(0), "It ended.")
        return {}

    def load(self, plan: Any, *, folder: Any = None) -> None:
        """Hold nothing."""


@pytest.mark.parametrize(
    ("word", "looked", "counted"),
    [("inference.crashed", 1, 1), ("inference.deadline", 1, 0), ("inference.failed", 0, 0)],
)
def test_files_are_looked_at_again_after_the_process_ended(package, settings, word, looked, counted):
    looks: list[str] = []
    inner = Ending(settings)
    inner.words = [word]
    plan = inner.plan(package)
    quarantine = Quarantine(root=settings.store / "crashes", limits=settings.limits)
    engine = WatchedEngine(inner, plan, quarantine, hosted=True, recheck=lambda: looks.append("looked"))
    engine.load(plan)
    engine.settled()
    with pytest.raises(InferenceError):
        engine.infer(BATCH, deadline_seconds=5)
    for _ in range(2):
        engine.infer(BATCH, deadline_seconds=5)
    assert len(looks) == looked
    assert sum(len(one.at) for one, _ in quarantine.entries()) == counted
    engine.unload()
    assert not list((settings.store / "crashes").glob("*.mark"))


def test_files_that_changed_meanwhile_are_not_loaded_again(package, settings):
    inner = Ending(settings)
    inner.words = ["inference.crashed"]
    plan = inner.plan(package)
    quarantine = Quarantine(root=settings.store / "crashes", limits=settings.limits)

    def refuse() -> None:
        raise InferenceError("inference.load", "A file of it was changed after it was built.")

    engine = WatchedEngine(inner, plan, quarantine, hosted=True, recheck=refuse)
    engine.load(plan)
    for word in ("inference.crashed", "inference.load", "inference.load"):
        with pytest.raises(InferenceError) as caught:
            engine.infer(BATCH, deadline_seconds=5)
        assert caught.value.word == word
    engine.unload()
