"""A manifest that is being made: what the network's own file says about it, as far as that goes.

Promises: nothing is guessed. What follows from shapes, types and the last operator is filled in; what could
be one thing or another stays open, and `questions` asks for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import onnx

from models.importing.graph import Graph, GraphError, TensorFacts
from models.network import OPSET_MIN

FLAT_RANK, SOLID_RANK = 4, 5
"""Axes of a tensor: batch, channel, and two or three of space."""
_MIB = 1 << 20
_MEMORY_MIB_MIN = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """Hold a manifest in the making.

    Attributes:
        graph: the network.
        origin: what it was made from, in words.
        parts: keys of the manifest that are known, tables as dictionaries; outputs always as `outputs`.
        channels: names of the answer's channels, where they are known.
        widths: channels of each output by tensor, where the graph fixes them.
        derived: sentences on what was read from where.
    """

    graph: Graph
    origin: str
    parts: dict[str, Any]
    channels: Mapping[int, str] = field(default_factory=dict)
    widths: Mapping[str, int] = field(default_factory=dict)
    derived: tuple[str, ...] = ()


def draft_of(graph: Graph, *, file_name: str) -> Draft:
    """Draw up what the graph itself says.

    Raises:
        GraphError: the graph is none the package format can feed: several inputs, other axes, no float.
    """
    _check_operators(graph)
    given = _input(graph)
    outputs = _outputs(graph, given)
    return Draft(
        graph=graph,
        origin=f"the ONNX file {file_name}",
        parts={
            "format": 1,
            "name": _name(file_name),
            "version": "0.1.0",
            "input": _input_parts(given, outputs),
            "input_rank": given.rank,
            "input_channels": given.fixed(1) or 1,
            "outputs": outputs,
            "resources": {"memory_mib": _memory_mib(graph)},
        },
        widths={one.name: width for one in graph.outputs if (width := one.fixed(1)) is not None},
        derived=(
            f"Input: {given.text()}.",
            *(f"Output: {one.text()}, made by {graph.last_operators[one.name]}." for one in graph.outputs),
            f"Opset {graph.opset}, written by {graph.producer or 'an unnamed program'}.",
            *(f"Weights from {name} were taken into the one file." for name in graph.taken_in),
        ),
    )


def _check_operators(graph: Graph) -> None:
    """Demand operators that every engine knows."""
    newest = int(onnx.defs.onnx_opset_version())
    if not OPSET_MIN <= graph.opset <= newest:
        raise GraphError([f"the network is of opset {graph.opset}; a package takes {OPSET_MIN} to {newest}"])


def _input(graph: Graph) -> TensorFacts:
    """Give the one input."""
    if len(graph.inputs) != 1:
        names = ", ".join(one.text() for one in graph.inputs) or "none"
        raise GraphError([f"the network has {len(graph.inputs)} inputs ({names}); a package feeds one"])
    given = graph.inputs[0]
    if given.rank not in (FLAT_RANK, SOLID_RANK):
        raise GraphError(
            [
                f"the input {given.text()} has {given.rank or 'unknown'} axes; a package feeds "
                "(batch, channel, y, x) or (batch, channel, z, y, x)"
            ]
        )
    if given.fixed(0) not in (None, 1):
        raise GraphError(
            [f"the input {given.text()} takes {given.fixed(0)} at once; export it with an open first axis"]
        )
    if given.dtype not in ("float32", "float16"):
        raise GraphError([f"the input {given.name} is {given.dtype}; a package feeds float32 or float16"])
    return given


def _input_parts(given: TensorFacts, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Fill in what axes and type of the input say."""
    space = [given.fixed(axis) for axis in range(2, given.rank or 0)]
    sizes = [size for size in space if size is not None]
    parts: dict[str, Any] = {"tensor": given.name, "dtype": given.dtype}
    parts["layout"] = layout = _layout(given, outputs, fixed=len(sizes) == len(space))
    if given.rank == FLAT_RANK:
        parts["orientation"] = "source"
    if len(sizes) == len(space) and layout in ("patch", "image", "volume"):
        parts["patch" if layout == "patch" else "size"] = sizes
    if layout == "patch":
        parts["overlap"] = 0.5
    if layout != "volume":
        parts["batch"] = 1
    return {key: value for key, value in parts.items() if value is not None}


def _layout(given: TensorFacts, outputs: list[dict[str, Any]], *, fixed: bool) -> str | None:
    """Say how the image is cut up, where only one way fits; None where the maker must say."""
    masked = any(one.get("kind") not in ("scores", "values", "boxes", None) for one in outputs) or any(
        one.get("rank") == given.rank for one in outputs
    )
    if given.rank == FLAT_RANK:
        return "image" if fixed or not masked else None
    if not masked:
        return "volume"
    return "patch" if fixed else None


def _outputs(graph: Graph, given: TensorFacts) -> list[dict[str, Any]]:
    """Fill in what axes, type and last operator of the outputs say; `rank` is taken out again later."""
    boxes = _boxes(graph)
    if boxes is not None:
        return [boxes]
    return [_output(one, graph.last_operators[one.name], given) for one in graph.outputs]


def _output(one: TensorFacts, last: str, given: TensorFacts) -> dict[str, Any]:
    parts: dict[str, Any] = {"tensor": one.name, "dtype": one.dtype, "rank": one.rank}
    floating = one.dtype.startswith("float")
    if one.rank == given.rank:
        parts["kind"] = _mask_kind(one, last) if floating else "labels"
    ready = {"Sigmoid": "sigmoid", "Softmax": "softmax"}.get(last)
    if ready and floating:
        # The graph has applied it; applying it twice would be wrong.
        parts["activation"] = "none"
    return {key: value for key, value in parts.items() if value is not None}


def _mask_kind(one: TensorFacts, last: str) -> str | None:
    if last == "Softmax":
        return "classes"
    return "probability" if last == "Sigmoid" or one.fixed(1) == 1 else None


def _boxes(graph: Graph) -> dict[str, Any] | None:
    """Tell boxes (n, m, 4 or 6), their scores and their labels by axes and type; n may be left out."""
    boxes = [one for one in graph.outputs if one.rank in (2, 3) and one.fixed(one.rank - 1) in (4, 6)]
    if len(graph.outputs) < 2 or len(boxes) != 1:
        return None
    scores = [one for one in graph.outputs if one not in boxes and one.dtype.startswith("float")]
    labels = [one for one in graph.outputs if not one.dtype.startswith("float")]
    if len(scores) != 1:
        return None
    parts = {"tensor": boxes[0].name, "kind": "boxes", "dtype": boxes[0].dtype, "box_scores": scores[0].name}
    return parts | ({"box_labels": labels[0].name} if len(labels) == 1 else {})


def _name(file_name: str) -> str:
    """Make a name of a file's."""
    letters = [
        letter if letter.isascii() and letter.isalnum() else "-" for letter in PurePath(file_name).stem
    ]
    words = "".join(letters).lower().split("-")
    name = "-".join(word for word in words if word)[:60].strip("-")
    return name if len(name) > 1 else f"model-{name}".strip("-")


def _memory_mib(graph: Graph) -> int:
    """Start from weights twice over; running the network once corrects it."""
    return max(_MEMORY_MIB_MIN, 2 * int(graph.model.ByteSize()) // _MIB)
