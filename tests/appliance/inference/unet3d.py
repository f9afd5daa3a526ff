"""A 3D U-Net with random weights, to measure and test engines with: the shape people use, without training.

Two convolutions with instance normalisation at each level, strided on the way down, transposed convolutions
on the way up, a softmax at the end. Its numbers come from a seeded generator: the same file each time.
`python -m tests.appliance.inference.unet3d FILE.onnx` writes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT, OUTPUT = "image", "probability"
SEED = 20


class Drawing:
    """Collects nodes and weights while a network is drawn from its input to its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(SEED)

    def weight(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def random(self, shape: Sequence[int], *, fan_in: int) -> str:
        return self.weight(self._random.standard_normal(tuple(shape)) * np.sqrt(2.0 / fan_in))

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}-{name}", **attributes))
        return name

    def convolution(self, source: str, before: int, after: int, *, stride: int = 1, side: int = 3) -> str:
        weight = self.random([after, before, side, side, side], fan_in=before * side**3)
        return self.node(
            "Conv",
            [source, weight],
            strides=[stride] * 3,
            pads=[side // 2] * 6,
            kernel_shape=[side] * 3,
        )

    def block(self, source: str, before: int, after: int, *, stride: int = 1) -> str:
        drawn = self.convolution(source, before, after, stride=stride)
        ends = [self.weight(np.ones(after)), self.weight(np.zeros(after))]
        return self.node(
            "LeakyRelu", [self.node("InstanceNormalization", [drawn, *ends], epsilon=1e-5)], alpha=0.01
        )

    def up(self, source: str, before: int, after: int) -> str:
        weight = self.random([before, after, 2, 2, 2], fan_in=2 * before)
        return self.node("ConvTranspose", [source, weight], strides=[2] * 3, kernel_shape=[2] * 3)


def unet3d(*, base: int = 16, levels: int = 4, patch: int = 64, classes: int = 3) -> onnx.ModelProto:
    """Draw the network: float32 (n, 1, patch, patch, patch) in, (n, classes, patch, patch, patch) out."""
    drawing = Drawing()
    widths = [base * 2**level for level in range(levels)]
    drawn, skipped = INPUT, []
    for level, width in enumerate(widths):
        before = widths[level - 1] if level else 1
        drawn = drawing.block(drawn, before, width, stride=2 if level else 1)
        drawn = drawing.block(drawn, width, width)
        skipped.append(drawn)
    for width, skip in zip(widths[-2::-1], skipped[-2::-1], strict=True):
        joined = drawing.node("Concat", [drawing.up(drawn, width * 2, width), skip], axis=1)
        drawn = drawing.block(drawing.block(joined, width * 2, width), width, width)
    drawn = drawing.convolution(drawn, base, classes, side=1)
    drawing.nodes.append(helper.make_node("Softmax", [drawn], [OUTPUT], name="softmax", axis=1))
    return _model(drawing, patch, classes)


def _model(drawing: Drawing, patch: int, classes: int) -> onnx.ModelProto:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, patch, patch, patch])
        for name, channels in ((INPUT, 1), (OUTPUT, classes))
    ]
    graph = helper.make_graph(drawing.nodes, "unet3d", ends[:1], ends[1:], drawing.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a 3D U-Net with random weights.")
    parser.add_argument("file", type=Path, help="where to write the .onnx file")
    for name, value in (("base", 16), ("levels", 4), ("patch", 64), ("classes", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    model = unet3d(base=given.base, levels=given.levels, patch=given.patch, classes=given.classes)
    onnx.save_model(model, given.file)


if __name__ == "__main__":
    main()
