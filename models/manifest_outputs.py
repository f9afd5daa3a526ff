"""What a network answers: one section per output, and how each is to be read."""

from typing import Annotated, Literal

from pydantic import Field

from models.labels import Label, Name, Quantity, Text
from models.operations.strict import Strict

Kind = Literal["labels", "probability", "classes", "scores", "values", "boxes"]
MASKED: tuple[Kind, ...] = ("labels", "probability", "classes")
"""Kinds that answer for every voxel."""
Dtype = Literal["uint8", "int32", "int64", "float32", "float16"]
Coordinates = Literal["yxyx", "xyxy", "cxcywh", "zyxzyx", "xyzxyz"]


class Output(Strict):
    """Say what one output of the network means.

    Attributes:
        tensor: name of the graph's output.
        name: what interpret steps call it; the tensor's name unless said.
        kind: "labels": one number per voxel; "probability": one channel per label, each 0-1 by itself;
            "classes": channels that exclude each other, the largest wins; "scores": one number per label for
            each slice, image or volume; "values": one number per quantity for each; "boxes": corners.
        dtype: of the tensor; for boxes, of the scores too.
        activation: what turns the tensor into probabilities; blended patches go through it once blended.
        channels: how many channels or scores the network gives, where that is more than the labels name.
        labels: their meaning; for "values" there are quantities instead.
        quantities: for "values".
        coordinates: for "boxes": order of the numbers; corners, or centre and size.
        scale: for "boxes": "pixels" of what the network was fed, or "share" of its size, 0-1.
        box_scores: for "boxes": name of the graph's output of scores, (n, m) with `box_labels`, else
            (n, m, labels).
        box_labels: for "boxes": name of the graph's output that says which label each box has, (n, m), whole
            numbers.
    """

    tensor: Text
    name: Name | None = None
    kind: Kind
    dtype: Dtype
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    channels: Annotated[int, Field(ge=1, le=1024)] | None = None
    labels: Annotated[tuple[Label, ...], Field(max_length=255)] = ()
    quantities: Annotated[tuple[Quantity, ...], Field(max_length=255)] = ()
    coordinates: Coordinates | None = None
    scale: Literal["pixels", "share"] = "pixels"
    box_scores: Text | None = None
    box_labels: Text | None = None

    @property
    def called(self) -> str:
        """Give the name that interpret steps use."""
        return self.name or self.tensor

    @property
    def tensors(self) -> tuple[str, ...]:
        """Give the names of the graph's outputs it reads."""
        return tuple(name for name in (self.tensor, self.box_scores, self.box_labels) if name is not None)

    @property
    def width(self) -> int:
        """Give how many channels, scores or numbers the network gives at once."""
        named = self.quantities if self.kind == "values" else self.labels
        return self.channels or 1 + max((one.value for one in named), default=0)
