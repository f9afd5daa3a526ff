"""OpenVINO on the processor: its own package, not ONNX Runtime's provider.

Compiled once with the axes the network leaves open: measured on a 3D U-Net, a network compiled for one shape
was no faster, and reading a compiled network back saved 0.2 of 0.3 seconds. So `build` makes nothing.
Calculates in float32 whatever the processor offers: bfloat16 would be another model.
Never: sends telemetry. The package does so when it is imported, unless its sender cannot be found.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.inference.deadline import Turn, failed, too_late
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
from appliance.inference.onnx_file import Port, check_batch, read_network, zeros
from appliance.inference.onnx_session import threads_of
from appliance.inference.settings import EngineSettings
from appliance.inference.shapes import warm_up_shapes
from models.package import Package

_DEVICE = "CPU"
_SENDER = "openvino_telemetry"
_FAULTS = (RuntimeError, ValueError, TypeError, MemoryError)


class OpenVino:
    """Runs ONNX through OpenVINO's own compiler; see `appliance.inference.engine.Engine`.

    `hint` is "LATENCY" for one call at a time, which is how the box calls it, or "THROUGHPUT".
    """

    name = "openvino"

    def __init__(
        self, settings: EngineSettings | None = None, *, hint: Literal["LATENCY", "THROUGHPUT"] = "LATENCY"
    ) -> None:
        self._settings = settings or EngineSettings()
        self._hint = hint
        self._turn = Turn()
        self._request: Any = None
        self._inputs: tuple[Port, ...] = ()
        self._weights_bytes = 0

    def probe(self) -> Probe:
        """Say whether the package is installed and knows this processor."""
        if importlib.util.find_spec("openvino") is None:
            return Probe(ok=False, reason="OpenVINO is not installed (extra: openvino)")
        try:
            devices = _library().Core().available_devices
        except (ImportError, *_FAULTS) as error:
            return Probe(ok=False, reason=f"OpenVINO cannot be used ({type(error).__name__})")
        if _DEVICE not in devices:
            return Probe(ok=False, reason="OpenVINO does not know this processor")
        return Probe(ok=True)

    def plan(self, package: Package) -> EnginePlan:
        """Name the package on this version, this processor and these settings."""
        parts = {"package": package.digest, **self.provenance().details}
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Make nothing: compiling takes less time than looking after what was compiled."""
        return BuildReport()

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Compile the network and run it once on zeros.

        Raises:
            InferenceError: inference.load, the network cannot be read, or reaches outside its file.
        """
        network = read_network(plan.package.onnx_path())
        library = _library()
        try:
            core = library.Core()
            model = core.read_model(network.content)
            compiled = core.compile_model(model, _DEVICE, self._properties())
            request = compiled.create_infer_request()
            shapes = warm_up_shapes(network.inputs, plan.package.manifest, self._settings.limits)
            request.infer(zeros(network.inputs, shapes))
        except _FAULTS as error:
            raise InferenceError(
                "inference.load", f"The network cannot be loaded in OpenVINO ({type(error).__name__})."
            ) from error
        self._request, self._inputs = request, network.inputs
        self._weights_bytes = len(network.content)

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once; a call that outlives its deadline is ended between two operators.

        Raises:
            InferenceError: inference.deadline or inference.failed.
        """
        assert self._request is not None, "load comes before infer"
        check_batch(batch, self._inputs)
        with self._turn.taken(deadline_seconds) as seconds:
            given = {name: np.ascontiguousarray(array) for name, array in batch.items()}
            in_time = True
            try:
                self._request.start_async(given, share_inputs=True)
                in_time = self._request.wait_for(int(seconds * 1000))
                if not in_time:
                    self._request.cancel()
                self._request.wait()
            except _FAULTS as error:
                raise too_late(deadline_seconds) if not in_time else failed(error) from error
            if not in_time:
                raise too_late(deadline_seconds)
            return self._answers()

    def memory_bytes(self) -> int:
        """Give the bytes of the weights; what a call needs besides is taken and kept by the first calls."""
        return self._weights_bytes

    def unload(self) -> None:
        """Forget the network."""
        self._request, self._inputs, self._weights_bytes = None, (), 0

    def provenance(self) -> EngineProvenance:
        """Name the version, the processor and what was asked of it."""
        release = _version()
        return EngineProvenance(
            text=f"OpenVINO {release} {_DEVICE}",
            details={
                "engine": self.name,
                "runtime": f"openvino {release}",
                "device": _DEVICE,
                "processor": _processor(),
                **{key.lower(): str(value) for key, value in self._properties().items()},
            },
        )

    def _properties(self) -> dict[str, Any]:
        return {
            "PERFORMANCE_HINT": self._hint,
            "INFERENCE_NUM_THREADS": threads_of(self._settings.limits),
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
            # Threads held to cores would hold two loaded models to the same ones.
            "ENABLE_CPU_PINNING": False,
        }

    def _answers(self) -> dict[str, NDArray[Any]]:
        """Copy the answers: the request writes into the same memory again."""
        outputs = self._request.model_outputs
        return {
            output.any_name: np.array(tensor.data)
            for output, tensor in zip(outputs, self._request.output_tensors, strict=True)
        }


def _library() -> Any:
    """Import OpenVINO with its telemetry shut out: it reports every import to Google Analytics otherwise.

    Its own code takes a stand-in that does nothing when the sender is missing.
    """
    if "openvino" not in sys.modules:
        sys.modules.setdefault(_SENDER, None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def _version() -> str:
    try:
        return version("openvino")
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    if importlib.util.find_spec("openvino") is None:
        return ""
    return str(_library().Core().get_property(_DEVICE, "FULL_DEVICE_NAME"))
