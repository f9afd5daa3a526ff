"""TensorRT, full or RTX, as an engine of this box.

Precision lives in the network: it is always strongly typed, so fp16 or int8 is another artefact with its own
verdict, never a switch. TensorRT-RTX builds on a machine without a device; the full library does not.
Building is verified with TensorRT-RTX 1.7; running is not verified on hardware.
Never: opens a plan before the driver has shown a device: without one a lean runtime ends its process.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference import cuda_memory
from appliance.inference.cuda_driver import Asked, Device, NoDevice
from appliance.inference.cuda_memory import Cuda
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
from appliance.inference.onnx_file import check_batch, read_network, zeros
from appliance.inference.settings import EngineSettings
from appliance.inference.shapes import ranges_of
from appliance.inference.tensorrt.building import Building, BuildOptions, Built
from appliance.inference.tensorrt.library import MODULES, Library, NotUsable, find
from appliance.inference.tensorrt.reporting import details_of, layers_of_definition, layers_of_engine
from appliance.inference.tensorrt.session import Plan, Session
from models.package import Package

PLAN = "engine.plan"
TIMING_CACHE = "timing.cache"
_TEGRA = Path("/etc/nv_tegra_release")


class TensorRt:
    """Builds and runs engines with the first TensorRT that is installed; see `engine.Engine`.

    `modules` are the names it may be installed under. `tf32` and `graphs` are decisions of the site.
    """

    name = "tensorrt"

    def __init__(
        self,
        settings: EngineSettings | None = None,
        *,
        modules: tuple[str, ...] = MODULES,
        tf32: bool = False,
        graphs: bool = True,
    ) -> None:
        self._settings = settings or EngineSettings()
        self._modules, self._tf32, self._graphs = modules, tf32, graphs
        self._turn = Turn()
        self._asked = Asked(self._settings.device, seconds_max=self._settings.limits.probe_seconds_max)
        self._session: Session | None = None

    def probe(self) -> Probe:
        """Say whether a device, the library and its memory calls are there, in this order."""
        try:
            device = self._asked.anew()
            self._for(device, self._library())
        except (NoDevice, NotUsable) as error:
            return Probe(ok=False, reason=str(error))
        if not cuda_memory.installed():
            return Probe(ok=False, reason="cuda-bindings is not installed (extra: tensorrt or tensorrt-rtx)")
        return Probe(ok=True)

    def plan(self, package: Package) -> EnginePlan:
        """Name the package on this library, device, driver and system, for these shapes and options."""
        network = read_network(package.onnx_path())
        ranges = ranges_of(network.inputs, package.manifest, self._settings.limits)
        parts = {
            "package": package.digest,
            **self.provenance().details,
            **{f"profile {name}": str(wanted) for name, wanted in ranges.items()},
        }
        return EnginePlan(package=package, key=key_of(parts), parts=parts)

    def build(self, plan: EnginePlan, *, folder: Path, progress: BuildProgress | None = None) -> BuildReport:
        """Build the engine into `folder`: the plan, and the timing cache where the library keeps one.

        Raises:
            InferenceError: inference.build, with what the library said; or inference.load, the network.
        """
        installed, device = self._for_building()
        network = read_network(plan.package.onnx_path())
        ranges = ranges_of(network.inputs, plan.package.manifest, self._settings.limits)
        options = self._options(installed, device, folder)
        library = installed.open()
        built = Building(library, limits=self._settings.limits).build(
            network.content, ranges, options, progress=progress
        )
        details = {
            "module": installed.module,
            "version": installed.version,
            **details_of(built, ranges, options, _layers(library, built, device)),
        }
        return BuildReport(files=_written(built, folder), details=details)

    def load(self, plan: EnginePlan, *, folder: Path | None = None) -> None:
        """Open the engine that `build` left in `folder` and run it once on zeros.

        Raises:
            InferenceError: inference.load; inference.memory, the device has too little.
        """
        probe = self.probe()
        if not probe.ok:
            raise InferenceError("inference.load", f"TensorRT cannot run here: {probe.reason}.")
        content = _read(folder)
        try:
            self._session = self._opened(content, self._asked.device())
            self._warm_up(self._session)
        except InferenceError as error:
            self.unload()
            if error.word == "inference.memory":
                raise
            raise InferenceError("inference.load", error.sentence) from error

    def infer(self, batch: Tensors, *, deadline_seconds: float) -> dict[str, NDArray[Any]]:
        """Run the engine, in parts where the batch is larger than it was built for.

        A device cannot be stopped: a call past its deadline is given up here, and the next one waits for it.

        Raises:
            InferenceError: inference.deadline, inference.memory or inference.failed.
        """
        session = self._session
        assert session is not None, "load comes before infer"
        check_batch(batch, session.ports.inputs)
        with self._turn.taken(deadline_seconds) as seconds:
            deadline = Deadline(seconds)
            parts = [session.run(part, deadline=deadline) for part in _parts(batch, session)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _opened(self, content: bytes, device: Device) -> Session:
        plan = Plan(self._library().open(), content)
        cuda = Cuda(device.ordinal)
        with cuda.given_back_on_failure():
            return Session(plan, cuda, shared_memory=device.integrated, graphs=self._graphs)

    def _warm_up(self, session: Session) -> None:
        usual = {name: wanted.usual for name, wanted in session.ports.ranges.items()}
        deadline = Deadline(self._settings.limits.load_seconds_max)
        session.run(zeros(session.ports.inputs, usual), deadline=deadline)

    def memory_bytes(self) -> int:
        """Give the bytes on the device: weights, scratch memory, buffers."""
        return 0 if self._session is None else self._session.memory_bytes()

    def unload(self) -> None:
        """Give everything back to the device."""
        session, self._session = self._session, None
        # A device that hangs or failed gives nothing back before its process ends, which is for the pool.
        with suppress(InferenceError):
            if session is not None:
                session.close(seconds=self._settings.limits.unload_seconds_max)

    def provenance(self) -> EngineProvenance:
        """Name the library, the device, the driver and what was asked of the builder."""
        installed, device = self._perhaps()
        title = installed.title if installed else "TensorRT (not installed)"
        return EngineProvenance(
            text=f"{title} on {device.name if device else 'no device'}",
            details={
                "engine": self.name,
                "runtime": f"{installed.module} {installed.version}" if installed else "none",
                **(device.parts() if device else {"device": "no device"}),
                "cuda": cuda_memory.version_installed(),
                "system": platform.system(),
                "machine": platform.machine(),
                "tegra": _tegra(),
                "tf32": str(self._tf32),
                "workspace_bytes": str(self._settings.limits.workspace_bytes_max),
                "hardware_compatibility": "none",
                "targets": " ".join(self._targets(installed, device)),
            },
        )

    def _library(self) -> Library:
        return find(self._modules, seconds_max=self._settings.limits.probe_seconds_max)

    def _perhaps(self) -> tuple[Library | None, Device | None]:
        try:
            installed = self._library()
        except NotUsable:
            installed = None
        try:
            return installed, self._asked.device()
        except NoDevice:
            return installed, None

    def _for_building(self) -> tuple[Library, Device | None]:
        try:
            installed = self._library()
        except NotUsable as error:
            raise InferenceError("inference.build", f"TensorRT cannot build here: {error}.") from error
        try:
            device = self._asked.device()
            self._for(device, installed)
        except (NoDevice, NotUsable) as error:
            if not installed.capabilities or not isinstance(error, NoDevice):
                raise InferenceError(
                    "inference.build", f"{installed.title} cannot build here: {error}."
                ) from error
            return installed, None
        return installed, device

    def _for(self, device: Device, installed: Library) -> None:
        """Refuse a device that the library has no code for, before it is asked to build."""
        if installed.capabilities and _target(device) not in installed.capabilities:
            raise NotUsable(
                f"{installed.title} does not support {device.name} (compute capability {device.capability})"
            )

    def _targets(self, installed: Library | None, device: Device | None) -> tuple[str, ...]:
        """Aim TensorRT-RTX at this device; without one it chooses: not every network builds for all."""
        if device is None or installed is None or not installed.capabilities:
            return ()
        return (_target(device),)

    def _options(self, installed: Library, device: Device | None, folder: Path) -> BuildOptions:
        earlier = folder / TIMING_CACHE
        return BuildOptions(
            tf32=self._tf32,
            workspace_bytes=self._settings.limits.workspace_bytes_max,
            targets=self._targets(installed, device),
            timing_cache=earlier.read_bytes() if earlier.is_file() else None,
        )


def _layers(library: Any, built: Built, device: Device | None) -> dict[str, Any]:
    """Read the layers from the engine where it can be opened; else from the network it was built from."""
    if device is None:
        return layers_of_definition(built.definition)
    plan = Plan(library, built.plan)
    return layers_of_engine(library, plan.engine)


def _written(built: Built, folder: Path) -> tuple[str, ...]:
    contents = {PLAN: built.plan, TIMING_CACHE: built.timing_cache}
    made = {name: content for name, content in contents.items() if content}
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return tuple(made)


def _target(device: Device) -> str:
    return f"SM{device.capability.replace('.', '')}"


def _tegra() -> str:
    try:
        return _TEGRA.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError):
        return "none"


def _read(folder: Path | None) -> bytes:
    try:
        return ((folder or Path()) / PLAN).read_bytes()
    except OSError as error:
        raise InferenceError("inference.load", "There is no built engine to load.") from error


def _parts(batch: Tensors, session: Session) -> list[dict[str, NDArray[Any]]]:
    """Cut a batch into parts no larger than the engine was built for."""
    size = max((array.shape[0] for array in batch.values() if array.ndim), default=0)
    largest = min((wanted.most[0] for wanted in session.ports.ranges.values() if wanted.most), default=size)
    if size <= largest or any(array.shape[:1] != (size,) for array in batch.values()):
        return [dict(batch)]
    starts = range(0, size, max(largest, 1))
    return [{name: array[start : start + largest] for name, array in batch.items()} for start in starts]
