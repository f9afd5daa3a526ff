"""ONNX Runtime on the processor: the engine that is always there.

Threads do not spin between calls: several loaded models would otherwise fight for the cores.
A network that keeps weights in another file is refused, whoever packed it.
"""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as faults

from appliance.inference.engine import (
    BuildProgress,
    BuildReport,
    EnginePlan,
    EngineProvenance,
    InferenceError,
    Probe,
    Tensors,
    key_of,
)
from appliance.inference.limits import InferenceLimits
from models.package import Package

_PROVIDER = "CPUExecutionProvider"
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
# ONNX Runtime's errors have no common parent below Exception.
_FAULTS = (
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


class OnnxRuntimeCpu:
    """Runs ONNX as it is; see `appliance.inference.engine.Engine`."""

    name = "cpu"

    def __init__(self, limits: InferenceLimits | None = None) -> None:
        self._limits = limits or InferenceLimits()
        self._session: Any = None
        self._weights_bytes = 0

    def probe(self) -> Probe:
        """Say yes: a processor is always there."""
        if _PROVIDER in onnxruntime.get_available_providers():
            return Probe(ok=True)
        return Probe(ok=False, reason="this build of ONNX Runtime cannot run on the processor")

    def plan(self, package: Package) -> EnginePlan:
        """Name the package on this runtime and this kind of machine."""
        parts = {"package": package.digest, **self.provenance().details}
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Make nothing: ONNX Runtime reads the network as it is."""
        return BuildReport()

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Read the network and run it once on zeros.

        Raises:
            InferenceError: inference.load, the network cannot be read, or reaches outside its file.
        """
        path = plan.package.onnx_path()
        try:
            network = path.read_bytes()
            _refuse_external_data(network)
            self._session = onnxruntime.InferenceSession(
                network, sess_options=self._options(), providers=[_PROVIDER]
            )
            self._session.run(None, self._zeros())
        except (OSError, DecodeError, *_FAULTS) as error:
            self._session = None
            raise InferenceError(
                "inference.load", f"The network cannot be loaded on the processor ({type(error).__name__})."
            ) from error
        self._weights_bytes = len(network)

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once; a call that outlives its deadline is ended between two operators.

        Raises:
            InferenceError: inference.deadline or inference.failed.
        """
        assert self._session is not None, "load comes before infer"
        options = onnxruntime.RunOptions()
        late = threading.Event()
        timer = threading.Timer(max(deadline_seconds, 0.0), _end, (options, late))
        timer.daemon = True
        timer.start()
        try:
            answers = self._session.run(None, dict(batch), options)
        except _FAULTS as error:
            if late.is_set():
                raise InferenceError(
                    "inference.deadline", f"The network did not answer within {deadline_seconds:.0f} seconds."
                ) from error
            raise InferenceError(
                "inference.failed", f"The network failed while it ran ({type(error).__name__})."
            ) from error
        finally:
            timer.cancel()
        return {output.name: answer for output, answer in zip(self._outputs(), answers, strict=True)}

    def memory_bytes(self) -> int:
        """Give the bytes of the weights; what a call needs besides is taken and kept by the first calls."""
        return self._weights_bytes

    def unload(self) -> None:
        """Forget the network."""
        self._session = None
        self._weights_bytes = 0

    def provenance(self) -> EngineProvenance:
        """Name the runtime, its version and this kind of machine."""
        version = str(onnxruntime.__version__)
        return EngineProvenance(
            text=f"ONNX Runtime {version} CPU",
            details={
                "engine": self.name,
                "runtime": f"onnxruntime {version}",
                "provider": _PROVIDER,
                "machine": platform.machine(),
                "system": platform.system(),
                "threads": str(self._threads()),
                "optimisation": "all",
            },
        )

    def _threads(self) -> int:
        return self._limits.threads_max or len(os.sched_getaffinity(0))

    def _options(self) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads()
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Errors reach the caller as exceptions; the runtime's own log may quote paths.
        options.log_severity_level = 4
        return options

    def _outputs(self) -> Any:
        return self._session.get_outputs()

    def _zeros(self) -> dict[str, NDArray[Any]]:
        """Make one input of each shape the network fixes, small where it leaves an axis open."""
        return {
            wanted.name: np.zeros(
                [self._side(axis, side) for axis, side in enumerate(wanted.shape)], _DTYPES[wanted.type]
            )
            for wanted in self._session.get_inputs()
        }

    def _side(self, axis: int, side: object) -> int:
        if isinstance(side, int):
            return side
        return self._limits.warm_up_side if axis >= 2 else 1


def _end(options: Any, late: threading.Event) -> None:
    late.set()
    options.terminate = True


def _refuse_external_data(network: bytes) -> None:
    """Refuse a network that names another file: its path would be followed (CVE-2022-25882 and its heirs)."""
    waiting: list[Message] = [onnx.load_from_string(network)]
    while waiting:
        message = waiting.pop()
        if isinstance(message, onnx.TensorProto):
            if message.data_location == onnx.TensorProto.EXTERNAL:
                raise InferenceError("inference.load", "The network keeps its weights in another file.")
            continue
        for _, value in message.ListFields():
            held = [value] if isinstance(value, Message) else value
            # A field holds messages, or only plain values; its first tells which.
            if not isinstance(held, str | bytes | int | float) and held and isinstance(held[0], Message):
                waiting.extend(held)
