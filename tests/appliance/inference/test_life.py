"""An engine is built, kept, judged and active; until then, and when that goes wrong, the next best serves."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from appliance.inference.choose import MAKERS, Makers, open_engine, open_now
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.quarantine import Quarantine
from appliance.inference.settings import EngineSettings
from appliance.inference.sidecar import Sidecar
from appliance.inference.store import EngineStore
from models.golden import check
from models.package import Package
from tests.appliance.inference.fakes import makers

WANTED = ["built", "cpu"]


def store_of(settings: EngineSettings) -> EngineStore:
    assert settings.store is not None
    return EngineStore(root=settings.store, limits=settings.limits)


def verdict_of(settings: EngineSettings) -> Mapping[str, Any]:
    """The verdict on the only engine that is kept."""
    ((_, sidecar),) = store_of(settings).entries()
    assert isinstance(sidecar, Sidecar)
    assert sidecar.verdict is not None
    return sidecar.verdict


def opened(package: Package, settings: EngineSettings, kind: str) -> tuple[Engine, str | None]:
    return open_engine(package, WANTED, settings=settings, makers=makers(kind))


def words(logs) -> list[str]:
    return [line["event"] for line in logs if line["event"].startswith("engine.")]


def test_an_engine_goes_through_its_life_and_the_next_start_takes_the_short_way(package, settings):
    with capture_logs() as logs:
        engine, stepped_down = opened(package, settings, "Built")
    assert (engine.name, stepped_down) == ("built", None)
    assert words(logs) == ["engine.building"] * 2 + ["engine.built", "engine.verified", "engine.active"]
    assert check(package, lambda batch: engine.infer(batch, deadline_seconds=10)).ok
    verdict = verdict_of(settings)
    assert verdict["ok"]
    assert verdict["reference"].startswith("ONNX Runtime")
    assert verdict["tensors"] == {
        "labels: largest difference": 0.0,
        "labels: largest difference by range": 0.0,
    }
    engine.unload()

    with capture_logs() as logs:
        again, _ = opened(package, settings, "Built")
    assert words(logs) == ["engine.verified", "engine.active"]
    again.unload()


def test_a_new_driver_is_a_new_engine(package, settings):
    opened(package, settings, "Built")[0].unload()
    with capture_logs() as logs:
        opened(package, replace(settings, device=7), "Built")[0].unload()
    assert "engine.built" in words(logs)
    assert len(store_of(settings).entries()) == 2


@pytest.mark.parametrize("kind", ["Wrong", "NotANumber", "Unloadable", "Segfaulting", "Refusing"])
def test_what_goes_wrong_is_passed_over_with_its_reason(package, settings, kind):
    says = {
        "Wrong": "3 of 3 golden cases came out different on this engine",
        "NotANumber": "The output 'labels' holds NaN for a golden case.",
        "Unloadable": "The device refused the engine.",
        "Segfaulting": "The engine could not be built. It was ended by signal SIGSEGV.",
        "Refusing": "Operator Foo is not known.",
    }
    engine, stepped_down = opened(package, settings, kind)
    assert engine.name == "cpu"
    assert stepped_down is not None
    assert says[kind] in stepped_down
    assert check(package, lambda batch: engine.infer(batch, deadline_seconds=10)).ok


def test_a_verdict_against_an_engine_is_remembered(package, settings):
    opened(package, settings, "Wrong")
    with capture_logs() as logs:
        _, stepped_down = opened(package, settings, "Wrong")
    assert words(logs)[:1] == ["engine.rejected"]
    assert "engine.building" not in words(logs)
    assert stepped_down is not None
    assert "golden cases came out different" in stepped_down
    verdict = verdict_of(settings)
    assert not verdict["ok"]
    assert verdict["cases"][0]["differences"]
    assert verdict["tensors"]["labels: largest difference"] > 0


def test_a_build_that_failed_is_not_tried_again_for_a_while(package, settings):
    patient = replace(settings, limits=replace(settings.limits, build_retry_seconds=0.0))
    for given, again in ((settings, True), (settings, False), (patient, True)):
        with capture_logs() as logs:
            _, stepped_down = opened(package, given, "Refusing")
        assert ("engine.building" in words(logs)) == again
        assert "Operator Foo is not known." in (stepped_down or "")
    first = open_now(package, WANTED, settings=settings, makers=makers("Refusing"))
    assert (first.engine.name, first.upgrade) == ("cpu", None)
    store = store_of(settings)
    ((key, _),) = store.entries()
    assert store.clear(key[:20]) == [key]
    assert open_now(package, WANTED, settings=settings, makers=makers("Refusing")).upgrade is not None


def test_a_kept_engine_that_was_meddled_with_is_built_anew(package, settings):
    opened(package, settings, "Built")[0].unload()
    store = store_of(settings)
    ((key, _),) = store.entries()
    network = store.root / key.removeprefix("sha256:") / package.manifest.network
    network.write_bytes(b"\0" * network.stat().st_size)
    with capture_logs() as logs:
        engine, stepped_down = opened(package, settings, "Built")
    assert (engine.name, stepped_down) == ("built", None)
    assert words(logs)[:2] == ["engine.rejected", "engine.building"]
    assert next(line for line in logs if line["event"] == "engine.rejected")["reason"] == (
        "A file of it was changed after it was built."
    )
    engine.unload()


def test_an_engine_that_is_in_use_cannot_be_pushed_out(package, settings):
    tight = replace(settings, limits=replace(settings.limits, store_engines_kept=1))
    engine, _ = opened(package, tight, "Built")
    opened(package, replace(tight, device=7), "Built")[0].unload()
    assert len(store_of(settings).entries()) == 2
    engine.unload()


def test_without_a_store_an_engine_is_built_and_nothing_is_kept(package, settings):
    engine, stepped_down = opened(package, replace(settings, store=None), "Built")
    assert (engine.name, stepped_down) == ("built", None)
    assert settings.store is not None
    assert not settings.store.exists()


def test_the_next_best_serves_until_a_better_engine_has_passed(package, settings):
    first = open_now(package, WANTED, settings=settings, makers=makers("Built"))
    assert first.engine.name == "cpu"
    assert first.stepped_down is not None
    assert "built: is being built" in first.stepped_down
    upgrade = first.upgrade
    assert upgrade is not None
    taken_over: list[tuple[Engine | None, str | None]] = []
    slow = threading.Thread(target=lambda: taken_over.append(upgrade()))
    slow.start()
    served = 0
    while slow.is_alive():
        assert check(package, lambda batch: first.engine.infer(batch, deadline_seconds=10)).ok
        served += 1
    slow.join()
    assert served > 0
    ((better, stepped_down),) = taken_over
    assert better is not None
    assert (better.name, stepped_down) == ("built", None)
    again = open_now(package, WANTED, settings=settings, makers=makers("Built"))
    assert (again.engine.name, again.stepped_down, again.upgrade) == ("built", None, None)


def test_a_better_engine_that_fails_leaves_the_one_that_serves_with_the_reason(package, settings):
    first = open_now(package, WANTED, settings=settings, makers=makers("Wrong"))
    assert first.upgrade is not None
    better, stepped_down = first.upgrade()
    assert better is None
    assert stepped_down is not None
    assert "golden cases came out different" in stepped_down
    assert first.engine.memory_bytes() > 0


def test_an_engine_that_was_refused_once_is_no_reason_to_build_again(package, settings):
    opened(package, settings, "Wrong")
    first = open_now(package, WANTED, settings=settings, makers=makers("Wrong"))
    assert (first.engine.name, first.upgrade) == ("cpu", None)


def test_when_nothing_serves_without_a_build_it_is_built_at_once(package, settings):
    first = open_now(package, ["built"], settings=settings, makers=makers("Built"))
    assert (first.engine.name, first.stepped_down, first.upgrade) == ("built", None, None)
    with pytest.raises(InferenceError) as caught:
        open_now(package, ["built"], settings=settings, makers=makers("Refusing"))
    assert caught.value.word == "inference.no_engine"


CRASH = """
import sys
from pathlib import Path
from appliance.inference.choose import open_engine
from appliance.inference.settings import EngineSettings
from tests.appliance.inference.fakes import makers
from tests.appliance.inference.given import bands
import numpy as np
engine, _ = open_engine(bands(), ["built"], settings=EngineSettings(store=Path(sys.argv[1])),
                        makers=makers(sys.argv[2]))
