"""One ONNX Runtime session on a CUDA device: what it really runs on, and calls through buffers of our own.

Promises: a session that ONNX Runtime put on the processor instead is an error, never a slow success.
A network whose shapes are all fixed runs as a CUDA graph, from the same addresses each time.
Not verified on hardware: the tests run it over a stand-in for the device's memory, on the processor.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from appliance.inference.cuda_memory import Buffer, Cuda
from appliance.inference.deadline import Deadline, ended_after, failed, too_late
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import OnnxFile, Port
from appliance.inference.onnx_session import FAULTS, options_of, terminate

_FULL = ("Failed to allocate memory", "out of memory", "CUDA failure 2")
_RECORD = "session.record_ep_graph_assignment_info"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a session runs: the provider's name, how it calls its memory, the device, its options."""

    provider: str
    memory: str
    ordinal: int
    options: Mapping[str, str]


def provider_options(
    ordinal: int, *, memory_bytes_max: int | None, tf32: bool, graph: bool
) -> dict[str, str]:
    """Give the CUDA provider's options; where its own defaults change answers, they are set."""
    options = {
        "device_id": str(ordinal),
        # By its default the arena doubles: two models would crowd each other out for nothing.
        "arena_extend_strategy": "kSameAsRequested",
        # Trying every algorithm costs seconds for each new shape of a 3D network.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": str(int(tf32)),
        "enable_cuda_graph": str(int(graph)),
    }
    if memory_bytes_max is not None:
        options["gpu_mem_limit"] = str(memory_bytes_max)
    return options


def static(network: OnnxFile) -> bool:
    """Say whether every axis of every array is fixed."""
    return all(side is not None for port in (*network.inputs, *network.outputs) for side in port.shape)


class CudaSession:
    """A network on a device. One call at a time."""

    def __init__(
        self,
        network: OnnxFile,
        cuda: Cuda,
        place: Place,
        limits: InferenceLimits,
        *,
        shared_memory: bool = False,
    ) -> None:
        self._cuda, self._place, self._network = cuda, place, network
        self._session: Any = _opened(network.content, place, limits)
        self.nodes, self.nodes_elsewhere = _assigned(self._session, place.provider)
        self._buffers = {port.name: Buffer(cuda, shared=shared_memory) for port in network.inputs}
        self._fixed: Any = None
        self.graph = place.options.get("enable_cuda_graph") == "1"
        if self.graph:
            self._buffers |= {port.name: Buffer(cuda, shared=shared_memory) for port in network.outputs}
            try:
                self._fixed = self._bound_for_good()
            except InferenceError:
                self._free()
                raise

    def run(self, batch: Mapping[str, NDArray[Any]], *, deadline: Deadline) -> dict[str, NDArray[Any]]:
        """Run once: host arrays in, host arrays out.

        Raises:
            InferenceError: inference.deadline, inference.memory or inference.failed.
        """
        self._cuda.use()
        given = {port: np.ascontiguousarray(batch[port.name]) for port in self._network.inputs}
        for port, array in given.items():
            buffer = self._buffers[port.name]
            buffer.reserve(max(array.nbytes, 1))
            buffer.array(array.shape, port.dtype)[...] = array
            buffer.send(array.nbytes)
        # ONNX Runtime has a stream of its own: it must not start before the copies are there.
        self._cuda.wait(deadline)
        binding = self._fixed or self._bound(given)
        self._call(binding, deadline)
        return self._fetched(deadline) if self._fixed else self._answers(binding)

    def memory_bytes(self) -> int:
        """Give the bytes of weights and buffers; what a call needs besides, the provider's arena keeps."""
        return len(self._network.content) + sum(buffer.size_bytes for buffer in self._buffers.values())

    def close(self, *, seconds: float) -> None:
        """Give everything back."""
        self._cuda.use()
        self._cuda.wait(Deadline(seconds))
        self._fixed = self._session = None
        self._free()
        self._cuda.close()

    def _free(self) -> None:
        for buffer in self._buffers.values():
            buffer.free()

    def _call(self, binding: Any, deadline: Deadline) -> None:
        options = onnxruntime.RunOptions()
        with ended_after(deadline.left_seconds, partial(terminate, options)) as late:
            try:
                self._session.run_with_iobinding(binding, options)
            except FAULTS as error:
                raise too_late(deadline.seconds) if late.is_set() else _fault_of(error) from error

    def _bound(self, given: Mapping[Port, NDArray[Any]]) -> Any:
        """Bind this call's inputs; the provider makes room for the answers, whose size it alone knows."""
        binding = self._session.io_binding()
        for port, array in given.items():
            self._bind(binding.bind_input, port, array.shape)
        for port in self._network.outputs:
            binding.bind_output(port.name, self._place.memory, self._place.ordinal)
        return binding

    def _bound_for_good(self) -> Any:
        """Bind every array once: a graph replays with the addresses it was captured with."""
        binding = self._session.io_binding()
        for ports, bind in (
            (self._network.inputs, binding.bind_input),
            (self._network.outputs, binding.bind_output),
        ):
            for port in ports:
                shape = _fixed_shape(port)
                self._buffers[port.name].reserve(max(_bytes(port, shape), 1))
                self._bind(bind, port, shape)
        return binding

    def _bind(self, bind: Any, port: Port, shape: tuple[int, ...]) -> None:
        place = self._place
        bind(port.name, place.memory, place.ordinal, port.dtype, shape, self._buffers[port.name].device)

    def _answers(self, binding: Any) -> dict[str, NDArray[Any]]:
        answers = binding.copy_outputs_to_cpu()
        return {port.name: answer for port, answer in zip(self._network.outputs, answers, strict=True)}

    def _fetched(self, deadline: Deadline) -> dict[str, NDArray[Any]]:
        shapes = {port: _fixed_shape(port) for port in self._network.outputs}
        for port, shape in shapes.items():
            self._buffers[port.name].fetch(_bytes(port, shape))
        self._cuda.wait(deadline)
        return {
            port.name: self._buffers[port.name].array(shape, port.dtype).copy()
            for port, shape in shapes.items()
        }


