"""TensorRT as an engine: what it says without a device, and an engine's whole life on a device on paper."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from appliance.inference.engine import Engine, InferenceError
from appliance.inference.gate import GoldenGate
from appliance.inference.limits import InferenceLimits
from appliance.inference.settings import EngineSettings
from appliance.inference.tensorrt import TensorRt
from appliance.inference.tensorrt.engine import PLAN, TIMING_CACHE
from models.catalogue import shipped
from models.package import Package
from tests.appliance.inference.compiled import shared_library
from tests.appliance.inference.given import bands, doubling, network, package_of
from tests.appliance.inference.paper_cuda import PaperCuda
from tests.appliance.inference.trt_child import RTX, build_package, installed

ROOT = Path(__file__).resolve().parents[3]
PAPER = ("tests.appliance.inference.paper_tensorrt",)
_DRIVER = """
#include <string.h>
#include <stddef.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Paper", size); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 268435456u; return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, 1, 16); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 9 : which == 18 ? %d : 0; return 0;
}
"""


def without_device() -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")


def device(monkeypatch: pytest.MonkeyPatch, *, integrated: bool = False) -> PaperCuda:
    """Put a device on paper in the place of one: a driver (compute capability 9.0) and CUDA's own calls."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(shared_library("libcuda.so.1", _DRIVER % integrated)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cuda = PaperCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    return cuda


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> PaperCuda:
    return device(monkeypatch)


SMALL = EngineSettings(limits=InferenceLimits(profile_side=64))


def loaded(package: Package, folder: Path, **kind) -> TensorRt:
    engine = TensorRt(SMALL, modules=PAPER, **kind)
    assert engine.probe().ok, engine.probe().reason
    plan = engine.plan(package)
    built = folder / "built"
    built.mkdir()
    engine.build(plan, folder=built)
    engine.load(plan, folder=built)
    return engine


def picture(*shape: int) -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}


def test_without_a_device_the_probe_says_so_and_nothing_is_loaded(tmp_path: Path):
    without_device()
    engine: Engine = TensorRt()
    probe = engine.probe()
    assert not probe.ok
    assert probe.reason == "no NVIDIA driver is installed"
    (tmp_path / PLAN).write_bytes(b"anything")
    with pytest.raises(InferenceError, match="no NVIDIA driver") as caught:
        engine.load(engine.plan(bands()), folder=tmp_path)
    assert caught.value.word == "inference.load"
    assert engine.memory_bytes() == 0


def test_where_it_is_not_installed_the_reason_names_the_extra(paper: PaperCuda):
    probe = TensorRt(modules=("no_such_tensorrt",)).probe()
    assert not probe.ok
    assert "not installed (extra: tensorrt or tensorrt-rtx)" in probe.reason


def test_a_device_that_rtx_has_no_code_for_is_refused_by_name(paper: PaperCuda):
    if not installed():
        pytest.skip("TensorRT-RTX is not installed")
    probe = TensorRt(modules=RTX).probe()
    assert not probe.ok
    assert "does not support Paper (compute capability 9.0)" in probe.reason


def test_rtx_builds_a_package_without_a_device(tmp_path: Path):
    without_device()
    path = next(path for path in shipped() if path.name == "ct-phantom-lesion")
    report, shown = build_package(path, tmp_path)
    assert report.files == (PLAN,)
    assert report.details["plan_bytes"] == (tmp_path / PLAN).stat().st_size
    assert report.details["profile"]["image"] == "1x1x64x64x64..2x1x64x64x64..8x1x64x64x64"
    assert report.details["targets"] == []
    assert report.details["tf32"] is False
    assert report.details["module"] in RTX
    assert shown[-1] == 1.0


def test_the_full_library_does_not_build_without_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without_device()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    engine = TensorRt(modules=PAPER)
    with pytest.raises(InferenceError, match="cannot build here: no NVIDIA driver") as caught:
        engine.build(engine.plan(bands()), folder=tmp_path)
    assert caught.value.word == "inference.build"


