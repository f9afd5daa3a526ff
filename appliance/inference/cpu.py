"""ONNX Runtime on the processor: the engine that is always there.

Threads do not spin between calls: several loaded models would otherwise fight for the cores.
A network that keeps weights in another file is refused, whoever packed it.
"""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from appliance.inference.deadline import ended_after, failed, too_late
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
from appliance.inference.onnx_file import read_network, zeros
from appliance.inference.onnx_session import FAULTS, options_of, terminate, threads_of
from appliance.inference.shapes import warm_up_shapes
from models.package import Package

_PROVIDER = "CPUExecutionProvider"


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
        network = read_network(plan.package.onnx_path())
        shapes = warm_up_shapes(network.inputs, plan.package.manifest, self._limits)
        try:
            self._session = onnxruntime.InferenceSession(
                network.content, sess_options=options_of(self._limits), providers=[_PROVIDER]
            )
            self._session.run(None, zeros(network.inputs, shapes))
        except FAULTS as error:
            self._session = None
            raise InferenceError(
                "inference.load", f"The network cannot be loaded on the processor ({type(error).__name__})."
            ) from error
        self._weights_bytes = len(network.content)

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once; a call that outlives its deadline is ended between two operators.

        Raises:
            InferenceError: inference.deadline or inference.failed.
        """
        assert self._session is not None, "load comes before infer"
        options = onnxruntime.RunOptions()
        with ended_after(deadline_seconds, partial(terminate, options)) as late:
            try:
                answers = self._session.run(None, dict(batch), options)
            except FAULTS as error:
                raise too_late(deadline_seconds) if late.is_set() else failed(error) from error
        return {
            output.name: answer for output, answer in zip(self._session.get_outputs(), answers, strict=True)
        }

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
                "threads": str(threads_of(self._limits)),
                "optimisation": "all",
            },
        )