engine.infer({"image": np.zeros((1, 1, 8, 8), np.float32)}, deadline_seconds=float(sys.argv[3]))
"""


def ended(settings: EngineSettings, kind: str, *, deadline: float = 1.0) -> int:
    command = [sys.executable, "-P", "-c", CRASH, str(settings.store), kind, str(deadline)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode


@pytest.mark.parametrize("kind", ["CrashingAtLoad", "CrashingAtWork"])
def test_an_engine_that_takes_its_process_down_twice_is_left_alone(package, settings, kind):
    for _ in range(2):
        assert ended(settings, kind) == -signal.SIGSEGV
    engine, stepped_down = opened(package, settings, kind)
    assert engine.name == "cpu"
    assert stepped_down is not None
    assert "ended its process 2 times and is left alone" in stepped_down
    assert settings.store is not None
    quarantine = Quarantine(root=settings.store / "crashes", limits=settings.limits)
    ((crashes, quarantined),) = quarantine.entries()
    assert (crashes.engine, crashes.model, quarantined) == ("built", "ct-tissue-bands", True)
    assert quarantine.clear(crashes.key[:19]) == [crashes.key]
    quarantine.check(crashes.key)


def test_a_process_that_ends_by_itself_is_no_crash(package, settings):
    assert ended(settings, "CrashingAtWork", deadline=5.0) == 0
    engine, _ = opened(package, settings, "CrashingAtWork")
    assert engine.name == "built"
    engine.unload()


def test_two_crashes_of_an_engine_s_own_process_count(package, settings):
    says = [opened(package, settings, "DeadChild")[1] or "" for _ in range(3)]
    assert ["process ended by itself" in say for say in says] == [True, True, False]
    assert "left alone" in says[2]


def test_asking_for_a_device_may_crash(package, settings):
    found = makers("GoneWhileAsked", fragile=True, builds=False)
    engine, stepped_down = open_engine(package, WANTED, settings=settings, makers=found)
    assert engine.name == "cpu"
    assert stepped_down is not None
    assert "built: asking for its device failed: It was ended by signal SIGSEGV." in stepped_down


def test_the_processor_s_answers_are_worked_out_once_for_all_engines(package, settings, monkeypatch):
    opened(package, settings, "Built")[0].unload()
    calls: list[object] = []
    cpu = MAKERS["cpu"]

    def counted(given: EngineSettings) -> Engine:
        calls.append(given)
        return cpu(given)

    others: Makers = {**makers("Built"), "cpu": counted}
    other = open_engine(package, ["built"], settings=replace(settings, device=7), makers=others)[0]
    other.unload()
    assert calls == [], "another engine was judged by the answers on disk"
    (kept,) = (store_of(settings).root / "references").iterdir()
    data = bytearray(kept.read_bytes())
    data[-30] ^= 1
    kept.write_bytes(data)
    open_engine(package, ["built"], settings=replace(settings, device=8), makers=others)[0].unload()
    assert len(calls) == 1, "answers that were changed are worked out again"


def test_a_verdict_of_another_reference_is_asked_again(package, settings, monkeypatch):
    opened(package, settings, "Built")[0].unload()
    monkeypatch.setattr("appliance.inference.parity.PROCEDURE", "next")
    with capture_logs() as logs:
        opened(package, settings, "Built")[0].unload()
    assert words(logs) == ["engine.verified", "engine.active"]
    assert verdict_of(settings)["asked"].startswith("parity-next")
