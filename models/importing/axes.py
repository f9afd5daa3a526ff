"""Turn a network that was trained on (x, y, z) arrays into one that takes the package format's (z, y, x).

Promises: only the order of axes changes, by one Transpose before and one behind the network, so every number
stays what it was; names of inputs and outputs stay.
Never: moves weights about.
"""

from collections.abc import Iterable
from dataclasses import replace

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

from models.importing.graph import Graph, read_model

SPATIAL_FROM = 2
"""Batch and channel stand before the axes of space."""
_SUFFIX = "_reversed_axes"


def with_reversed_axes(graph: Graph) -> Graph:
    """Give the network with the axes of space reversed, in every input and output that has two or more."""
    model = ModelProto()
    model.CopyFrom(graph.model)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights and _has_space(value)]
    outputs = [value for value in model.graph.output if _has_space(value)]
    renamed = {value.name: f"{value.name}{_SUFFIX}" for value in [*inputs, *outputs]}
    _rename(model.graph, renamed)
    before = [_transpose(value.name, renamed[value.name], value) for value in inputs]
    behind = [_transpose(renamed[value.name], value.name, value) for value in outputs]
    nodes = [*before, *model.graph.node, *behind]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for value in [*inputs, *outputs]:
        _reverse(value)
    # What makes the answer is still what made it; the Transpose behind it only turns it.
    return replace(read_model(model, taken_in=graph.taken_in), last_operators=graph.last_operators)


def _has_space(value: ValueInfoProto) -> bool:
    return len(value.type.tensor_type.shape.dim) >= SPATIAL_FROM + 2


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    """Rename tensors wherever operators read or make them, in inner graphs too."""
    for node in graph.node:
        _replace(node.input, names)
        _replace(node.output, names)
        for attribute in node.attribute:
            # Looking at a graph that is not there would make one.
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename(inner, names)
                for value in inner.output:
                    value.name = names.get(value.name, value.name)
    kept = [value for value in graph.value_info if value.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _replace(listed: Iterable[str], names: dict[str, str]) -> None:
    listed[:] = [names.get(name, name) for name in listed]  # type: ignore[index]


def _transpose(source: str, target: str, value: ValueInfoProto) -> NodeProto:
    rank = len(value.type.tensor_type.shape.dim)
    order = [*range(SPATIAL_FROM), *reversed(range(SPATIAL_FROM, rank))]
    return helper.make_node("Transpose", [source], [target], name=f"{target}_axes", perm=order)


def _reverse(value: ValueInfoProto) -> None:
    """Declare the axes of space in the other order."""
    shape = value.type.tensor_type.shape
    axes = list(shape.dim)
    turned = [*axes[:SPATIAL_FROM], *reversed(axes[SPATIAL_FROM:])]
    copies = [type(axis).FromString(axis.SerializeToString()) for axis in turned]
    del shape.dim[:]
    shape.dim.extend(copies)
