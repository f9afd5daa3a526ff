"""Whichever TensorRT is installed is looked at in a child; one that crashes there is only a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.inference.engine import InferenceError
from appliance.inference.tensorrt import TensorRt
from appliance.inference.tensorrt.engine import PLAN
from appliance.inference.tensorrt.library import Library, NotUsable, find
from tests.appliance.inference.given import bands
from tests.appliance.inference.test_tensorrt import ROOT, without_device
from tests.wheels import unpacked

LEAN = "11.4.0.106"
SECONDS = 60


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules can be imported, here and in children."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return tmp_path


def module(place: Path, name: str, text: str) -> str:
    (place / f"{name}.py").write_text(text, encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"ended the process .*\(signal 11\)"),
        ("import os; os._exit(3)", "cannot be loaded"),
        ("raise OSError('libnvinfer.so.10: cannot open /secret/place')", r"cannot be loaded \(OSError\)"),
        ("__version__ = '1'", r"odd_trt 1 lacks Builder, BuilderFlag"),
    ],
    ids=["crashes", "ends", "misses a library", "is something else"],
)
def test_a_library_that_cannot_be_used_is_a_reason(place: Path, text: str, says: str):
    with pytest.raises(NotUsable, match=says) as caught:
        find((module(place, "odd_trt", text),), seconds_max=SECONDS)
    assert "secret" not in str(caught.value)


def test_a_library_that_hangs_is_a_reason(place: Path):
    name = module(place, "slow_trt", "import time; time.sleep(600)")
    with pytest.raises(NotUsable, match="did not load within 1 seconds"):
        find((name,), seconds_max=1)


def test_the_first_that_works_is_taken_and_remembered(place: Path):
    paper = "tests.appliance.inference.paper_tensorrt"
    broken = module(place, "broken_trt", "raise ImportError")
    modules = ("no_such_trt", broken, paper)
    assert find(modules, seconds_max=SECONDS) == Library(module=paper, version="99.1")
    (place / "broken_trt.py").unlink()
    assert find(modules, seconds_max=0.0).module == paper


_DESERIALISE = """
import tensorrt_lean_bindings as library
runtime = library.Runtime(library.Logger())
print("made", flush=True)
runtime.deserialize_cuda_engine(b"ftrt" + bytes(4096))
print("survived", flush=True)
"""


@pytest.mark.long
def test_a_lean_runtime_never_ends_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a device it makes a runtime that is none, and the first use of it ends the process.

    The adapter asks the driver before it loads anything, so it never gets there.
    """
    without_device()
    bindings = unpacked(f"tensorrt-lean-cu13-bindings=={LEAN}")
    libraries = unpacked(f"tensorrt-lean-cu13-libs=={LEAN}")
    path = os.pathsep.join([str(bindings), str(libraries), str(ROOT)])
    child = subprocess.run(
        [sys.executable, "-P", "-c", _DESERIALISE],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "made" in child.stdout
    assert child.returncode < 0, "this version no longer crashes: its notes and docs can be shortened"
    monkeypatch.setenv("PYTHONPATH", path)
    for folder in (bindings, libraries):
        monkeypatch.syspath_prepend(folder)
    (tmp_path / PLAN).write_bytes(b"ftrt" + bytes(4096))
    engine = TensorRt(modules=("tensorrt_lean_bindings",))
    assert not engine.probe().ok
    with pytest.raises(InferenceError, match="no NVIDIA driver") as caught:
        engine.load(engine.plan(bands()), folder=tmp_path)
    assert caught.value.word == "inference.load"
    with pytest.raises(NotUsable, match=f"{LEAN} lacks .*Builder"):
        find(("tensorrt_lean_bindings",), seconds_max=SECONDS)
    assert not [name for name in sys.modules if name.startswith("tensorrt_lean")]
