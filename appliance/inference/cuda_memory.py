"""Memory, a stream and a graph of one CUDA device, through NVIDIA's own Python package (cuda-bindings).

Promises: every call is checked and an error names the call; memory only grows until it is given back whole;
no wait is longer than its deadline. Never: allocates managed memory.
Not verified on hardware: the tests run it over a stand-in that keeps device memory in host memory.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.deadline import Deadline, too_late
from appliance.inference.engine import InferenceError

_RUNTIME = "cuda.bindings.runtime"
_POLL_SECONDS_MAX = 0.001
_POLL_SECONDS_MIN = 0.00002


def installed() -> bool:
    """Say whether the package is there; it is not loaded."""
    return importlib.util.find_spec("cuda") is not None and importlib.util.find_spec(_RUNTIME) is not None


def version_installed() -> str:
    """Give the package's version, which is that of the CUDA runtime it speaks."""
    try:
        return version("cuda-bindings")
    except PackageNotFoundError:
        return "none"


class Cuda:
    """One device: calls that are checked, and a stream of its own.

    `runtime` is the module `cuda.bindings.runtime`, or what stands in for it.
    """

    def __init__(self, ordinal: int, *, runtime: Any = None) -> None:
        self._runtime = runtime or importlib.import_module(_RUNTIME)
        self._ordinal = ordinal
        self.use()
        self.stream: int = int(self.call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))
        self._done = self.call("cudaEventCreateWithFlags", self._runtime.cudaEventDisableTiming)

    def use(self) -> None:
        """Make the device the calling thread's own."""
        self.call("cudaSetDevice", self._ordinal)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the runtime and give what it answers besides its verdict.

        Raises:
            InferenceError: inference.memory when there is none left, else inference.failed.
        """
        verdict, *answers = getattr(self._runtime, name)(*arguments)
        faults = self._runtime.cudaError_t
        if verdict == faults.cudaErrorMemoryAllocation:
            raise InferenceError("inference.memory", "The CUDA device has no memory left.")
        if verdict != faults.cudaSuccess:
            raise InferenceError("inference.failed", f"CUDA refused {name} ({_word(verdict)}).")
        return answers[0] if answers else None

    def to_device(self, device: int, host: int, size_bytes: int) -> None:
        """Copy from pinned memory to the device, after what the stream already has to do."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", device, host, size_bytes, kind, self.stream)

    def to_host(self, host: int, device: int, size_bytes: int) -> None:
        """Copy from the device to pinned memory, after what the stream already has to do."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", host, device, size_bytes, kind, self.stream)

    def wait(self, deadline: Deadline) -> None:
        """Wait until the stream has done everything it was given.

        Work on a device cannot be called back: after a deadline it runs on, and the next wait waits for it.

        Raises:
            InferenceError: inference.deadline; inference.failed, the work itself failed.
        """
        self.call("cudaEventRecord", self._done, self.stream)
        pause = _POLL_SECONDS_MIN
        while not self._is_done():
            if deadline.left_seconds <= 0.0:
                raise too_late(deadline.seconds)
            time.sleep(pause)
            pause = min(2 * pause, _POLL_SECONDS_MAX)

    def _is_done(self) -> bool:
        (verdict,) = self._runtime.cudaEventQuery(self._done)
        faults = self._runtime.cudaError_t
        if verdict == faults.cudaErrorNotReady:
            return False
        if verdict != faults.cudaSuccess:
            raise InferenceError("inference.failed", f"The CUDA device failed ({_word(verdict)}).")
        return True

    def record(self, work: Callable[[], None]) -> Any:
        """Record what `work` gives the stream to do, as a graph that `play` repeats with one call."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        except InferenceError:
            # A capture must be ended even when what it records failed, or the stream is lost.
            self._runtime.cudaStreamEndCapture(self.stream)
            raise
        graph = self.call("cudaStreamEndCapture", self.stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def play(self, graph: Any) -> None:
        """Do what a graph recorded."""
        self.call("cudaGraphLaunch", graph, self.stream)

    def forget(self, graph: Any) -> None:
        """Give a graph back."""
        self.call("cudaGraphExecDestroy", graph)

    @contextmanager
    def given_back_on_failure(self) -> Iterator[None]:
        """Give stream and event back when what is made with them cannot be made."""
        try:
            yield
        except InferenceError:
            self.close()
            raise

    def close(self) -> None:
        """Give stream and event back; nothing may be running."""
        self.use()
        self.call("cudaEventDestroy", self._done)
        self.call("cudaStreamDestroy", self.stream)


class Buffer:
    """An array's place on the host (pinned) and on the device, as large as the largest array so far.

    On a device that shares its memory with the processor the two are one, and nothing is copied.
    """

    def __init__(self, cuda: Cuda, *, shared: bool = False) -> None:
        self._cuda, self._shared = cuda, shared
        self._host = 0
        self.device = 0
        self.size_bytes = 0

    def reserve(self, size_bytes: int) -> bool:
        """Make room; True when the addresses changed."""
        if size_bytes <= self.size_bytes:
            return False
        self.free()
        self._host = int(self._cuda.call("cudaHostAlloc", size_bytes, self._flags()))
        if self._shared:
            self.device = int(self._cuda.call("cudaHostGetDevicePointer", self._host, 0))
        else:
            self.device = int(self._cuda.call("cudaMalloc", size_bytes))
        self.size_bytes = size_bytes
        return True

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Give the pinned memory as an array; it is overwritten by the next call."""
        count = int(np.prod(shape)) * dtype.itemsize
        assert count <= self.size_bytes, "reserve comes before array"
        if not count:
            return np.empty(shape, dtype)
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(self._host))
        return raw.view(dtype).reshape(shape)

    def send(self, size_bytes: int) -> None:
        """Copy the first bytes to the device."""
        if not self._shared:
            self._cuda.to_device(self.device, self._host, size_bytes)

    def fetch(self, size_bytes: int) -> None:
        """Copy the first bytes from the device."""
        if not self._shared:
            self._cuda.to_host(self._host, self.device, size_bytes)

    def free(self) -> None:
        """Give the memory back."""
        if self._host:
            if self.device and not self._shared:
                self._cuda.call("cudaFree", self.device)
            self._cuda.call("cudaFreeHost", self._host)
        self._host = self.device = self.size_bytes = 0

    def _flags(self) -> int:
        runtime = self._cuda._runtime
        return int(runtime.cudaHostAllocMapped if self._shared else runtime.cudaHostAllocDefault)


def _word(verdict: Any) -> str:
    return str(getattr(verdict, "name", verdict))
