"""OpenVINO: the answers of ONNX Runtime, bounded time, nothing sent to anybody."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.limits import InferenceLimits
from appliance.inference.openvino import OpenVino
from appliance.inference.settings import EngineSettings
from models.catalogue import shipped
from models.package import Package, open_package
from tests.appliance.inference.given import bands, doubling, network, package_of, reaching_out, slow
from tests.appliance.inference.unet3d import INPUT, OUTPUT, unet3d

_SS_DISABLE = 2


class _Stack(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@pytest.fixture(autouse=True)
def own_stack_of_signals() -> Iterator[None]:
    """Take back the stack on which signals are handled.

    OpenVINO lays one of its own for AMX and frees it with its last engine, but the kernel still knows it: the
    next signal, a Ctrl-C, would end this process without a word.
    """
    yield
    none = _Stack(None, _SS_DISABLE, 0)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(none), None) == 0


def loaded(package: Package, limits: InferenceLimits | None = None) -> OpenVino:
    engine = OpenVino(EngineSettings(limits=limits or InferenceLimits()))
    assert engine.probe().ok
    engine.load(engine.plan(package))
    return engine


def test_it_is_an_engine_and_answers_by_name(tmp_path: Path):
    engine: Engine = loaded(package_of(tmp_path, doubling()))
    image = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    answer = engine.infer({"image": image}, deadline_seconds=10)
    assert list(answer) == ["labels"]
    assert np.array_equal(answer["labels"], 2 * image)


def test_an_answer_stays_as_it_was_when_the_next_one_comes(tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()))
    image = np.ones((1, 1, 3, 4), np.float32)
    first = engine.infer({"image": image}, deadline_seconds=10)["labels"]
    engine.infer({"image": 5 * image}, deadline_seconds=10)
    assert np.array_equal(first, 2 * image)


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_it_agrees_with_the_golden_cases_of_every_package_that_ships(path: Path):
    package = open_package(path)
    assert GoldenGate().admit(package, loaded(package)).ok


def test_it_agrees_with_onnx_runtime_on_a_3d_network_in_changing_batches(tmp_path: Path):
    package = package_of(tmp_path, unet3d(base=8, levels=3, patch=16))
    reference = OnnxRuntimeCpu()
    reference.load(reference.plan(package))
    engine = loaded(package)
    random = np.random.default_rng(3)
    for size in (1, 3, 2):
        batch = {INPUT: random.standard_normal((size, 1, 16, 16, 16)).astype(np.float32)}
        wanted = reference.infer(batch, deadline_seconds=60)[OUTPUT]
        found = engine.infer(batch, deadline_seconds=60)[OUTPUT]
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_call_is_ended_at_its_deadline_and_the_engine_lives_on(tmp_path: Path):
    engine = loaded(package_of(tmp_path, slow(300)), InferenceLimits(threads_max=1))
    start = time.monotonic()
    with pytest.raises(InferenceError) as caught:
        engine.infer({"image": np.eye(1024, dtype=np.float32)[None, None]}, deadline_seconds=0.2)
    assert caught.value.word == "inference.deadline"
    assert time.monotonic() - start < 30
    small = np.eye(3, dtype=np.float32)[None, None]
    assert np.array_equal(engine.infer({"image": small}, deadline_seconds=10)["labels"], small)


@pytest.mark.parametrize(
    "batch",
    [
        {"image": np.zeros((1, 1, 2, 2), np.float64)},
        {"image": np.zeros((1, 2, 2, 2), np.float32)},
        {"image": np.zeros((1, 2, 2), np.float32)},
        {"picture": np.zeros((1, 1, 2, 2), np.float32)},
        {},
    ],
    ids=["type", "channels", "axes", "name", "nothing"],
)
def test_what_the_network_does_not_take_is_refused_and_never_cast(tmp_path: Path, batch: dict):
    engine = loaded(package_of(tmp_path, doubling()))
    with pytest.raises(InferenceError) as caught:
        engine.infer(batch, deadline_seconds=10)
    assert caught.value.word == "inference.failed"


def test_a_call_that_failed_is_a_word(tmp_path: Path):
    nodes = [helper.make_node("MatMul", ["image", "image"], ["labels"])]
    engine = loaded(package_of(tmp_path, network(nodes)))
    with pytest.raises(InferenceError) as caught:
        engine.infer({"image": np.zeros((1, 1, 2, 3), np.float32)}, deadline_seconds=10)
    assert caught.value.word == "inference.failed"


def test_weights_in_another_file_are_refused(tmp_path: Path):
    with pytest.raises(InferenceError, match="another file"):
        loaded(package_of(tmp_path, reaching_out(tmp_path)))


def test_a_network_that_cannot_run_is_refused_when_it_is_loaded(tmp_path: Path):
    nodes = [helper.make_node("NoSuchOperator", ["image"], ["labels"])]
    with pytest.raises(InferenceError) as caught:
        loaded(package_of(tmp_path, network(nodes)))
    assert caught.value.word == "inference.load"


def test_it_gives_its_memory_back(tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()))
    assert engine.memory_bytes() == (tmp_path / "model.onnx").stat().st_size
    engine.unload()
    assert engine.memory_bytes() == 0
    with pytest.raises(AssertionError):
        engine.infer({"image": np.zeros((1, 1, 1, 1), np.float32)}, deadline_seconds=1)


def test_the_library_was_told_what_the_provenance_says(tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), InferenceLimits(threads_max=1))
    compiled = engine._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert engine.provenance().details["inference_num_threads"] == "1"
    assert engine.provenance().details["inference_precision_hint"] == "f32"


def test_the_plan_s_key_changes_with_whatever_could_change_the_answer():
    package = bands()
    plan = OpenVino().plan(package)
    assert plan.key == OpenVino().plan(package).key
    assert plan.key != OpenVino(EngineSettings(limits=InferenceLimits(threads_max=77))).plan(package).key
    assert plan.key != OpenVino(hint="THROUGHPUT").plan(package).key
    other = Package(root=package.root, manifest=package.manifest, digest="sha256:00")
    assert plan.key != OpenVino().plan(other).key


def test_idle_threads_do_not_spin(tmp_path: Path):
    engine = loaded(package_of(tmp_path, slow(20)))
    engine.infer({"image": np.eye(256, dtype=np.float32)[None, None]}, deadline_seconds=60)
    before, start = time.process_time(), time.monotonic()
    time.sleep(1.0)
    # A thread that spins burns as much as passes; whatever else wakes up in this process burns far less.
    assert time.process_time() - before < 0.5 * (time.monotonic() - start)


_WATCHED = """
import json, sys
seen = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn"):
        seen.append(event)
        raise OSError("nothing may be sent")
sys.addaudithook(watch)
from appliance.inference.openvino import OpenVino
assert OpenVino().probe().ok
import openvino.tools.ovc as converter
sender = converter.telemetry_utils.tm.__name__ if hasattr(converter, "telemetry_utils") else ""
loaded = [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module is not None]
print(json.dumps({"seen": seen, "loaded": loaded, "sender": sender}))
"""


def test_telemetry_is_shut_out(tmp_path: Path):
    """Importing OpenVINO sends an event through its sender: the sender must never be loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told == {"seen": [], "loaded": [], "sender": "openvino.tools.ovc.telemetry_stub"}
    assert not (tmp_path / "intel").exists(), "its sender keeps an identity in the home folder"
