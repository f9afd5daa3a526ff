"""What every ONNX Runtime session of this box has in common, whichever provider runs it."""

from __future__ import annotations

import os
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from appliance.inference.limits import InferenceLimits

# ONNX Runtime's errors have no common parent below Exception.
FAULTS = (
    faults.Fail,
    faults.InvalidArgument,
    faults.InvalidGraph,
    faults.InvalidProtobuf,
    faults.NoSuchFile,
    faults.NotImplemented,
    faults.RuntimeException,
    faults.EPFail,
    RuntimeError,
    ValueError,
    MemoryError,
)


def threads_of(limits: InferenceLimits) -> int:
    """Give the threads of one call: the bound, or every core this process may use."""
    return limits.threads_max or len(os.sched_getaffinity(0))


def options_of(limits: InferenceLimits) -> Any:
    """Make session options: all optimisations, threads that sleep between calls, no log of its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_of(limits)
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors reach the caller as exceptions; the runtime's own log may quote paths.
    options.log_severity_level = 4
    return options


def terminate(options: Any) -> None:
    """End a run between two operators."""
    options.terminate = True
