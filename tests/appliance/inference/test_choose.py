"""The first engine that can serve is taken, and every one passed over is named with its reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from appliance.inference.choose import MAKERS, Maker, Makers, open_engine
from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import InferenceError, Probe
from appliance.inference.gate import GoldenGate
from appliance.inference.settings import EngineSettings
from models.package import Package
from tests.appliance.inference.given import bands, doubling, package_of


@pytest.fixture(scope="module")
def package() -> Package:
    return bands()


class Absent(OnnxRuntimeCpu):
    """An engine whose device is not there."""

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings.limits)

    def probe(self) -> Probe:
        return Probe(ok=False, reason="no device was found")


def test_the_wanted_engine_needs_no_excuse(package: Package):
    engine, stepped_down = open_engine(package, ["cpu"])
    assert (engine.name, stepped_down) == ("cpu", None)
    assert engine.memory_bytes() > 0


def test_an_engine_that_is_not_installed_is_passed_over_with_what_to_do(package: Package):
    makers: Makers = {
        **MAKERS,
        "other": Maker(reference="appliance.inference.not_there:Other", extra="other"),
    }
    engine, stepped_down = open_engine(package, ["other", "cpu"], makers=makers)
    assert stepped_down == (
        f"{engine.provenance().text} was used. Passed over: "
        "other: is not installed here; install the extra readside[other]."
    )


def test_an_engine_without_its_device_is_passed_over(package: Package):
    _, stepped_down = open_engine(package, ["absent", "cpu"], makers={**MAKERS, "absent": Absent})
    assert stepped_down is not None
    assert "absent: no device was found." in stepped_down


def test_an_engine_that_fails_its_golden_cases_never_serves(tmp_path: Path):
    broken = package_of(tmp_path, doubling())
    (tmp_path / "golden").mkdir()
    for case in bands().golden_paths():
        (tmp_path / "golden" / case.name).write_bytes(case.read_bytes())
    with pytest.raises(InferenceError) as caught:
        open_engine(broken, ["absent", "cpu"], makers={**MAKERS, "absent": Absent})
    assert caught.value.word == "inference.no_engine"
    assert "absent: no device was found." in caught.value.sentence
    assert "golden cases" in caught.value.sentence


@pytest.mark.parametrize(("wanted", "says"), [([], "No engine is configured"), (["abacus"], "not an engine")])
def test_no_engine_is_an_error_with_its_reasons(package: Package, wanted: list[str], says: str):
    with pytest.raises(InferenceError, match=says) as caught:
        open_engine(package, wanted)
    assert caught.value.word == "inference.no_engine"


def test_a_gate_that_lives_on_asks_once(package: Package, monkeypatch: pytest.MonkeyPatch):
    calls: list[object] = []
    infer = OnnxRuntimeCpu.infer

    def counted(self: OnnxRuntimeCpu, batch: dict[str, np.ndarray], *, deadline_seconds: float):
        calls.append(self)
        return infer(self, batch, deadline_seconds=deadline_seconds)

    monkeypatch.setattr(OnnxRuntimeCpu, "infer", counted)
    gate = GoldenGate()
    open_engine(package, ["cpu"], gate=gate)
    asked = len(calls)
    assert asked > 0
    open_engine(package, ["cpu"], gate=gate)
    assert len(calls) == asked
