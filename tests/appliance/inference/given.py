"""Networks and packages for the tests of engines: small, made here, or the ones that ship."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.catalogue import shipped
from models.package import Package, open_package


def bands() -> Package:
    """Open the tissue bands, a package that ships."""
    return open_package(next(path for path in shipped() if path.name == "ct-tissue-bands"))


def package_of(folder: Path, model: onnx.ModelProto) -> Package:
    """Put a network in the place of the tissue bands' own; nothing checks that it fits."""
    onnx.save_model(model, folder / "model.onnx")
    return replace(bands(), root=folder)


def network(
    nodes: Sequence[onnx.NodeProto],
    *,
    shape: Sequence[int | str] = ("n", 1, "y", "x"),
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """A network from "image" to "labels" (float32 both) through these nodes."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "labels")]
    graph = helper.make_graph(list(nodes), "test", ends[:1], ends[1:], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def doubling() -> onnx.ModelProto:
    """A network that adds its input to itself."""
    return network([helper.make_node("Add", ["image", "image"], ["labels"])])


def slow(times: int) -> onnx.ModelProto:
    """A network that multiplies a large matrix with itself so many times."""
    names = ["image", *(f"step{n}" for n in range(times - 1)), "labels"]
    nodes = [
        helper.make_node("MatMul", [before, "image"], [after]) for before, after in itertools.pairwise(names)
    ]
    return network(nodes, shape=(1, 1, "n", "n"))


def reaching_out(folder: Path) -> onnx.ModelProto:
    """A network whose weights lie in another file."""
    weight = numpy_helper.from_array(np.ones((4,), np.float32), "weight")
    (folder / "secret").write_bytes(weight.raw_data)
    onnx.external_data_helper.set_external_data(weight, "secret", offset=0, length=16)
    weight.ClearField("raw_data")
    return network([helper.make_node("Add", ["image", "weight"], ["labels"])], weights=[weight])
