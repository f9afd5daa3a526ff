"""Measurements count what they say: turns, batches, faults, and the engine's share of an analysis."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import InferenceError
from appliance.inference.measure import MeasureLimits, batched, pipelines, speeds
from models.analysis import first_fed
from models.package import Package
from tests.appliance.results.given import series

LIMITS = MeasureLimits(seconds_max=0.2, calls_min=2, calls_max=5)


class Waiting:
    """An engine that takes a known time for each item, and may refuse a batch size."""

    def __init__(self, seconds: float, batch_max: int = 99) -> None:
        self.seconds, self.batch_max, self.calls = seconds, batch_max, 0

    def infer(self, batch, *, deadline_seconds):
        self.calls += 1
        size = len(batch["image"])
        if size > self.batch_max:
            raise InferenceError("inference.failed", "The network failed while it ran (TooBig).")
        time.sleep(self.seconds * size)
        return {"labels": batch["image"].astype(np.uint8)}


FEED = {"image": np.zeros((1, 1, 4, 4), np.float32)}


def test_engines_take_turns_and_the_first_call_is_not_counted():
    engines = {"a": Waiting(0.001), "b": Waiting(0.004)}
    made = speeds(engines, FEED, batch=2, limits=LIMITS)
    assert [one.engine for one in made] == ["a", "b"]
    assert engines["a"].calls == engines["b"].calls == made[0].calls + 1 == made[1].calls + 1
    # Sleeping never ends early, so these bounds hold on any machine.
    assert made[0].median_ms >= 2
    assert made[1].median_ms >= 8
    assert made[1].items_per_second == pytest.approx(2000 / made[1].median_ms)
    assert made[1].p95_ms >= made[1].median_ms


def test_an_engine_that_cannot_is_named_and_the_others_go_on():
    made = speeds({"a": Waiting(0, batch_max=1), "b": Waiting(0)}, FEED, batch=2, limits=LIMITS)
    assert made[0].fault == "The network failed while it ran (TooBig)."
    assert made[0].calls == 0
    assert made[1].calls >= LIMITS.calls_min


def test_a_batch_is_the_first_item_again_and_again():
    single = {"image": np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2)}
    assert np.array_equal(batched(single, 3)["image"], np.repeat(single["image"][:1], 3, axis=0))


def test_the_engine_s_share_of_a_whole_analysis(package: Package):
    engine = OnnxRuntimeCpu()
    engine.load(engine.plan(package))
    volume = series(slices=3).volume
    feed = first_fed(package, volume)
    assert feed[package.manifest.input.tensor].dtype == np.float32
    (made,) = pipelines(package, {"cpu": engine}, volume, limits=replace(LIMITS, seconds_max=0.5))
    assert made.calls >= LIMITS.calls_min
    assert 0 < made.raw_ms < made.whole_ms
    assert 0 < made.efficiency < 1
