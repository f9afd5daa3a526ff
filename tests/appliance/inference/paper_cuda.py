"""A CUDA device on paper: what `cuda.bindings.runtime` does, with device memory in host memory.

There is no device here, and code that has never run is worth nothing. This stands in for the few calls that
the box makes, keeps work in a queue until somebody waits for it, and counts what is not given back. It proves
the order of calls, the addresses and the bookkeeping; it proves nothing of a real device.
"""

from __future__ import annotations

import ctypes
import enum
import importlib.machinery
import types
from collections.abc import Callable
from typing import Any

Work = Callable[[], None]


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNotReady = 600
    cudaErrorLaunchFailure = 719


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeThreadLocal = 1


OK = (cudaError_t.cudaSuccess,)
STREAM = 7


class PaperCuda(types.ModuleType):
    """Stands in for the module; one device, one stream.

    Attributes:
        hung: nothing that is waited for ever ends.
        broken: what is waited for ends in a failure.
        memory_bytes: what device and pinned memory may take together.
        held: addresses that are not given back.
        played: how often a graph was launched.
    """

    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2
    cudaHostAllocDefault = 0
    cudaHostAllocMapped = 2
    cudaError_t = cudaError_t
    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode

    def __init__(self, memory_bytes: int = 2**28) -> None:
        super().__init__("cuda.bindings.runtime")
        self.__spec__ = importlib.machinery.ModuleSpec("cuda.bindings.runtime", None)
        self.memory_bytes = memory_bytes
        self.hung = self.broken = False
        self.held: dict[int, Any] = {}
        self.handles = 0
        self.played = 0
        self.calls: list[str] = []
        self._queue: list[Work] = []
        self._capture: list[Work] | None = None

    def give(self, work: Work) -> None:
        """Put work into the stream, or into the graph that is being captured."""
        (self._queue if self._capture is None else self._capture).append(work)

    def cudaSetDevice(self, ordinal: int) -> tuple[Any, ...]:
        return OK if ordinal == 0 else (cudaError_t.cudaErrorInvalidValue,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        self.handles += 1
        return (*OK, STREAM)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        self.handles -= 1
        return OK

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        self.handles += 1
        return (*OK, object())

    def cudaEventDestroy(self, event: object) -> tuple[Any, ...]:
        self.handles -= 1
        return OK

    def cudaEventRecord(self, event: object, stream: int) -> tuple[Any, ...]:
        assert stream == STREAM
        return OK

    def cudaEventQuery(self, event: object) -> tuple[Any, ...]:
        if self.hung:
            return (cudaError_t.cudaErrorNotReady,)
        if self.broken:
            return (cudaError_t.cudaErrorLaunchFailure,)
        queue, self._queue = self._queue, []
        for work in queue:
            work()
        return OK

    def cudaMalloc(self, size_bytes: int) -> tuple[Any, ...]:
        taken = sum(len(block) for block in self.held.values())
        if taken + size_bytes > self.memory_bytes:
            return (cudaError_t.cudaErrorMemoryAllocation, 0)
        block = (ctypes.c_uint8 * size_bytes)()
        self.held[ctypes.addressof(block)] = block
        return (*OK, ctypes.addressof(block))

    def cudaHostAlloc(self, size_bytes: int, flags: int) -> tuple[Any, ...]:
        return self.cudaMalloc(size_bytes)

    def cudaHostGetDevicePointer(self, host: int, flags: int) -> tuple[Any, ...]:
        return (*OK, host)

    def cudaFree(self, address: int) -> tuple[Any, ...]:
        del self.held[address]
        return OK

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:
        return self.cudaFree(address)

    def cudaMemcpyAsync(self, to: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any, ...]:
        assert stream == STREAM
        self.calls.append(cudaMemcpyKind(kind).name)

        def copy() -> None:
            ctypes.memmove(to, source, size)

        self.give(copy)
        return OK

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:
        self._capture = []
        return OK

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        captured, self._capture = self._capture, None
        self.handles += 1
        return (*OK, captured)

    def cudaGraphInstantiate(self, graph: list[Work], flags: int) -> tuple[Any, ...]:
        self.handles += 1
        return (*OK, list(graph))

    def cudaGraphDestroy(self, graph: object) -> tuple[Any, ...]:
        self.handles -= 1
        return OK

    def cudaGraphExecDestroy(self, graph: object) -> tuple[Any, ...]:
        self.handles -= 1
        return OK

    def cudaGraphLaunch(self, graph: list[Work], stream: int) -> tuple[Any, ...]:
        self.played += 1
        self._queue += graph
        return OK
