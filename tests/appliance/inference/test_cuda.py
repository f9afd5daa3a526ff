"""ONNX Runtime on CUDA: what can be known without a device, and its calls over a device on paper."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from appliance.inference.cuda import OnnxRuntimeCuda
from appliance.inference.cuda_memory import Buffer, Cuda
from appliance.inference.cuda_session import CudaSession, Place, _fault_of, provider_options
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import read_network
from appliance.inference.settings import EngineSettings
from models.package import Package
from tests.appliance.inference.given import bands, doubling, network, package_of, slow
from tests.appliance.inference.paper_cuda import PaperCuda
from tests.appliance.inference.test_tensorrt import device, without_device


class OnPaper(OnnxRuntimeCuda):
    """The engine with the processor in the place of the device's provider; its memory is on paper."""

    provider = "CPUExecutionProvider"
    memory = "cpu"

    def _opened(self, network, device, *, graph):
        options = {"enable_cuda_graph": str(int(graph))}
        place = Place(provider=self.provider, memory=self.memory, ordinal=0, options=options)
        return self._on(device, network, place)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> PaperCuda:
    return device(monkeypatch)


def loaded(package: Package, limits: InferenceLimits | None = None) -> OnPaper:
    engine = OnPaper(EngineSettings(limits=limits or InferenceLimits()))
    assert engine.probe().ok, engine.probe().reason
    engine.load(engine.plan(package))
    return engine


def fixed() -> onnx.ModelProto:
    """A network whose every axis is fixed."""
    return network([helper.make_node("Add", ["image", "image"], ["labels"])], shape=(1, 1, 4, 4))


def test_without_a_device_the_probe_says_so_and_load_refuses():
    without_device()
    engine: Engine = OnnxRuntimeCuda()
    assert engine.probe().reason == "no NVIDIA driver is installed"
    with pytest.raises(InferenceError, match="cannot use CUDA here: no NVIDIA driver") as caught:
        engine.load(engine.plan(bands()))
    assert caught.value.word == "inference.load"


def test_with_a_device_but_the_plain_package_the_reason_names_the_extra(paper: PaperCuda):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("the package for CUDA is installed")
    assert OnnxRuntimeCuda().probe().reason == "this build of ONNX Runtime has no CUDA provider (extra: cuda)"


def test_a_silent_step_down_to_the_processor_is_an_error(tmp_path: Path):
    """ONNX Runtime leaves out a provider it cannot use, and goes on; here it really does."""
    without_device()
    file = read_network(package_of(tmp_path, doubling()).onnx_path())
    place = Place(provider="CUDAExecutionProvider", memory="cuda", ordinal=0, options={})
    with pytest.raises(InferenceError, match="took CPUExecutionProvider instead of CUDA") as caught:
        CudaSession(file, Cuda(0, runtime=PaperCuda()), place, InferenceLimits())
    assert caught.value.word == "inference.load"


def test_the_options_say_everything_that_changes_an_answer():
    plain = provider_options(3, memory_bytes_max=None, tf32=False, graph=False)
    assert plain["device_id"] == "3"
    assert plain["use_tf32"] == "0"
    assert plain["enable_cuda_graph"] == "0"
    assert "gpu_mem_limit" not in plain
    bound = provider_options(0, memory_bytes_max=2**30, tf32=True, graph=True)
    assert (bound["gpu_mem_limit"], bound["use_tf32"], bound["enable_cuda_graph"]) == ("1073741824", "1", "1")


def test_the_key_changes_with_device_driver_and_options(paper: PaperCuda):
    package = bands()
    plan = OnPaper().plan(package)
    assert plan.key == OnPaper().plan(package).key
    assert {"compute_capability", "driver", "device", "tf32"} <= set(plan.parts)
    others = [
        OnPaper(tf32=True).plan(package),
        OnPaper(graphs=False).plan(package),
        OnPaper(EngineSettings(device=5)).plan(package),
        OnPaper(EngineSettings(memory_bytes_max=2**30)).plan(package),
    ]
    assert len({plan.key, *(other.key for other in others)}) == 5


def test_it_answers_in_changing_shapes_and_gives_all_back(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()))
    for shape in ((1, 1, 3, 4), (2, 1, 8, 8), (1, 1, 2, 2)):
        image = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        answer = engine.infer({"image": image}, deadline_seconds=10)
        assert np.array_equal(answer["labels"], 2 * image)
    assert engine.provenance().details["nodes_elsewhere"] == "0"
    assert engine.memory_bytes() > 0
    engine.unload()
    assert (paper.held, paper.handles, engine.memory_bytes()) == ({}, 0, 0)


