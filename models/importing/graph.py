"""What an ONNX file says about itself: tensors, types, opset, and where its weights lie.

Promises: weights that lie in other files beside the network are taken into it, so that what goes into a
package is one file; a file that names anything outside its own folder is refused before it is read.
Never: runs the network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model

from models.importing.limits import ImportLimits

Axis = int | str | None
"""A fixed size, the name of an open axis, or nothing where the axis is open and has no name."""


class GraphError(ValueError):
    """The file cannot be imported; `faults` lists every reason."""

    def __init__(self, faults: Sequence[str]) -> None:
        """Take every fault at once."""
        super().__init__("; ".join(faults))
        self.faults = list(faults)


@dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """Hold what a graph says of one input or output; `shape` None: it says nothing of its axes."""

    name: str
    dtype: str
    shape: tuple[Axis, ...] | None

    @property
    def rank(self) -> int | None:
        """Give the number of axes."""
        return None if self.shape is None else len(self.shape)

    def fixed(self, axis: int) -> int | None:
        """Give the size of `axis` where the graph fixes it."""
        size = self.shape[axis] if self.shape is not None and axis < len(self.shape) else None
        return size if isinstance(size, int) else None

    def text(self) -> str:
        """Write it as people read it: "image float32 (n, 1, 96, 96, 96)"."""
        if self.shape is None:
            return f"{self.name} {self.dtype}, of unknown shape"
        axes = ", ".join("?" if axis is None else str(axis) for axis in self.shape)
        return f"{self.name} {self.dtype} ({axes})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Hold a network in memory, weights included, with what it says about itself.

    Attributes:
        model: the network.
        inputs, outputs: its tensors; weights are not among them.
        last_operators: name of the operator that makes each output, by output.
        opset: of ONNX's own operators; 0 when it names none.
        producer: which program wrote it.
        taken_in: names of the files whose weights were taken in.
    """

    model: ModelProto
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    last_operators: dict[str, str]
    opset: int
    producer: str
    taken_in: tuple[str, ...] = ()

    def written(self) -> bytes:
        """Give the network as one file."""
        return bytes(self.model.SerializeToString(deterministic=True))


def read_graph(path: Path, limits: ImportLimits | None = None) -> Graph:
    """Read the network at `path`, and its external weights where they lie beside it.

    Raises:
        GraphError: there is no such file, it is not ONNX, it is too large, or it names weights that are
            missing or lie outside its folder.
    """
    limits = limits or ImportLimits()
    model = _load(path, limits)
    return read_model(model, taken_in=_take_in(model, path.parent, limits))


def read_model(model: ModelProto, *, taken_in: tuple[str, ...] = ()) -> Graph:
    """Read a network that is in memory already."""
    weights = {tensor.name for tensor in model.graph.initializer}
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    own = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return Graph(
        model=model,
        inputs=tuple(_facts(value) for value in model.graph.input if value.name not in weights),
        outputs=tuple(_facts(value) for value in model.graph.output),
        last_operators={value.name: makers.get(value.name, "") for value in model.graph.output},
        opset=max(own, default=0),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        taken_in=taken_in,
    )


def _load(path: Path, limits: ImportLimits) -> ModelProto:
    if not path.is_file():
        raise GraphError([f"{path.name}: there is no such file"])
    if path.stat().st_size > limits.network_bytes_max:
        raise GraphError([f"{path.name}: {path.stat().st_size} bytes, more than {limits.network_bytes_max}"])
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise GraphError([f"{path.name}: is not an ONNX file ({type(error).__name__})"]) from error
    if not model.graph.node:
        raise GraphError([f"{path.name}: is not an ONNX network (it has no operator)"])
    return model


def _take_in(model: ModelProto, folder: Path, limits: ImportLimits) -> tuple[str, ...]:
    """Put external weights into the network; give the names of their files."""
    named = {ExternalDataInfo(tensor).location for tensor in _external(model)}
    if not named:
        return ()
    faults = [fault for location in sorted(named) for fault in _location_faults(location, folder)]
    if faults:
        raise GraphError(faults)
    total = model.ByteSize() + sum((folder / location).stat().st_size for location in named)
    if total > limits.network_bytes_max:
        raise GraphError(
            [f"network and weights hold {total} bytes; one file may hold {limits.network_bytes_max}"]
        )
    try:
        load_external_data_for_model(model, str(folder))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise GraphError([f"its weights cannot be read ({type(error).__name__})"]) from error
    return tuple(sorted(named))


def _location_faults(location: str, folder: Path) -> Iterator[str]:
    """Judge where external weights are said to lie; only a plain file inside the network's folder will do."""
    path = folder / location
    shown = location if location.isprintable() and len(location) < 100 else "a file with an odd name"
    inside = path.resolve().is_relative_to(folder.resolve()) and not Path(location).is_absolute()
    if not location or ".." in Path(location).parts or not inside:
        yield f"its weights are said to lie in {shown!r}, outside the network's own folder; this is refused"
    elif path.is_symlink():
        yield f"its weights are said to lie in {shown!r}, which is a link; this is refused"
    elif not path.is_file():
        yield f"its weights lie in {shown!r}, which is not beside it; put that file into the same folder"


def _external(model: ModelProto) -> Iterator[TensorProto]:
    """Give every tensor that keeps its values in another file, wherever it stands in the network."""
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        if isinstance(message, TensorProto):
            if message.data_location == TensorProto.EXTERNAL:
                yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            waiting += [value] if isinstance(value, Message) else list(value)


def _facts(value: ValueInfoProto) -> TensorFacts:
    tensor = value.type.tensor_type
    shape: tuple[Axis, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            axis.dim_value if axis.HasField("dim_value") else axis.dim_param or None
            for axis in tensor.shape.dim
        )
    return TensorFacts(name=value.name, dtype=dtype_name(tensor.elem_type), shape=shape)


def dtype_name(element: int) -> str:
    """Write an ONNX element type as numpy does, or as ONNX does where numpy has no such type."""
    written = str(TensorProto.DataType.Name(element)).lower()
    return {"float": "float32", "double": "float64"}.get(written, written)