def _find_libraries() -> None:
    """Let ONNX Runtime find CUDA and cuDNN where pip put them; what is missing shows in what it takes."""
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()


def _opened(content: bytes, place: Place, limits: InferenceLimits) -> Any:
    options = options_of(limits)
    options.add_session_config_entry(_RECORD, "1")
    _find_libraries()
    with warnings.catch_warnings():
        # It warns of a provider it leaves out and goes on without: what it really uses is read back below.
        warnings.simplefilter("ignore")
        try:
            session = onnxruntime.InferenceSession(
                content, sess_options=options, providers=[(place.provider, dict(place.options))]
            )
        except FAULTS as error:
            if (fault := _fault_of(error)).word == "inference.memory":
                raise fault from error
            raise InferenceError(
                "inference.load", f"The network cannot be loaded on the device ({type(error).__name__})."
            ) from error
    session.disable_fallback()
    used = session.get_providers()
    if not used or used[0] != place.provider:
        raise InferenceError(
            "inference.load",
            f"ONNX Runtime took {used[0] if used else 'nothing'} instead of {place.provider}.",
        )
    return session


def _assigned(session: Any, provider: str) -> tuple[int, int]:
    """Count the nodes on the device and elsewhere; (0, 0) where this version of ONNX Runtime does not say.

    Raises:
        InferenceError: inference.load, the provider is there and runs none of the network.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return 0, 0
    counts = {True: 0, False: 0}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name == provider] += len(part.get_nodes())
    if counts[False] and not counts[True]:
        raise InferenceError("inference.load", f"{provider} runs no part of this network.")
    return counts[True], counts[False]


def _fault_of(error: Exception) -> InferenceError:
    """Tell a device that is full from one that failed; ONNX Runtime says so in its text alone."""
    if any(sign in str(error) for sign in _FULL):
        return InferenceError("inference.memory", "The CUDA device has no memory left for the network.")
    return failed(error)


def _fixed_shape(port: Port) -> tuple[int, ...]:
    assert None not in port.shape, "only a network of fixed shapes is bound for good"
    return tuple(side for side in port.shape if side is not None)


def _bytes(port: Port, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape)) * port.dtype.itemsize
