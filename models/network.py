"""Check a network's file against its manifest, without running it.

Promises: a network that passes is valid ONNX of a known opset, whole in its one file, and its declared
tensors have the rank and type the manifest says.
Never: reads a file the network points to.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto

from models.manifest import Manifest

OPSET_MIN = 11
"""Below it, operators our engines run differ in meaning (Resize, Pad, Clip)."""
DOMAINS = ("", "ai.onnx")
RANKS = {"slice": 4, "patch": 5, "volume": 5}


def faults_of(path: Path, manifest: Manifest) -> list[str]:
    """List what is wrong with the network at `path`; empty when it is what the manifest says."""
    name = path.name
    if not path.is_file():
        return [f"{name}: is missing"]
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        return [f"{name}: is not an ONNX file ({type(error).__name__})"]
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in _tensors(model)):
        return [f"{name}: keeps its weights in another file; export it with the weights inside"]
    faults = [*_opset_faults(model), *_tensor_faults(model, manifest)]
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        faults.append(f"is not valid ONNX: {str(error).splitlines()[0]}")
    return [f"{name}: {fault}" for fault in faults]


def _opset_faults(model: ModelProto) -> Iterator[str]:
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain not in DOMAINS:
            yield f"uses operators of {opset.domain!r}, which not every engine has"
        elif not OPSET_MIN <= opset.version <= newest:
            yield f"is of opset {opset.version}; this version reads {OPSET_MIN} to {newest}"


def _tensor_faults(model: ModelProto, manifest: Manifest) -> Iterator[str]:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    rank = RANKS[manifest.input.layout]
    yield from _one(inputs, manifest.input.tensor, side="input", dtype=manifest.input.dtype, rank=rank)
    outputs = list(model.graph.output)
    yield from _one(
        outputs, manifest.answers[0].tensor, side="output", dtype=manifest.answers[0].dtype, rank=rank
    )
    for value in inputs:
        if value.name != manifest.input.tensor:
            yield f"has the input {value.name!r}, which the manifest does not feed"
    if manifest.input.patch is not None:
        yield from _patch_faults(inputs, manifest.input.tensor, manifest.input.patch)


def _one(values: list[ValueInfoProto], name: str, *, side: str, dtype: str, rank: int) -> Iterator[str]:
    value = next((value for value in values if value.name == name), None)
    if value is None:
        present = ", ".join(value.name for value in values) or "none"
        yield f"has no {side} {name!r}; it has: {present}"
        return
    tensor = value.type.tensor_type
    found = _dtype(tensor.elem_type)
    if found != dtype:
        yield f"{side} {name!r} is {found}; the manifest says {dtype}"
    if not tensor.HasField("shape"):
        yield f"{side} {name!r} has no shape; export it with named dynamic axes"
    elif len(tensor.shape.dim) != rank:
        yield f"{side} {name!r} has {len(tensor.shape.dim)} axes; its layout has {rank}"


def _dtype(element: int) -> str:
    """Write an ONNX element type as numpy does, or as ONNX does where numpy has no such type."""
    written = str(TensorProto.DataType.Name(element)).lower()
    return {"float": "float32", "double": "float64"}.get(written, written)


def _patch_faults(values: list[ValueInfoProto], name: str, patch: tuple[int, int, int]) -> Iterator[str]:
    """Compare the graph's fixed axes with the patch; a named axis takes any size."""
    value = next((value for value in values if value.name == name), None)
    if value is None or len(value.type.tensor_type.shape.dim) != RANKS["patch"]:
        return
    axes = value.type.tensor_type.shape.dim[2:]
    fixed = [
        axis.dim_value if axis.HasField("dim_value") else size for axis, size in zip(axes, patch, strict=True)
    ]
    if tuple(fixed) != patch:
        yield f"input {name!r} takes patches of {tuple(fixed)}; the manifest says {patch}"


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Give every tensor the file holds: weights and constants, dense and sparse, in inner graphs too."""
    graphs = [model.graph]
    attributes = [
        attribute for function in model.functions for node in function.node for attribute in node.attribute
    ]
    while graphs or attributes:
        if attributes:
            attribute = attributes.pop()
            yield from _of_attribute(attribute)
            graphs += [attribute.g, *attribute.graphs]
            continue
        graph = graphs.pop()
        yield from _of_graph(graph)
        attributes += [attribute for node in graph.node for attribute in node.attribute]


def _of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    yield attribute.t
    yield from attribute.tensors
    for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
        yield from (sparse.values, sparse.indices)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
