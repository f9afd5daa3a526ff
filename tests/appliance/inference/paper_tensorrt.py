"""TensorRT on paper: its Python interface, with ONNX Runtime on the processor doing the work.

It runs what only a device runs with the real library: contexts, addresses, streams and graphs. What the real
builder and parser do is tested with the real ones. Device memory is that of `paper_cuda`.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime

__version__ = "99.1"
_MAGIC = b"paper engine "


class Severity(enum.IntEnum):
    ERROR = 1


class ILogger:
    def log(self, severity: Any, text: str) -> None: ...


class IProgressMonitor:
    def phase_start(self, phase: str, parent: str | None, steps: int) -> None: ...
    def step_complete(self, phase: str, step: int) -> bool:
        return True

    def phase_finish(self, phase: str) -> None: ...


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT32 = 3
    UINT8 = 5
    INT64 = 8


class TensorIOMode(enum.IntEnum):
    INPUT = 1
    OUTPUT = 2


class LayerInformationFormat(enum.IntEnum):
    JSON = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class ProfilingVerbosity(enum.IntEnum):
    DETAILED = 2


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ITensor:
    is_shape_tensor = False
    name = ""
    dtype: Any = None
    shape: Any = ()

    def __init__(self, value: onnx.ValueInfoProto) -> None:
        kind = value.type.tensor_type
        self.name = value.name
        self.dtype = _TYPES[kind.elem_type]
        self.shape = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim]


class ILayer:
    name = type = num_outputs = None

    def get_output(self, index: int) -> None: ...


class INetworkDefinition:
    model: onnx.ModelProto
    num_layers = 0

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    @property
    def num_outputs(self) -> int:
        return len(self.model.graph.output)

    def get_input(self, index: int) -> ITensor:
        return ITensor(self.model.graph.input[index])

    def get_output(self, index: int) -> ITensor:
        return ITensor(self.model.graph.output[index])

    def get_layer(self, index: int) -> None: ...


class ParserError:
    def desc(self) -> None: ...
    def node_name(self) -> None: ...
    def node_operator(self) -> None: ...


class OnnxParser:
    num_errors = 0

    def __init__(self, definition: INetworkDefinition, logger: ILogger) -> None:
        self._definition = definition

    def parse(self, content: bytes) -> bool:
        self._definition.model = onnx.load_from_string(content)
        return True

    def get_error(self, index: int) -> None: ...


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self.shapes[name] = [list(least), list(usual), list(most)]


class IBuilderConfig:
    profiling_verbosity = progress_monitor = None

    def __init__(self) -> None:
        self.profile: IOptimizationProfile | None = None
        self.flags = {BuilderFlag.TF32}
        self.workspace_bytes = 2**40

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def get_flag(self, flag: BuilderFlag) -> bool:
        return flag in self.flags

    def set_memory_pool_limit(self, pool: MemoryPoolType, size_bytes: int) -> None:
        self.workspace_bytes = size_bytes

    def get_memory_pool_limit(self, pool: MemoryPoolType) -> int:
        return self.workspace_bytes

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, content: bytes) -> ITimingCache:
        self.cache = ITimingCache(content)
        return self.cache

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self.cache


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def serialize(self) -> bytes:
        return self._content + b"measured "


class Builder:
    def __init__(self, logger: ILogger) -> None: ...

    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes:
        assert config.profile is not None
        profile = json.dumps(config.profile.shapes).encode()
        return _MAGIC + profile + b"\n" + bytes(network.model.SerializeToString())


class EngineInspector:
    def get_engine_information(self, wanted: LayerInformationFormat) -> str:
        outputs = [{"Name": "labels", "Format/Datatype": "Row major linear FP32"}]
        return json.dumps({"Layers": [{"LayerType": "Myelin", "Outputs": outputs}]})


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, content: bytes) -> ICudaEngine | None:
        if not content.startswith(_MAGIC):
            self._logger.log(Severity.ERROR, "Magic tag does not match, file /usr/src/engine.cpp")
            return None
        profile, _, network = content.removeprefix(_MAGIC).partition(b"\n")
        return ICudaEngine(json.loads(profile), network)


class ICudaEngine:
    device_memory_size_v2 = 1000
    num_io_tensors = 0

    def __init__(self, profile: dict[str, Any], network: bytes) -> None:
        graph = onnx.load_from_string(network).graph
        self.inputs = [ITensor(value) for value in graph.input]
        self.tensors = [*self.inputs, *(ITensor(value) for value in graph.output)]
        self.num_io_tensors = len(self.tensors)
        self.profile = profile
        self.session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        is_input = any(tensor.name == name for tensor in self.inputs)
        return TensorIOMode.INPUT if is_input else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self._named(name).dtype

    def get_tensor_shape(self, name: str) -> Any:
        return self._named(name).shape

    def get_tensor_profile_shape(self, name: str, index: int) -> list[list[int]]:
        shapes: list[list[int]] = self.profile[name]
        return shapes

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def _named(self, name: str) -> Any:
        return next(tensor for tensor in self.tensors if tensor.name == name)


class IExecutionContext:
    """Only networks whose answer has the shape of their input run on paper."""

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        first = self._shapes[str(self._engine.inputs[0].name)]
        wanted = self._engine.get_tensor_shape(name)
        return tuple(side if side >= 0 else given for side, given in zip(wanted, first, strict=True))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address != 0

    def execute_async_v3(self, stream: int) -> bool:
        addresses, shapes = dict(self._addresses), dict(self._shapes)
        outputs = [tensor.name for tensor in self._engine.tensors[len(self._engine.inputs) :]]
        device = sys.modules["cuda.bindings.runtime"]

        def work() -> None:
            given = {name: self._memory(name, addresses[name], shape) for name, shape in shapes.items()}
            answers = self._engine.session.run(outputs, given)
            for name, answer in zip(outputs, answers, strict=True):
                self._memory(name, addresses[name], answer.shape)[...] = answer

        device.give(work)
        return True

    def _memory(self, name: str, address: int, shape: tuple[int, ...]) -> np.ndarray:
        kind = np.dtype(_NUMPY[self._engine.get_tensor_dtype(name)])
        count = int(np.prod(shape)) * kind.itemsize
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))
        return raw.view(kind).reshape(shape)


_TYPES = {1: DataType.FLOAT, 2: DataType.UINT8, 6: DataType.INT32, 7: DataType.INT64, 10: DataType.HALF}
_NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.UINT8: np.uint8,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
    DataType.HALF: np.float16,
}
