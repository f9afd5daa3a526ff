"""ONNX Runtime on the processor: right answers, bounded time, nothing outside its file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from appliance.inference.cpu import OnnxRuntimeCpu
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_session import options_of
from models.package import Package
from tests.appliance.inference.given import bands, doubling, network, package_of, reaching_out, slow


def loaded(package: Package, limits: InferenceLimits | None = None) -> OnnxRuntimeCpu:
    engine = OnnxRuntimeCpu(limits)
    assert engine.probe().ok
    engine.load(engine.plan(package))
    return engine


def test_it_is_an_engine_and_answers_by_name(tmp_path: Path):
    engine: Engine = loaded(package_of(tmp_path, doubling()))
    image = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    answer = engine.infer({"image": image}, deadline_seconds=10)
    assert list(answer) == ["labels"]
    assert np.array_equal(answer["labels"], 2 * image)


def test_it_gives_its_memory_back(tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()))
    assert engine.memory_bytes() == (tmp_path / "model.onnx").stat().st_size
    engine.unload()
    assert engine.memory_bytes() == 0
    with pytest.raises(AssertionError):
        engine.infer({"image": np.zeros((1, 1, 1, 1), np.float32)}, deadline_seconds=1)


def test_a_call_is_ended_at_its_deadline_and_the_engine_lives_on(tmp_path: Path):
    engine = loaded(package_of(tmp_path, slow(2000)), InferenceLimits(threads_max=1))
    start = time.monotonic()
    with pytest.raises(InferenceError) as caught:
        engine.infer({"image": np.eye(512, dtype=np.float32)[None, None]}, deadline_seconds=0.2)
    assert caught.value.word == "inference.deadline"
    assert time.monotonic() - start < 5
    small = np.eye(3, dtype=np.float32)[None, None]
    assert np.array_equal(engine.infer({"image": small}, deadline_seconds=10)["labels"], small)


def test_a_call_that_failed_is_a_word(tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()))
    with pytest.raises(InferenceError) as caught:
        engine.infer({"image": np.zeros((1, 1, 2, 2), np.float64)}, deadline_seconds=10)
    assert caught.value.word == "inference.failed"


def test_weights_in_another_file_are_refused(tmp_path: Path):
    with pytest.raises(InferenceError, match="another file"):
        loaded(package_of(tmp_path, reaching_out(tmp_path)))


def test_weights_in_another_file_are_found_in_an_inner_graph(tmp_path: Path):
    (weight,) = reaching_out(tmp_path).graph.initializer
    constant = helper.make_node("Constant", [], ["inner"], value=weight)
    with pytest.raises(InferenceError, match="another file"):
        loaded(
            package_of(tmp_path, network([constant, helper.make_node("Add", ["image", "inner"], ["labels"])]))
        )


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x09" * 40])
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, content: bytes):
    package = package_of(tmp_path, doubling())
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InferenceError) as caught:
        loaded(package)
    assert caught.value.word == "inference.load"


def test_a_network_that_cannot_run_is_refused_when_it_is_loaded(tmp_path: Path):
    nodes = [helper.make_node("NoSuchOperator", ["image"], ["labels"])]
    with pytest.raises(InferenceError) as caught:
        loaded(package_of(tmp_path, network(nodes)))
    assert caught.value.word == "inference.load"


def test_the_plan_s_key_changes_with_whatever_could_change_the_answer(tmp_path: Path):
    package = bands()
    key = OnnxRuntimeCpu().plan(package).key
    assert key == OnnxRuntimeCpu().plan(package).key
    assert key != OnnxRuntimeCpu(InferenceLimits(threads_max=77)).plan(package).key
    other = Package(root=package.root, manifest=package.manifest, digest="sha256:00")
    assert key != OnnxRuntimeCpu().plan(other).key


def test_provenance_names_the_runtime_and_its_version():
    provenance = OnnxRuntimeCpu().provenance()
    assert provenance.text == f"ONNX Runtime {onnxruntime.__version__} CPU"
    assert provenance.details["provider"] == "CPUExecutionProvider"


def test_idle_threads_do_not_spin():
    options = options_of(InferenceLimits())
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
