"""ONNX Runtime on a CUDA device (package onnxruntime-gpu).

Never: falls back to the processor by itself. Stepping down is for the box to decide, where everybody sees it.
Running is not verified on hardware.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from appliance.inference import cuda_memory
from appliance.inference.cuda_driver import Asked, Device, NoDevice
from appliance.inference.cuda_memory import Cuda
from appliance.inference.cuda_session import CudaSession, Place, provider_options, static
from appliance.inference.deadline import Deadline, Turn
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
from appliance.inference.onnx_file import OnnxFile, check_batch, read_network, zeros
from appliance.inference.settings import EngineSettings
from appliance.inference.shapes import warm_up_shapes
from models.package import Package


class OnnxRuntimeCuda:
    """Runs ONNX on a CUDA device; see `appliance.inference.engine.Engine`.

    `tf32` lets float32 products drop to TF32; `graphs` runs networks of fixed shapes as CUDA graphs.
    """

    name = "cuda"
    provider = "CUDAExecutionProvider"
    memory = "cuda"

    def __init__(
        self, settings: EngineSettings | None = None, *, tf32: bool = False, graphs: bool = True
    ) -> None:
        self._settings = settings or EngineSettings()
        self._tf32, self._graphs = tf32, graphs
        self._turn = Turn()
        self._asked = Asked(self._settings.device, seconds_max=self._settings.limits.probe_seconds_max)
        self._session: CudaSession | None = None
        self._network: OnnxFile | None = None

    def probe(self) -> Probe:
        """Say whether a device, the provider and its memory calls are there, in this order."""
        try:
            self._asked.anew()
        except NoDevice as error:
            return Probe(ok=False, reason=str(error))
        if self.provider not in onnxruntime.get_available_providers():
            return Probe(ok=False, reason="this build of ONNX Runtime has no CUDA provider (extra: cuda)")
        if not cuda_memory.installed():
            return Probe(ok=False, reason="cuda-bindings is not installed (extra: cuda)")
        return Probe(ok=True)

    def plan(self, package: Package) -> EnginePlan:
        """Name the package on this runtime, device, driver and these options."""
        parts = {"package": package.digest, **self._details()}
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Make nothing: ONNX Runtime reads the network as it is."""
        return BuildReport()

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Put the network on the device and run it once on zeros.

        Raises:
            InferenceError: inference.load, no device, no provider, or ONNX Runtime took another one;
                inference.memory, the device has too little.
        """
        probe = self.probe()
        if not probe.ok:
            raise InferenceError("inference.load", f"ONNX Runtime cannot use CUDA here: {probe.reason}.")
        network = read_network(plan.package.onnx_path())
        shapes = warm_up_shapes(network.inputs, plan.package.manifest, self._settings.limits)
        self._network = network
        # Some networks of fixed shapes cannot be captured: then they run call by call.
        for graph in (True, False) if self._graphs and static(network) else (False,):
            try:
                self._session = self._opened(network, self._asked.device(), graph=graph)
                deadline = Deadline(self._settings.limits.load_seconds_max)
                self._session.run(zeros(network.inputs, shapes), deadline=deadline)
            except InferenceError as error:
                self._close()
                if error.word == "inference.memory":
                    raise
                if not graph:
                    raise InferenceError("inference.load", error.sentence) from error
            else:
                return

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the network once; a call that outlives its deadline is ended between two operators.

        Raises:
            InferenceError: inference.deadline, inference.memory or inference.failed.
        """
        assert self._session is not None, "load comes before infer"
        assert self._network is not None, "load comes before infer"
        check_batch(batch, self._network.inputs)
        with self._turn.taken(deadline_seconds) as seconds:
            return self._session.run(batch, deadline=Deadline(seconds))

    def memory_bytes(self) -> int:
        """Give the bytes of weights and buffers; the provider's arena is bounded by its own limit."""
        return 0 if self._session is None else self._session.memory_bytes()

    def unload(self) -> None:
        """Give everything back to the device."""
        self._network = None
        self._close()

    def _close(self) -> None:
        session, self._session = self._session, None
        # A device that hangs or failed gives nothing back before its process ends, which is for the pool.
        with suppress(InferenceError):
            if session is not None:
                session.close(seconds=self._settings.limits.unload_seconds_max)

    def provenance(self) -> EngineProvenance:
        """Name the runtime, the device, the driver, and how many nodes run elsewhere, once that is known."""
        details = self._details()
        version = str(onnxruntime.__version__)
        if self._session is not None:
            details["nodes_on_device"] = str(self._session.nodes)
            details["nodes_elsewhere"] = str(self._session.nodes_elsewhere)
            details["graph"] = str(self._session.graph)
        return EngineProvenance(text=f"ONNX Runtime {version} CUDA on {details['device']}", details=details)

    def _details(self) -> dict[str, str]:
        return {
            "engine": self.name,
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "provider": self.provider,
            **self._device_parts(),
            "system": platform.system(),
            "machine": platform.machine(),
            "tf32": str(self._tf32),
            "graphs": str(self._graphs),
            "memory_bytes_max": str(self._settings.memory_bytes_max),
        }

    def _device_parts(self) -> dict[str, str]:
        try:
            return self._asked.device().parts()
        except NoDevice:
            return {"device": "no device"}

    def _opened(self, network: OnnxFile, device: Device, *, graph: bool) -> CudaSession:
        options = provider_options(
            device.ordinal,
            memory_bytes_max=self._settings.memory_bytes_max,
            tf32=self._tf32,
            graph=graph,
        )
        place = Place(provider=self.provider, memory=self.memory, ordinal=device.ordinal, options=options)
        return self._on(device, network, place)

    def _on(self, device: Device, network: OnnxFile, place: Place) -> CudaSession:
        cuda = Cuda(device.ordinal)
        with cuda.given_back_on_failure():
            return CudaSession(network, cuda, place, self._settings.limits, shared_memory=device.integrated)
