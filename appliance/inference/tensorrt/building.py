"""Build an engine from a network, strongly typed: its precision is the graph's and nothing the builder chose.

TensorRT's errors are values: every call is checked, and what the library logged becomes the sentence.
Call it in a child process: a builder may take much memory, take long, and crash.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.inference.engine import BuildProgress, InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.shapes import ShapeRange
from appliance.inference.tensorrt.journal import Journal, logger_of
from appliance.inference.tensorrt.progress import monitor_of

Ranges = Mapping[str, ShapeRange]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What is asked of a builder.

    Attributes:
        tf32: let float32 products drop to TF32 on the device; a decision, never the library's default.
        workspace_bytes: scratch memory on the device that it may plan with.
        targets: compute capabilities to build for ("SM89"), for a library that can do so; none: this device.
        timing_cache: what an earlier build measured; None: a new one.
    """

    tf32: bool = False
    workspace_bytes: int = 4 * 2**30
    targets: tuple[str, ...] = ()
    timing_cache: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Built:
    """A built engine.

    Attributes:
        plan: the engine as the library wrote it.
        timing_cache: what the builder measured; None where the library keeps none.
        definition: the network as the library understood it.
        tf32: whether float32 products may drop to TF32, read back.
    """

    plan: bytes
    timing_cache: bytes | None
    definition: Any = field(repr=False)
    tf32: bool
    seconds: float
    warnings: tuple[str, ...] = ()


class Building:
    """Builds one engine with one library; it holds the objects that the library only borrows."""

    def __init__(self, library: Any, *, limits: InferenceLimits | None = None) -> None:
        self._library = library
        self._journal = Journal(limits)
        self._logger = logger_of(library, self._journal)
        self._monitor: Any = None

    def build(
        self,
        network: bytes,
        ranges: Ranges,
        options: BuildOptions,
        *,
        progress: BuildProgress | None = None,
    ) -> Built:
        """Parse a network and build it for shapes.

        Raises:
            InferenceError: inference.build, with what the parser or builder said.
        """
        library, start = self._library, time.monotonic()
        builder = self._made(library.Builder(self._logger), "The builder could not be made")
        flags = 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        definition = self._made(builder.create_network(flags), "The network could not be made")
        self._parse(definition, network)
        config = self._made(builder.create_builder_config(), "The builder takes no configuration")
        self._configure(config, options)
        cache = self._timing_cache(config, options)
        self._shape(builder, config, definition, ranges)
        if progress is not None:
            self._monitor = monitor_of(library, progress)
            config.progress_monitor = self._monitor
        plan = self._made(
            builder.build_serialized_network(definition, config), "The engine could not be built"
        )
        return Built(
            plan=bytes(plan),
            timing_cache=None if cache is None else bytes(config.get_timing_cache().serialize()),
            definition=definition,
            tf32=bool(config.get_flag(library.BuilderFlag.TF32)),
            seconds=time.monotonic() - start,
            warnings=tuple(self._journal.warnings()),
        )

    def _parse(self, definition: Any, network: bytes) -> None:
        parser = self._made(self._library.OnnxParser(definition, self._logger), "There is no ONNX parser")
        if parser.parse(network):
            return
        faults = [_fault_of(parser.get_error(n)) for n in range(parser.num_errors)]
        journal = Journal()
        for fault in dict.fromkeys(faults):
            journal.take("ERROR", fault)
        told = journal.told() if faults else self._journal.told()
        raise InferenceError("inference.build", f"ONNX parser: {told}")

    def _configure(self, config: Any, options: BuildOptions) -> None:
        library = self._library
        (config.set_flag if options.tf32 else config.clear_flag)(library.BuilderFlag.TF32)
        config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
        pool = library.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, options.workspace_bytes)
        if config.get_memory_pool_limit(pool) > options.workspace_bytes:
            raise self._error("The builder does not keep to its memory bound")
        if options.targets:
            self._aim(config, options.targets)

    def _aim(self, config: Any, targets: tuple[str, ...]) -> None:
        config.num_compute_capabilities = len(targets)
        for index, target in enumerate(targets):
            capability = getattr(self._library.ComputeCapability, target, None)
            if capability is None or not config.set_compute_capability(capability, index):
                raise InferenceError(
                    "inference.build", f"The library does not build for compute capability {target}."
                )

    def _timing_cache(self, config: Any, options: BuildOptions) -> Any:
        """Give the builder a timing cache, where the library keeps one; TensorRT-RTX says it does not."""
        if not hasattr(config, "create_timing_cache"):
            return None
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            cache = config.create_timing_cache(options.timing_cache or b"")
            # A cache of another device or version is not taken: then all is measured again.
            taken = cache is not None and config.set_timing_cache(cache, False)
        if not taken or any(issubclass(one.category, DeprecationWarning) for one in said):
            return None
        return cache

    def _shape(self, builder: Any, config: Any, definition: Any, ranges: Ranges) -> None:
        profile = self._made(builder.create_optimization_profile(), "The builder takes no profile")
        for index in range(definition.num_inputs):
            tensor = definition.get_input(index)
            if tensor.is_shape_tensor:
                raise InferenceError(
                    "inference.build",
                    f"Input {tensor.name!r} decides on shapes, which the box does not feed.",
                )
            wanted = ranges.get(tensor.name)
            if wanted is None:
                raise InferenceError(
                    "inference.build", f"The profile names no shape for the input {tensor.name!r}."
                )
            self._set_shape(profile, tensor.name, wanted)
        # The library answers -1 for a profile that contradicts itself; the shapes are named in its log.
        if config.add_optimization_profile(profile) < 0:
            raise self._error(f"The profile cannot be used ({_written(ranges)})")

    def _set_shape(self, profile: Any, name: str, wanted: ShapeRange) -> None:
        try:
            profile.set_shape(name, wanted.least, wanted.usual, wanted.most)
        except (ValueError, TypeError) as error:
            raise self._error(f"The profile cannot be used ({name}: {wanted})") from error

    def _made(self, thing: Any, otherwise: str) -> Any:
        if thing is None:
            raise self._error(otherwise)
        return thing

    def _error(self, sentence: str) -> InferenceError:
        return InferenceError("inference.build", f"{sentence}: {self._journal.told()}")


def _fault_of(fault: Any) -> str:
    where = " ".join(word for word in (fault.node_operator(), fault.node_name()) if word)
    return f"{where}: {fault.desc()}" if where else str(fault.desc())


def _written(ranges: Ranges) -> str:
    return ", ".join(f"{name}: {wanted}" for name, wanted in ranges.items())
