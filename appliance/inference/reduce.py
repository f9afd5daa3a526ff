"""Make a network smaller and faster by giving up precision; ONNX Runtime's own tools do the work.

Promises: names, shapes and types of inputs and outputs stay, so that the manifest stays true; the answer is a
network, never a verdict on it.
Never: changes the network it was given, or looks at patients' images: calibration is fed by the caller.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx.shape_inference
import onnxruntime
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from appliance.inference.engine import InferenceError, Tensors

Precision = Literal["fp16", "int8-qdq", "int8-qdq-symmetric"]
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8-qdq", "int8-qdq-symmetric")

# What TensorRT's parser takes: signed, symmetric, and no quantised bias (its DequantizeLinear refuses int32).
_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}

# The tool has no error of its own; these are what it and what it calls have been seen to raise.
_FAULTS = (
    DecodeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    AssertionError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


def tool() -> str:
    """Name what makes the reduced networks, for the manifest of a variant."""
    return f"onnxruntime {onnxruntime.__version__}"


def reduced(network: Path, precision: Precision, *, calibration: Sequence[Tensors]) -> bytes:
    """Give the network of reduced precision, as the bytes of an ONNX file.

    Args:
        network: an ONNX file with its weights inside.
        precision: "fp16" casts the graph and keeps float32 at its ends; "int8-qdq" is ONNX Runtime's default
            for processors (unsigned activations); "int8-qdq-symmetric" is what TensorRT builds.
        calibration: inputs the network may be fed, by name; only INT8 looks at them.

    Raises:
        InferenceError: inference.reduce, the tool cannot convert this network, or left it as it was.
    """
    if precision != "fp16" and not calibration:
        raise InferenceError("inference.reduce", "INT8 needs inputs to calibrate with, and there are none.")
    try:
        with _quiet():
            made = _half(network) if precision == "fp16" else _int8(network, precision, calibration)
    except _FAULTS as error:
        raise InferenceError(
            "inference.reduce", f"The network cannot be converted to {precision} ({type(error).__name__})."
        ) from error
    if not _is_reduced(made, precision):
        raise InferenceError(
            "inference.reduce",
            f"Nothing in this network can be calculated in {precision}; it stays as it is.",
        )
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tool's advice to itself: the parity verdict tells what its rounding did."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _is_reduced(network: bytes, precision: Precision) -> bool:
    """Look for what the tool should have put into the graph."""
    graph = onnx.load_from_string(network).graph
    if precision == "fp16":
        return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    return any(node.op_type == "QuantizeLinear" for node in graph.node)


def _half(network: Path) -> bytes:
    made = OnnxModel(
        convert_float_to_float16(onnx.load(network, load_external_data=False), keep_io_types=True)
    )
    # The tool puts its casts at the end of the list; a graph's nodes stand in the order of their use.
    made.topological_sort()
    return bytes(made.model.SerializeToString())


def _int8(network: Path, precision: Precision, calibration: Sequence[Tensors]) -> bytes:
    symmetric = precision == "int8-qdq-symmetric"
    with tempfile.TemporaryDirectory(prefix="readside-reduce-") as folder:
        target = Path(folder) / "reduced.onnx"
        quantize_static(
            network,
            target,
            _Fed(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options=dict(_SYMMETRIC) if symmetric else {},
        )
        return target.read_bytes()


class _Fed(CalibrationDataReader):  # type: ignore[misc]
    """Hands the tool one input after another, as it asks for them."""

    def __init__(self, calibration: Sequence[Tensors]) -> None:
        self._left: Iterator[dict[str, NDArray[Any]]] = iter([dict(batch) for batch in calibration])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Give the next input; None after the last."""
        return next(self._left, None)
