"""A built engine in use: its context, a stream, buffers, and a graph of the call that is made time and again.

Promises: a plan the library does not accept is a refusal, before anything of it is used; every call is
checked; giving it back frees all it took.
Not verified on hardware: the tests run it over a stand-in for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.inference.cuda_memory import Buffer, Cuda
from appliance.inference.deadline import Deadline
from appliance.inference.engine import InferenceError
from appliance.inference.onnx_file import Port
from appliance.inference.shapes import Shape, ShapeRange, check
from appliance.inference.tensorrt.journal import Journal, logger_of

_DTYPES: Mapping[str, type[Any]] = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What an engine takes and gives, read from itself."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ranges: Mapping[str, ShapeRange]


class Plan:
    """A deserialised engine, and the library objects it needs alive."""

    def __init__(self, library: Any, content: bytes) -> None:
        self.journal = Journal()
        self._logger = logger_of(library, self.journal)
        runtime = self._made(library.Runtime(self._logger), "The runtime could not start")
        self._runtime = runtime
        self.engine: Any = self._made(
            runtime.deserialize_cuda_engine(content),
            "The engine file is not one this library and device take",
        )
        self.size_bytes = len(content)
        self._library = library

    def context(self) -> Any:
        """Make a context: the scratch memory of one call at a time."""
        deserialised = self.engine
        return self._made(deserialised.create_execution_context(), "The engine has no memory to run in")

    def ports(self) -> Ports:
        """Read what the engine takes and gives."""
        deserialised = self.engine
        inputs, outputs, ranges = [], [], {}
        for index in range(deserialised.num_io_tensors):
            name = deserialised.get_tensor_name(index)
            if deserialised.is_shape_inference_io(name):
                raise InferenceError(
                    "inference.load", f"{name!r} decides on shapes, which the box does not feed."
                )
            if deserialised.get_tensor_mode(name) == self._library.TensorIOMode.INPUT:
                inputs.append(self._port(name))
                ranges[name] = self._range(name)
            else:
                outputs.append(self._port(name))
        return Ports(inputs=tuple(inputs), outputs=tuple(outputs), ranges=ranges)

    def _port(self, name: str) -> Port:
        deserialised = self.engine
        kind = str(deserialised.get_tensor_dtype(name).name)
        if kind not in _DTYPES:
            raise InferenceError(
                "inference.load", f"{name!r} is of type {kind}, which the box does not know."
            )
        sides = (int(side) for side in deserialised.get_tensor_shape(name))
        shape = tuple(side if side >= 0 else None for side in sides)
        return Port(name=name, dtype=np.dtype(_DTYPES[kind]), shape=shape)

    def _range(self, name: str) -> ShapeRange:
        deserialised = self.engine
        least, usual, most = (
            tuple(int(side) for side in shape) for shape in deserialised.get_tensor_profile_shape(name, 0)
        )
        return ShapeRange(least=least, usual=usual, most=most)

    def _made(self, thing: Any, otherwise: str) -> Any:
        if thing is None:
            raise InferenceError("inference.load", f"{otherwise}: {self.journal.told()}")
        return thing


class Session:
    """Runs a plan. One call at a time."""

    def __init__(self, plan: Plan, cuda: Cuda, *, shared_memory: bool = False, graphs: bool = True) -> None:
        self._plan, self._cuda, self._graphs = plan, cuda, graphs
        self.ports = plan.ports()
        self._context: Any = plan.context()
        self._buffers = {
            port.name: Buffer(cuda, shared=shared_memory)
            for port in (*self.ports.inputs, *self.ports.outputs)
        }
        self._last: tuple[Any, ...] | None = None
        self._graph: Any = None

    def run(self, batch: Mapping[str, NDArray[Any]], *, deadline: Deadline) -> dict[str, NDArray[Any]]:
        """Run once: host arrays in, host arrays out.

        Raises:
            InferenceError: inference.deadline, inference.memory or inference.failed.
        """
        self._cuda.use()
        # A call that outlived its deadline may still be writing into the buffers.
        self._cuda.wait(deadline)
        shapes = {name: tuple(array.shape) for name, array in batch.items()}
        check(shapes, self.ports.ranges)
        given = {port: np.ascontiguousarray(batch[port.name], port.dtype) for port in self.ports.inputs}
        self._shape(shapes)
        answers = {port: self._shape_of(port) for port in self.ports.outputs}
        moved = self._reserve(given, answers)
        for port, array in given.items():
            self._buffers[port.name].array(array.shape, port.dtype)[...] = array
        self._launch(tuple(sorted(shapes.items())), given, answers, again=not moved)
        self._cuda.wait(deadline)
        return {
            port.name: self._buffers[port.name].array(shape, port.dtype).copy()
            for port, shape in answers.items()
        }

    def memory_bytes(self) -> int:
        """Give what it holds on the device: weights (as large as the plan), scratch memory and buffers."""
        deserialised = self._plan.engine
        buffers = sum(buffer.size_bytes for buffer in self._buffers.values())
        return self._plan.size_bytes + int(deserialised.device_memory_size_v2) + buffers

    def close(self, *, seconds: float) -> None:
        """Give everything back, after what is still running."""
        self._cuda.use()
        self._cuda.wait(Deadline(seconds))
        self._forget()
        for buffer in self._buffers.values():
            buffer.free()
        # The context goes before the engine, and the engine before its runtime.
        self._context = None
        self._plan.engine = None
        self._cuda.close()

    def _shape(self, shapes: Mapping[str, Shape]) -> None:
        context = self._context
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise self._failed(f"The engine does not take {name!r} in this shape")

    def _shape_of(self, port: Port) -> Shape:
        context = self._context
        shape = tuple(int(side) for side in context.get_tensor_shape(port.name))
        if any(side < 0 for side in shape):
            raise self._failed(
                f"The size of {port.name!r} depends on what is in it, which the box does not run"
            )
        return shape

    def _reserve(self, given: Mapping[Port, NDArray[Any]], answers: Mapping[Port, Shape]) -> bool:
        """Make room in every buffer; True when an address changed, which makes the graph useless."""
        sizes = {port: array.nbytes for port, array in given.items()}
        sizes |= {port: _bytes(port, shape) for port, shape in answers.items()}
        context, moved = self._context, False
        for port, size_bytes in sizes.items():
            buffer = self._buffers[port.name]
            # An empty array still needs an address.
            moved |= buffer.reserve(max(size_bytes, 1))
            if not context.set_tensor_address(port.name, buffer.device):
                raise self._failed(f"The engine does not take the place of {port.name!r}")
        return moved

    def _launch(
        self,
        key: tuple[Any, ...],
        given: Mapping[Port, NDArray[Any]],
        answers: Mapping[Port, Shape],
        *,
        again: bool,
    ) -> None:
        """Give the stream the call: as a graph from the second call of the same shapes on."""

        def call() -> None:
            self._call(given, answers)

        if not (again and key == self._last):
            self._forget()
            self._last = key
            call()
            return
        if self._graph is None and self._may_record():
            self._record(call)
        if self._graph is None:
            call()
        else:
            self._cuda.play(self._graph)

    def _record(self, call: Callable[[], None]) -> None:
        """Make a graph of the call; an engine that cannot be recorded runs call by call from now on."""
        try:
            self._graph = self._cuda.record(call)
        except InferenceError:
            self._graphs = False

    def _call(self, given: Mapping[Port, NDArray[Any]], answers: Mapping[Port, Shape]) -> None:
        context = self._context
        for port, array in given.items():
            self._buffers[port.name].send(array.nbytes)
        if not context.execute_async_v3(self._cuda.stream):
            raise self._failed("The engine did not start")
        for port, shape in answers.items():
            self._buffers[port.name].fetch(_bytes(port, shape))

    def _may_record(self) -> bool:
        """Say whether the call can become a graph; TensorRT-RTX knows calls that cannot."""
        context = self._context
        if not self._graphs:
            return False
        return not hasattr(context, "is_stream_capturable") or bool(
            context.is_stream_capturable(self._cuda.stream)
        )

    def _forget(self) -> None:
        if self._graph is not None:
            self._cuda.forget(self._graph)
        self._graph = None

    def _failed(self, sentence: str) -> InferenceError:
        return InferenceError("inference.failed", f"{sentence}: {self._plan.journal.told()}")


def _bytes(port: Port, shape: Shape) -> int:
    return int(np.prod(shape)) * port.dtype.itemsize
