"""Small networks made on the spot, as exporters leave them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

Axes = Sequence[int | str]
SOLID: Axes = ("n", 1, 8, 6, 4)


def network(
    nodes: Sequence[onnx.NodeProto],
    *,
    given: Axes = SOLID,
    answers: Sequence[tuple[str, Axes]] = (("pred", ("n", 2, 8, 6, 4)),),
    weights: Sequence[tuple[str, np.ndarray]] = (),
    opset: int = 17,
) -> ModelProto:
    """A network from `image` to its outputs, all float32."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(nodes),
        "network",
        [value("image", TensorProto.FLOAT, list(given))],
        [value(name, TensorProto.FLOAT, list(axes)) for name, axes in answers],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def two_classes(given: Axes = SOLID, *, last: str | None = None) -> ModelProto:
    """Logits of background and something bright, by a 1x1x1 convolution; `last` names an activation."""
    axes = len(given) - 2
    kernel = np.array([-4.0, 4.0], dtype=np.float32).reshape(2, 1, *[1] * axes)
    weights = [("kernel", kernel), ("bias", np.array([2.0, -2.0], dtype=np.float32))]
    logits = "logits" if last else "pred"
    nodes = [helper.make_node("Conv", ["image", "kernel", "bias"], [logits])]
    if last:
        nodes.append(helper.make_node(last, [logits], ["pred"]))
        if last == "Softmax":
            nodes[-1].attribute.append(helper.make_attribute("axis", 1))
    return network(nodes, given=given, answers=[("pred", (given[0], 2, *given[2:]))], weights=weights)


def scores(labels: int = 2, given: Axes = ("n", 1, 16, 12)) -> ModelProto:
    """One row of numbers per image: the mean, times something."""
    weights = [("weight", np.linspace(-1, 1, labels, dtype=np.float32).reshape(1, labels))]
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["pred"]),
    ]
    return network(nodes, given=given, answers=[("pred", (given[0], labels))], weights=weights)


def uneven(given: Axes = SOLID) -> ModelProto:
    """Adds to every voxel its place along the axes, so that turned axes show."""
    sides = [int(side) for side in given[2:]]
    ramp = np.arange(np.prod(sides), dtype=np.float32).reshape(1, 1, *sides)
    node = helper.make_node("Add", ["image", "ramp"], ["pred"])
    return network([node], given=given, answers=[("pred", given)], weights=[("ramp", ramp)])


def saved(model: ModelProto, path: Path) -> Path:
    """The network as one file."""
    onnx.save(model, path)
    return path


def saved_apart(model: ModelProto, path: Path, location: str) -> Path:
    """The network with its weights in a second file."""
    onnx.save(model, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def one_box() -> ModelProto:
    """The same box for every image, (n, 1, 4), with a score, (n, 1, 1)."""
    corners = np.array([[[2.0, 3.0, 9.0, 8.0]]], dtype=np.float32)
    weights = [("corners", corners), ("sure", np.full((1, 1, 1), 0.9, dtype=np.float32))]
    weights += [("nothing", np.zeros(1, dtype=np.float32)), ("axis", np.array([3], dtype=np.int64))]
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Squeeze", ["mean", "axis"], ["row"]),
        helper.make_node("Mul", ["row", "nothing"], ["zero"]),
        helper.make_node("Add", ["corners", "zero"], ["boxes"]),
        helper.make_node("Add", ["sure", "zero"], ["scores"]),
    ]
    answers = [("boxes", ("n", 1, 4)), ("scores", ("n", 1, 1))]
    return network(nodes, given=("n", 1, 16, 12), answers=answers, weights=weights)
