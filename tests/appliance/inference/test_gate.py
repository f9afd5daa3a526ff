"""No engine serves before its golden cases came out right, and none is asked twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import EngineProvenance, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.limits import InferenceLimits
from models.package import Package
from tests.appliance.inference.given import bands


class Counting(OnnxRuntimeCpu):
    """The processor's engine, which counts its calls and may answer a little wrong."""

    def __init__(self, *, wrong: bool = False, version: str = "1") -> None:
        super().__init__()
        self.calls, self.wrong, self.version = 0, wrong, version

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        self.calls += 1
        answer = super().infer(batch, deadline_seconds=deadline_seconds)
        return {"labels": np.zeros_like(answer["labels"])} if self.wrong else answer

    def provenance(self) -> EngineProvenance:
        return EngineProvenance(text="counting", details={"version": self.version})


@pytest.fixture(scope="module")
def package() -> Package:
    return bands()


def ready(package: Package, **kind: Any) -> Counting:
    engine = Counting(**kind)
    engine.load(engine.plan(package))
    return engine


def test_an_engine_that_agrees_is_admitted_and_remembered(package: Package):
    gate, engine = GoldenGate(), ready(package)
    assert gate.admit(package, engine).ok
    asked = engine.calls
    assert asked > 0
    assert gate.admit(package, engine).ok
    assert engine.calls == asked


def test_another_version_of_an_engine_is_another_question(package: Package):
    gate = GoldenGate()
    gate.admit(package, ready(package))
    newer = ready(package, version="2")
    gate.admit(package, newer)
    assert newer.calls > 0


def test_an_engine_that_differs_is_refused_again_and_again(package: Package):
    gate, engine = GoldenGate(), ready(package, wrong=True)
    for _ in range(2):
        with pytest.raises(InferenceError, match="golden cases came out different") as caught:
            gate.admit(package, engine)
        assert caught.value.word == "inference.golden"


def test_a_gate_does_not_wait_for_ever(package: Package):
    gate = GoldenGate(limits=InferenceLimits(golden_seconds_max=0.0))
    with pytest.raises(InferenceError) as caught:
        gate.admit(package, ready(package))
    assert caught.value.word == "inference.deadline"