def test_a_network_of_fixed_shapes_is_bound_for_good(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, fixed()))
    assert engine._session is not None
    binding = engine._session._fixed
    assert binding is not None
    first = np.ones((1, 1, 4, 4), np.float32)
    kept = engine.infer({"image": first}, deadline_seconds=10)["labels"]
    assert np.array_equal(engine.infer({"image": 5 * first}, deadline_seconds=10)["labels"], 10 * first)
    assert np.array_equal(kept, 2 * first), "an answer is not overwritten by the next"
    assert engine._session._fixed is binding
    engine.unload()
    assert (paper.held, paper.handles) == ({}, 0)


def test_a_network_that_cannot_be_captured_runs_call_by_call(
    paper: PaperCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = package_of(tmp_path, fixed())
    opened = OnPaper._opened

    def fussy(self, network, device, *, graph):
        if graph:
            raise InferenceError("inference.load", "The network cannot be captured.")
        return opened(self, network, device, graph=graph)

    monkeypatch.setattr(OnPaper, "_opened", fussy)
    engine = loaded(package)
    assert engine.provenance().details["graph"] == "False"
    image = np.ones((1, 1, 4, 4), np.float32)
    assert np.array_equal(engine.infer({"image": image}, deadline_seconds=10)["labels"], 2 * image)


def test_the_golden_cases_pass_through_it(paper: PaperCuda):
    assert GoldenGate().admit(bands(), loaded(bands())).ok


def test_a_call_is_ended_at_its_deadline_and_the_engine_lives_on(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, slow(300)), InferenceLimits(threads_max=1))
    start = time.monotonic()
    with pytest.raises(InferenceError) as caught:
        engine.infer({"image": np.eye(1024, dtype=np.float32)[None, None]}, deadline_seconds=0.3)
    assert caught.value.word == "inference.deadline"
    assert time.monotonic() - start < 30
    small = np.eye(3, dtype=np.float32)[None, None]
    assert np.array_equal(engine.infer({"image": small}, deadline_seconds=10)["labels"], small)


def test_a_call_that_failed_is_a_word(paper: PaperCuda, tmp_path: Path):
    nodes = [helper.make_node("MatMul", ["image", "image"], ["labels"])]
    engine = loaded(package_of(tmp_path, network(nodes)))
    for batch in ({"image": np.zeros((1, 1, 2, 3), np.float32)}, {"image": np.zeros((1, 1, 2, 2))}, {}):
        with pytest.raises(InferenceError) as caught:
            engine.infer(batch, deadline_seconds=10)
        assert caught.value.word == "inference.failed"


def test_too_little_memory_is_a_word_and_leaves_nothing_behind(paper: PaperCuda, tmp_path: Path):
    paper.memory_bytes = 10
    with pytest.raises(InferenceError) as caught:
        loaded(package_of(tmp_path, doubling()))
    assert caught.value.word == "inference.memory"
    assert (paper.held, paper.handles) == ({}, 0)


def test_a_network_that_cannot_run_is_refused_and_leaves_nothing_behind(paper: PaperCuda, tmp_path: Path):
    nodes = [helper.make_node("NoSuchOperator", ["image"], ["labels"])]
    with pytest.raises(InferenceError) as caught:
        loaded(package_of(tmp_path, network(nodes)))
    assert caught.value.word == "inference.load"
    assert (paper.held, paper.handles) == ({}, 0)


def test_a_refused_cuda_call_is_named():
    with pytest.raises(InferenceError, match="CUDA refused cudaSetDevice") as caught:
        Cuda(3, runtime=PaperCuda())
    assert caught.value.word == "inference.failed"


def test_memory_grows_only_and_says_when_it_moved():
    cuda = PaperCuda()
    buffer = Buffer(Cuda(0, runtime=cuda))
    cuda.memory_bytes = 250
    with pytest.raises(InferenceError, match="no memory left"):
        buffer.reserve(200)
    buffer.free()
    assert cuda.held == {}
    cuda.memory_bytes = 1000
    assert buffer.reserve(100)
    assert not buffer.reserve(10)
    assert buffer.reserve(200)
    assert len(cuda.held) == 2
    with pytest.raises(AssertionError):
        buffer.array((300,), np.dtype(np.uint8))
    buffer.free()
    assert cuda.held == {}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("BFCArena: Failed to allocate memory for requested buffer of size 1024", "inference.memory"),
        ("CUDA failure 2: out of memory ; GPU=0", "inference.memory"),
        ("CUDNN failure 3000: CUDNN_STATUS_NOT_SUPPORTED", "inference.failed"),
    ],
)
def test_a_full_device_is_told_from_one_that_failed(text: str, word: str):
    assert _fault_of(RuntimeError(text)).word == word


def test_the_real_package_for_cuda_is_not_loaded_to_say_no():
    without_device()
    before = set(sys.modules)
    OnnxRuntimeCuda().probe()
    assert not [name for name in set(sys.modules) - before if name.startswith("cuda")]
    assert shutil.which("nvidia-smi") is None
