"""Check a network's file against its manifest, without running it.

Promises: a network that passes is valid ONNX of a known opset, whole in its one file, and its declared
tensors have the rank, type and fixed sizes the manifest says; all faults are listed at once.
Never: reads a file the network points to.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from models.manifest import Manifest
from models.network_tensors import tensor_faults

OPSET_MIN = 11
"""Below it, operators our engines run differ in meaning (Resize, Pad, Clip)."""
DOMAINS = ("", "ai.onnx")


def faults_of(path: Path, manifest: Manifest) -> list[str]:
    """List what is wrong with the network at `path`; empty when it is what the manifest says."""
    name = path.name
    if not path.is_file():
        return [f"{name}: is missing"]
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        return [f"{name}: is not an ONNX file ({type(error).__name__})"]
    if not model.HasField("graph"):
        return [f"{name}: is not an ONNX file (it holds no graph)"]
    faults = [*_external_faults(model), *_opset_faults(model), *tensor_faults(model, manifest)]
    # The checker would look for the other file.
    if not any(_is_external(tensor) for tensor in _tensors(model)):
        faults += _checker_faults(model)
    return [f"{name}: {fault}" for fault in faults]


def _checker_faults(model: ModelProto) -> Iterator[str]:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        yield f"is not valid ONNX: {str(error).splitlines()[0]}"


def _is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data)


def _external_faults(model: ModelProto) -> Iterator[str]:
    """Refuse weights in another file, wherever it lies: a package's network is one file."""
    outside = [tensor.name for tensor in _tensors(model) if _is_external(tensor)]
    if outside:
        yield (
            f"keeps its weights in another file ({len(outside)} tensors, the first is {outside[0]!r}); "
            "export it with the weights inside"
        )


def _opset_faults(model: ModelProto) -> Iterator[str]:
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in DOMAINS and not OPSET_MIN <= opset.version <= newest:
            yield f"is of opset {opset.version}; this version reads {OPSET_MIN} to {newest}"
    # An import that nothing uses harms nobody; exporters leave them behind.
    own = {function.domain for function in model.functions}
    used: dict[str, set[str]] = {}
    for node in _nodes(model):
        if node.domain not in DOMAINS and node.domain not in own:
            used.setdefault(node.domain, set()).add(node.op_type)
    for domain, operators in sorted(used.items()):
        yield f"uses operators of {domain!r}, which not every engine has: {', '.join(sorted(operators))}"


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Give every tensor the file holds: weights and constants, dense and sparse, in inner graphs too."""
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in _nodes(model):
        for attribute in node.attribute:
            yield from _of_attribute(attribute)


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Give every node: of the graph, of inner graphs and of the model's own functions."""
    for graph in _graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    """Give the graph and every graph inside it, each once."""
    waiting = [model.graph]
    waiting += [graph for function in model.functions for graph in _inner(function.node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += _inner(graph.node)


def _inner(nodes: "list[NodeProto]") -> Iterator[GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse_ones = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for sparse in [*sparse_ones, *attribute.sparse_tensors]:
        yield from (sparse.values, sparse.indices)
