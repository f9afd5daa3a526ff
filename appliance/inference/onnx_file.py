"""A network's file as every engine of this box reads it: its bytes, and the arrays it takes and gives.

Promises: a network that keeps weights in another file is refused, whoever packed it and however deep the
reference lies. Never: follows a path that a network names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from appliance.inference.engine import InferenceError


@dataclass(frozen=True, kw_only=True)
class Port:
    """One array a network takes or gives.

    Attributes:
        dtype: numpy's.
        shape: None for an axis the network leaves open.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class OnnxFile:
    """A network that has been read whole.

    Attributes:
        inputs: what must be fed; weights are not among them.
    """

    content: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @property
    def open_axes(self) -> bool:
        """Say whether any input leaves an axis open."""
        return any(side is None for port in self.inputs for side in port.shape)


def read_network(path: Path) -> OnnxFile:
    """Read a network.

    Raises:
        InferenceError: inference.load, the file is no network, or reaches outside itself.
    """
    try:
        content = path.read_bytes()
        model = onnx.load_from_string(content)
        _refuse_external_data(model)
        if not model.graph.output:
            raise InferenceError("inference.load", "The network gives nothing.")
        weights = {tensor.name for tensor in model.graph.initializer}
        fed = [value for value in model.graph.input if value.name not in weights]
        return OnnxFile(content=content, inputs=_ports(fed), outputs=_ports(model.graph.output))
    except (OSError, DecodeError, ValueError, KeyError) as error:
        raise InferenceError(
            "inference.load", f"The network cannot be read ({type(error).__name__})."
        ) from error


def zeros(ports: Iterable[Port], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Make an input of zeros for every port, in the shapes given by name."""
    return {port.name: np.zeros(shapes[port.name], port.dtype) for port in ports}


def _ports(values: Iterable[onnx.ValueInfoProto]) -> tuple[Port, ...]:
    return tuple(
        Port(
            name=value.name,
            dtype=np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            shape=tuple(
                axis.dim_value if axis.HasField("dim_value") else None
                for axis in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
    )


def _refuse_external_data(model: Message) -> None:
    """Refuse a network that names another file: its path would be followed (CVE-2022-25882 and its heirs)."""
    waiting: list[Message] = [model]
    while waiting:
        message = waiting.pop()
        if isinstance(message, onnx.TensorProto):
            if message.data_location == onnx.TensorProto.EXTERNAL:
                raise InferenceError("inference.load", "The network keeps its weights in another file.")
            continue
        for _, value in message.ListFields():
            held = [value] if isinstance(value, Message) else value
            # A field holds messages, or only plain values; its first tells which.
            if not isinstance(held, str | bytes | int | float) and held and isinstance(held[0], Message):
                waiting.extend(held)


def check_batch(batch: Mapping[str, NDArray[Any]], ports: Iterable[Port]) -> None:
    """Refuse arrays a network does not take, before a library casts or reshapes them silently.

    Raises:
        InferenceError: inference.failed.
    """
    wanted = {port.name: port for port in ports}
    if batch.keys() != wanted.keys():
        raise InferenceError(
            "inference.failed", f"The network takes {sorted(wanted)} and was given {sorted(batch)}."
        )
    for name, array in batch.items():
        port = wanted[name]
        if array.dtype != port.dtype or not _fits(array.shape, port.shape):
            raise InferenceError(
                "inference.failed",
                f"Input {name!r} is {array.dtype} {array.shape}; "
                f"the network takes {port.dtype} {port.shape}.",
            )


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        side in (None, given) for given, side in zip(shape, wanted, strict=True)
    )