def test_the_key_changes_with_whatever_could_change_the_engine(paper: PaperCuda):
    package = bands()
    plan = TensorRt(modules=PAPER).plan(package)
    assert plan.key == TensorRt(modules=PAPER).plan(package).key
    assert {"package", "runtime", "device", "compute_capability", "driver", "profile image", "tf32"} <= set(
        plan.parts
    )
    others = [
        TensorRt(modules=PAPER, tf32=True).plan(package),
        TensorRt(modules=("no_such_tensorrt",)).plan(package),
        TensorRt(EngineSettings(device=7), modules=PAPER).plan(package),
        TensorRt(EngineSettings(limits=InferenceLimits(workspace_bytes_max=2**20)), modules=PAPER).plan(
            package
        ),
        TensorRt(EngineSettings(limits=InferenceLimits(profile_batch_max=9)), modules=PAPER).plan(package),
        TensorRt(modules=PAPER).plan(
            Package(root=package.root, manifest=package.manifest, digest="sha256:00")
        ),
    ]
    assert len({plan.key, *(other.key for other in others)}) == 7


def test_on_a_device_it_builds_loads_answers_and_gives_all_back(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    given = picture(2, 1, 16, 20)
    answer = engine.infer(given, deadline_seconds=10)
    assert np.array_equal(answer["labels"], 2 * given["image"])
    assert engine.memory_bytes() > 1000
    assert engine.provenance().text == "TensorRT 99.1 on Paper"
    engine.unload()
    assert (paper.held, paper.handles, engine.memory_bytes()) == ({}, 0, 0)


def test_the_golden_cases_pass_through_it(paper: PaperCuda, tmp_path: Path):
    engine = loaded(bands(), tmp_path)
    assert GoldenGate().admit(bands(), engine).ok
    engine.unload()
    assert paper.held == {}


def test_the_report_is_read_back_from_the_engine(paper: PaperCuda, tmp_path: Path):
    engine = TensorRt(modules=PAPER)
    report = engine.build(engine.plan(package_of(tmp_path, doubling())), folder=tmp_path)
    assert report.files == (PLAN, TIMING_CACHE)
    assert report.details["layers"] == {
        "read_from": "engine inspector",
        "count": 1,
        "kinds": {"Myelin": 1},
        "types": {"Row major linear FP32": 1},
    }
    again = engine.build(engine.plan(package_of(tmp_path, doubling())), folder=tmp_path)
    assert again.details["timing_cache_bytes"] == 2 * report.details["timing_cache_bytes"]


def test_calls_of_one_shape_become_a_graph_and_another_shape_ends_it(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    for played in (0, 1, 2):
        given = picture(1, 1, 16, 16 + played * 0)
        given["image"] += played
        assert np.array_equal(engine.infer(given, deadline_seconds=10)["labels"], 2 * given["image"])
        assert paper.played == played
    other = picture(2, 1, 32, 16)
    assert np.array_equal(engine.infer(other, deadline_seconds=10)["labels"], 2 * other["image"])
    assert paper.played == 2
    engine.unload()
    assert paper.handles == 0


def test_graphs_can_be_left_out(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path, graphs=False)
    for _ in range(3):
        engine.infer(picture(1, 1, 16, 16), deadline_seconds=10)
    assert paper.played == 0


def test_an_engine_that_cannot_be_recorded_runs_call_by_call(
    paper: PaperCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    handles = paper.handles
    refused = (paper.cudaError_t.cudaErrorInvalidValue, None)
    monkeypatch.setattr(paper, "cudaGraphInstantiate", lambda graph, flags: refused, raising=False)
    for _ in range(3):
        given = picture(1, 1, 16, 16)
        assert np.array_equal(engine.infer(given, deadline_seconds=10)["labels"], 2 * given["image"])
    assert (paper.played, paper.handles) == (0, handles)


def test_a_batch_larger_than_the_profile_is_cut(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    given = picture(19, 1, 16, 16)
    assert np.array_equal(engine.infer(given, deadline_seconds=10)["labels"], 2 * given["image"])


def test_a_device_that_shares_its_memory_copies_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paper = device(monkeypatch, integrated=True)
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    given = picture(1, 1, 16, 16)
    assert np.array_equal(engine.infer(given, deadline_seconds=10)["labels"], 2 * given["image"])
    assert paper.calls == []
    engine.unload()
    assert paper.held == {}


def test_a_call_past_its_deadline_is_given_up_and_the_engine_lives_on(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    paper.hung = True
    start = time.monotonic()
    with pytest.raises(InferenceError) as caught:
        engine.infer(picture(1, 1, 16, 16), deadline_seconds=0.1)
    assert caught.value.word == "inference.deadline"
    assert time.monotonic() - start < 30
    paper.hung = False
    given = picture(1, 1, 16, 16)
    assert np.array_equal(engine.infer(given, deadline_seconds=10)["labels"], 2 * given["image"])


def test_a_device_that_fails_is_a_word(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    paper.broken = True
    with pytest.raises(InferenceError, match="cudaErrorLaunchFailure") as caught:
        engine.infer(picture(1, 1, 16, 16), deadline_seconds=1)
    assert caught.value.word == "inference.failed"


def test_a_device_that_hangs_is_given_up(paper: PaperCuda, tmp_path: Path):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    engine._settings = EngineSettings(limits=InferenceLimits(unload_seconds_max=0.1))
    paper.hung = True
    engine.unload()
    assert engine.memory_bytes() == 0


def test_too_little_memory_is_a_word_and_leaves_nothing_behind(paper: PaperCuda, tmp_path: Path):
    paper.memory_bytes = 1000
    with pytest.raises(InferenceError) as caught:
        loaded(package_of(tmp_path, doubling()), tmp_path)
    assert caught.value.word == "inference.memory"
    assert (paper.held, paper.handles) == ({}, 0)


@pytest.mark.parametrize(
    "batch",
    [picture(1, 1, 8, 16), picture(1, 1, 16, 4096), picture(1, 2, 16, 16), {}],
    ids=["too small", "too large", "channels", "nothing"],
)
def test_what_the_engine_was_not_built_for_is_refused(
    paper: PaperCuda, tmp_path: Path, batch: Mapping[str, np.ndarray]
):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    with pytest.raises(InferenceError) as caught:
        engine.infer(batch, deadline_seconds=10)
    assert caught.value.word == "inference.failed"


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"ftrt"])
def test_a_plan_the_library_does_not_take_is_refused(paper: PaperCuda, tmp_path: Path, content: bytes):
    (tmp_path / PLAN).write_bytes(content)
    engine = TensorRt(modules=PAPER)
    with pytest.raises(InferenceError, match="Magic tag") as caught:
        engine.load(engine.plan(bands()), folder=tmp_path)
    assert caught.value.word == "inference.load"
    assert "/usr" not in caught.value.sentence
    assert paper.held == {}


def test_nothing_built_is_nothing_to_load(paper: PaperCuda, tmp_path: Path):
    engine = TensorRt(modules=PAPER)
    for folder in (tmp_path, None):
        with pytest.raises(InferenceError, match="no built engine"):
            engine.load(engine.plan(bands()), folder=folder)


def test_an_answer_of_unknown_size_is_refused(
    paper: PaperCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = loaded(package_of(tmp_path, doubling()), tmp_path)
    assert engine._session is not None
    monkeypatch.setattr(engine._session._context, "get_tensor_shape", lambda name: (-1, 4))
    with pytest.raises(InferenceError, match="depends on what is in it"):
        engine.infer(picture(1, 1, 16, 16), deadline_seconds=10)


def test_the_network_is_doubled_not_copied():
    """Guard the tests above: doubling must not be what an engine that does nothing answers."""
    assert network([helper.make_node("Add", ["image", "image"], ["labels"])]) == doubling()
