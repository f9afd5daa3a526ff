"""Tiny honest models for the body: networks without weights that compare values, packed as packages are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.manifest import load
from models.network import faults_of
from models.package import Package, digest_of

Kind = Literal["regions", "turned regions", "labels", "boxes"]
COLOUR_RGB = (255, 0, 190)

_HEAD = """
format = 1
name = "geometry-{name}"
version = "1.0.0"
task = "{task}"
intended_use = "Marks bright places, for tests."
regulatory_status = "Not a medical device."
licence = "Apache-2.0"

[accepts]
when = 'Modality == "{modality}"'
{accepts}

[input]
tensor = "image"
units = "{units}"
"""
_LABEL = """
[[output.labels]]
name = "{name}"
value = {value}
title = "{name}"
category = {{ value = "49755003", scheme = "SCT", meaning = "Morphologically Abnormal Structure" }}
type = {{ value = "52988006", scheme = "SCT", meaning = "Lesion" }}
colour_rgb = [{colour}]
"""
_REGIONS = """
[output]
tensor = "answer"
kind = "probability"
dtype = "float32"
{labels}
[[interpret]]
step = "components"
label = "mark"
threshold = 0.5

[[interpret]]
step = "heat-map"
floor = 0.5
"""
_LABELS = """
[output]
tensor = "answer"
kind = "labels"
dtype = "uint8"
{labels}
[[interpret]]
step = "label-statistics"
labels = [{named}]

[[interpret]]
step = "segments"
labels = [{named}]
"""
_BOXES = """
[output]
tensor = "answer"
kind = "boxes"
dtype = "float32"
coordinates = "yxyx"
scale = "pixels"
box_scores = "scores"
{labels}
[[interpret]]
step = "detect"
threshold = 0.5
nms_iou = 0.3
"""
_TAIL = """
[tolerances]
absolute = 1e-3

