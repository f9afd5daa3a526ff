"""Every name of TensorRT's Python interface that the adapter uses, in one place.

Promises: an installation that lacks a needed name is refused before anything is built with it; extras are
used where they are there. All needed names exist in TensorRT 10.3 to 11.4 and in TensorRT-RTX 1.7, so the
adapter has no branch on a version.
Run as a program (`surface.py MODULE`) it imports the module and prints what it is, as one JSON object; it
needs nothing beyond the standard library, because importing TensorRT may end the process that does it.
In the package, a variable that holds one of these objects bears the name given in `HELD_AS`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

NEEDED: Mapping[str, tuple[str, ...]] = {
    "": (
        "__version__",
        "Builder",
        "BuilderFlag",
        "ILogger",
        "IProgressMonitor",
        "LayerInformationFormat",
        "MemoryPoolType",
        "NetworkDefinitionCreationFlag",
        "OnnxParser",
        "ProfilingVerbosity",
        "Runtime",
        "TensorIOMode",
    ),
    "Builder": (
        "build_serialized_network",
        "create_builder_config",
        "create_network",
        "create_optimization_profile",
    ),
    "BuilderFlag": ("TF32",),
    "EngineInspector": ("get_engine_information",),
    "IBuilderConfig": (
        "add_optimization_profile",
        "clear_flag",
        "get_flag",
        "get_memory_pool_limit",
        "profiling_verbosity",
        "progress_monitor",
        "set_flag",
        "set_memory_pool_limit",
    ),
    "ICudaEngine": (
        "create_engine_inspector",
        "create_execution_context",
        "device_memory_size_v2",
        "get_tensor_dtype",
        "get_tensor_mode",
        "get_tensor_name",
        "get_tensor_profile_shape",
        "get_tensor_shape",
        "is_shape_inference_io",
        "num_io_tensors",
    ),
    "IExecutionContext": (
        "execute_async_v3",
        "get_tensor_shape",
        "set_input_shape",
        "set_tensor_address",
    ),
    "ILayer": ("get_output", "name", "num_outputs", "type"),
    "ILogger": ("log",),
    "INetworkDefinition": ("get_input", "get_layer", "get_output", "num_inputs", "num_layers", "num_outputs"),
    "IOptimizationProfile": ("set_shape",),
    "IProgressMonitor": ("phase_finish", "phase_start", "step_complete"),
    "ITensor": ("dtype", "is_shape_tensor", "name", "shape"),
    "LayerInformationFormat": ("JSON",),
    "MemoryPoolType": ("WORKSPACE",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "OnnxParser": ("get_error", "num_errors", "parse"),
    "ParserError": ("desc", "node_name", "node_operator"),
    "ProfilingVerbosity": ("DETAILED",),
    "Runtime": ("deserialize_cuda_engine",),
    "TensorIOMode": ("INPUT",),
}
"""By class; "" holds the names of the module itself."""

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "": ("ComputeCapability",),
    "IBuilderConfig": (
        "create_timing_cache",
        "get_timing_cache",
        "num_compute_capabilities",
        "set_compute_capability",
        "set_timing_cache",
    ),
    "IExecutionContext": ("is_stream_capturable",),
    "ITimingCache": ("serialize",),
}
"""Used where they are there, and never missed: targets of TensorRT-RTX, timing caches of TensorRT."""

HELD_AS: Mapping[str, str] = {
    "builder": "Builder",
    "cache": "ITimingCache",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "deserialised": "ICudaEngine",
    "fault": "ParserError",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "library": "",
    "definition": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "runtime": "Runtime",
    "tensor": "ITensor",
}
"""The variable that holds an object of a class."""


def missing(library: Any) -> list[str]:
    """List the needed names a module lacks."""
    absent = []
    for owner, names in NEEDED.items():
        holder = getattr(library, owner, None) if owner else library
        absent += [f"{owner}.{name}".lstrip(".") for name in names if not hasattr(holder, name)]
    return absent


def describe(module: str) -> dict[str, Any]:
    """Import a module and say what it is: version, missing names, compute capabilities it builds for."""
    library = importlib.import_module(module)
    capabilities = getattr(getattr(library, "ComputeCapability", None), "__members__", {})
    return {
        "version": str(library.__version__),
        "missing": missing(library),
        "capabilities": sorted(name for name in capabilities if name.startswith("SM")),
    }


if __name__ == "__main__":
    print(json.dumps(describe(sys.argv[1])))
