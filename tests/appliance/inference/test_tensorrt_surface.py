"""What the adapter uses exists in the real bindings of TensorRT 10.3 to 11.4, and it uses nothing else.

The bindings are NVIDIA's own; the libraries they link to are stand-ins without content, so that they import.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import appliance.inference.tensorrt as adapter
from appliance.inference import cuda_memory
from appliance.inference.tensorrt import surface
from tests.appliance.inference.compiled import shared_library
from tests.wheels import unpacked

BINDINGS = [
    ("tensorrt-cu12-bindings==10.3.0", 10),
    ("tensorrt-cu12-bindings==10.13.3.9", 10),
    ("tensorrt-cu13-bindings==11.0.0.114", 11),
    ("tensorrt-cu13-bindings==11.4.0.106", 11),
]
_STAND_IN = """
void *createInferBuilder_INTERNAL(void *a, int b) { return 0; }
void *createInferRefitter_INTERNAL(void *a, void *b, int c) { return 0; }
void *createInferRuntime_INTERNAL(void *a, int b) { return 0; }
void *createNvOnnxParserRefitter_INTERNAL(void *a, void *b, int c) { return 0; }
void *createNvOnnxParser_INTERNAL(void *a, void *b, int c) { return 0; }
void *getBuilderPluginRegistry(int a) { return 0; }
void *getPluginRegistry(void) { return 0; }
int getNvOnnxParserVersion(void) { return 0; }
int initLibNvInferPlugins(void *a, const char *b) { return 0; }
"""
_SIGNATURES = """
import json, sys
import tensorrt_bindings as library
from appliance.inference.tensorrt.surface import NEEDED
told = {}
for owner, names in NEEDED.items():
    for name in names:
        thing = getattr(getattr(library, owner), name) if owner else None
        lines = (getattr(thing, "__doc__", None) or "").splitlines()
        signatures = [line for line in lines if name + "(self: " in line]
        if signatures:
            told[owner + "." + name] = signatures
print(json.dumps(told))
"""
ROOT = Path(__file__).resolve().parents[3]


def stand_ins(major: int) -> str:
    """Give where the libraries lie that the bindings of a major version are linked to."""
    names = [f"lib{name}.so.{major}" for name in ("nvinfer", "nvinfer_plugin", "nvonnxparser")]
    return os.pathsep.join(str(shared_library(name, _STAND_IN)) for name in names)


def asked(arguments: list[str], *, bindings: Path, libraries: str) -> dict:
    environment = os.environ | {
        "PYTHONPATH": f"{bindings}{os.pathsep}{ROOT}",
        "LD_LIBRARY_PATH": libraries,
    }
    command = [sys.executable, "-P", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert isinstance(told, dict)
    return told


@pytest.mark.parametrize(("requirement", "major"), BINDINGS)
def test_every_needed_name_is_in_the_real_bindings(requirement: str, major: int):
    told = asked(
        [str(surface.__file__), "tensorrt_bindings"],
        bindings=unpacked(requirement),
        libraries=stand_ins(major),
    )
    assert told["version"] == requirement.partition("==")[2]
    assert told["missing"] == []
    assert told["capabilities"] == [], "the full library builds beside a device only"


def test_every_needed_method_takes_the_same_arguments_from_10_3_to_11_4():
    """The adapter passes arguments by position: their number and order must not have moved."""
    oldest, newest = (
        asked(["-c", _SIGNATURES], bindings=unpacked(requirement), libraries=stand_ins(major))
        for requirement, major in (BINDINGS[0], BINDINGS[-1])
    )
    assert len(oldest) > 20
    for name, signatures in oldest.items():
        # Of several forms the first is the one the adapter uses: bytes, not a reader of streams.
        assert arguments(signatures[0]) in [arguments(text) for text in newest[name]], name


def arguments(signature: str) -> list[str]:
    """Read the names of a documented signature, without the optional ones at its end."""
    inside = signature.partition("(")[2].rpartition(") ->")[0]
    return [part.partition(":")[0].strip() for part in inside.split(", ") if "=" not in part and ":" in part]


def test_every_needed_name_is_in_tensorrt_rtx():
    for module in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            done = subprocess.run(
                [sys.executable, "-P", str(surface.__file__), module],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        if done.returncode == 0:
            told = json.loads(done.stdout)
            assert told["missing"] == []
            assert "SM89" in told["capabilities"]
            return
    pytest.skip("TensorRT-RTX is not installed")


def uses() -> Iterator[tuple[str, str]]:
    """Give (variable, name) of every attribute the adapter takes of one of the library's objects."""
    for path in sorted(Path(str(adapter.__file__)).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
                continue
            holder = node.value
            name = holder.id if isinstance(holder, ast.Name) else getattr(holder, "attr", "").lstrip("_")
            if name in surface.HELD_AS:
                yield name, node.attr
            elif isinstance(holder, ast.Attribute) and getattr(holder.value, "id", "") == "library":
                yield f"library.{holder.attr}", node.attr


def test_the_adapter_uses_no_name_that_is_not_on_the_list():
    """The list is what the bindings are checked against, so it must hold all that the sources use."""
    listed = {
        (owner, name)
        for table in (surface.NEEDED, surface.EXTRAS)
        for owner, names in table.items()
        for name in names
    }
    used = {(surface.HELD_AS.get(variable, variable.partition(".")[2]), name) for variable, name in uses()}
    assert len(used) > 40
    assert used - listed == set()


def test_the_list_holds_no_name_that_nothing_uses():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in Path(str(adapter.__file__)).parent.glob("*.py")
        if path.name != "surface.py"
    )
    unused = [
        f"{owner}.{name}"
        for table in (surface.NEEDED, surface.EXTRAS)
        for owner, names in table.items()
        for name in names
        if name not in sources and name != "__version__"
    ]
    assert unused == []


def test_every_cuda_call_is_in_nvidia_s_own_package():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    tree = ast.parse(inspect.getsource(cuda_memory))
    called = {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "call"
        and isinstance(node.args[0], ast.Constant)
    }
    named = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("cuda") and node.attr != "cuda"
    }
    assert len(called) > 12
    absent = [
        name
        for name in called | named
        if not any(
            hasattr(holder, name)
            for holder in (
                runtime,
                runtime.cudaError_t,
                runtime.cudaMemcpyKind,
                runtime.cudaStreamCaptureMode,
            )
        )
    ]
    assert absent == []