[resources]
memory_mib = 64
"""
_TASKS: dict[Kind, str] = {
    "regions": "segmentation",
    "turned regions": "segmentation",
    "labels": "measurement",
    "boxes": "detection",
}
# The network for radiographs sees them at another size: (rows, columns).
SIZE = (480, 612)


def package(kind: Kind, modality: str, folder: Path) -> Package:
    """Write and open one of the models for images of one modality."""
    units = "HU" if modality == "CT" else ""
    # A radiograph has no place in the patient, so there is no geometry to ask for.
    accepts = 'geometry = "regular"' if modality in ("CT", "MR") else 'geometry = "any"\nslices_max = 1'
    head = {"name": kind.replace(" ", "-"), "task": _TASKS[kind]}
    manifest = _HEAD.format(**head, modality=modality, accepts=accepts, units=units)
    colours = [COLOUR_RGB] if kind != "labels" else [(255, 30 * n, 200 - 20 * n) for n in range(1, 9)]
    names = [f"octant {n}" for n in range(1, 9)] if kind == "labels" else ["mark"]
    first = 1 if kind == "labels" else 0
    labels = "".join(
        _LABEL.format(name=name, value=value, colour=", ".join(map(str, colour)))
        for value, (name, colour) in enumerate(zip(names, colours, strict=True), start=first)
    )
    named = ", ".join(f'"{name}"' for name in names)
    if kind == "regions":
        manifest += 'layout = "slice"\norientation = "source"\nbatch = 8\n' + _REGIONS.format(labels=labels)
    elif kind == "turned regions":
        manifest += 'layout = "patch"\norientation = "RAS"\npatch = [32, 48, 48]\noverlap = 0.25\n'
        manifest += _REGIONS.format(labels=labels)
    elif kind == "labels":
        manifest += 'layout = "slice"\norientation = "source"\nbatch = 8\n'
        manifest += _LABELS.format(labels=labels, named=named)
    else:
        manifest += f'layout = "image"\norientation = "source"\nsize = [{SIZE[0]}, {SIZE[1]}]\n'
        manifest += _BOXES.format(labels=labels)
    root = folder / f"{kind.replace(' ', '-')}-{modality}"
    root.mkdir()
    (root / "manifest.toml").write_text(manifest + _TAIL)
    (root / "MODEL_CARD.md").write_text("# For tests\n")
    onnx.save(_graph(kind), str(root / "model.onnx"))
    said = load(root / "manifest.toml")
    assert not faults_of(root / "model.onnx", said)
    # Not `open_package`: these have no golden cases, and are never installed.
    return Package(root=root, manifest=said, digest=digest_of(root, said))


def _graph(kind: Kind) -> onnx.ModelProto:
    if kind == "boxes":
        return _boxes()
    shape: list[str | int | None] = ["n", 1, "y", "x"]
    if kind == "turned regions":
        shape = ["n", 1, 32, 48, 48]
    constants = {"thousandth": 1e-3, "zero": 0.0, "one": 1.0}
    if kind == "labels":
        constants |= {"low": 600.0, "step": 1 / 40, "half": 0.5, "most": 8.5}
        nodes = [
            helper.make_node("Sub", ["image", "low"], ["above"]),
            helper.make_node("Mul", ["above", "step"], ["number"]),
            helper.make_node("Add", ["number", "half"], ["rounded"]),
            helper.make_node("Clip", ["rounded", "zero", "most"], ["kept"]),
            helper.make_node("Cast", ["kept"], ["answer"], to=TensorProto.UINT8),
        ]
    else:
        nodes = [
            helper.make_node("Mul", ["image", "thousandth"], ["share"]),
            helper.make_node("Clip", ["share", "zero", "one"], ["answer"]),
        ]
    given = TensorProto.UINT8 if kind == "labels" else TensorProto.FLOAT
    used = {name for node in nodes for name in node.input}
    return _model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("answer", given, shape)],
        {name: np.array(value, np.float32) for name, value in constants.items() if name in used},
    )


def _boxes() -> onnx.ModelProto:
    """Give the box of what is bright in each quarter of the picture, with half its value as the score.

    A quarter's rows and columns are told apart by adding numbers far beyond the picture where nothing is.
    """
    rows, columns = SIZE
    nodes = [
        helper.make_node("Greater", ["image", "edge"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["ones", "quarters"], ["inside"]),
        helper.make_node("Sub", ["one", "inside"], ["outside"]),
        helper.make_node("Mul", ["outside", "far"], ["away"]),
    ]
    sides = []
    for name, low in (("top", "row"), ("left", "column"), ("bottom", "row_end"), ("right", "column_end")):
        operator, combine = ("ReduceMax", "Sub") if low.endswith("end") else ("ReduceMin", "Add")
        nodes += [
            helper.make_node(combine, [low, "away"], [f"{name}_all"]),
            helper.make_node(operator, [f"{name}_all"], [name], axes=[2, 3], keepdims=0),
            helper.make_node("Unsqueeze", [name, "last"], [f"{name}_side"]),
        ]
        sides.append(f"{name}_side")
    nodes += [
        helper.make_node("Concat", sides, ["answer"], axis=2),
        helper.make_node("Mul", ["image", "inside"], ["seen"]),
        helper.make_node("ReduceMax", ["seen"], ["brightest"], axes=[2, 3], keepdims=0),
        helper.make_node("Mul", ["brightest", "thousandth"], ["scores"]),
    ]
    row, column = np.mgrid[:rows, :columns].astype(np.float32)
    quarters = np.zeros((1, 4, rows, columns), np.float32)
    for number in range(4):
        down, across = divmod(number, 2)
        quarters[0, number, rows // 2 * down :, columns // 2 * across :] = 1
        quarters[0, number, rows // 2 * (down + 1) :] = 0
        quarters[0, number, :, columns // 2 * (across + 1) :] = 0
    constants = {
        "edge": np.array(350 + 10, np.float32),
        "one": np.array(1, np.float32),
        "far": np.array(1e5, np.float32),
        "thousandth": np.array(1e-3, np.float32),
        "row": row[None, None],
        "column": column[None, None],
        "row_end": row[None, None] + 1,
        "column_end": column[None, None] + 1,
        "quarters": quarters,
        "last": np.array([2], np.int64),
    }
    return _model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, rows, columns])],
        [
            helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", 4, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4]),
        ],
        constants,
    )


def _model(
    nodes: list[onnx.NodeProto],
    given: list[onnx.ValueInfoProto],
    answers: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return helper.make_model(
        helper.make_graph(nodes, "marks", given, answers, weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="readside",
    )
