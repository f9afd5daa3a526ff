"""The step that turns a network's boxes into detections.

Promises: of boxes of one label that overlap, the most probable stays; no box reaches outside its image.
Never: says "no finding" where a box lies in the band its author does not trust.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models import codes
from models.findings import Code, Detection, Measurement, Outcome
from models.labels import Label, Name
from models.operations.band import Band, Share, Threshold
from models.operations.boxes import Boxes, chained, joined, suppressed
from models.operations.part import Part, Scene
from models.operations.strict import Strict
from models.tensors import DoubleArray, Volume

BOXES_MAX = 5000
"""Boxes of one series that are compared with each other, the most probable first."""


class Detect(Strict):
    """Report boxes.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        labels: which are reported; all unless said.
        threshold: score from which a box is a finding.
        abstain: [low, high): when no box reaches `high` and one reaches `low`, the model abstains, and shows
            what reaches `low`.
        nms_iou: boxes of one label that overlap more are one; 1 keeps all.
        link_iou: boxes on neighbouring slices that overlap at least so much are one; none: each by itself.
        boxes_max: how many are listed, the most probable first; all are counted.
        place: "box", or "point" for the middle of the box alone, where a network's boxes only say where.
    """

    step: Literal["detect"]
    output: Name | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    threshold: Threshold = 0.5
    abstain: Band | None = None
    nms_iou: Share = 0.5
    link_iou: Annotated[float, Field(gt=0, le=1)] | None = None
    boxes_max: Annotated[int, Field(ge=1, le=1000)] = 100
    place: Literal["box", "point"] = "box"
    reads: ClassVar[tuple[str, ...]] = ("boxes",)

    def begin(self, scene: Scene) -> "_Boxed":
        """Start collecting."""
        return _Boxed(self, scene)


class _Boxed:
    """Hold the boxes of every call."""

    def __init__(self, step: Detect, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self._parts: list[Boxes] = []

    def take_boxes(self, boxes: Boxes) -> None:
        """Add boxes on the source grid."""
        self._parts.append(self._possible(boxes))

    def _possible(self, boxes: Boxes) -> Boxes:
        """Leave out what no verdict could come from."""
        wanted = np.array([label.value for label in self._scene.chosen(self._step.labels)])
        keep = (boxes.scores >= self._lowest) & np.isin(boxes.values, wanted)
        return boxes.picked(keep).within(self._scene.volume.shape)

    @property
    def _lowest(self) -> float:
        return self._step.abstain[0] if self._step.abstain is not None else self._step.threshold

    def finish(self) -> Part:
        """Say what the boxes mean."""
        ranked = joined(self._parts).ranked()
        best = ranked.picked(np.arange(min(len(ranked), BOXES_MAX)))
        objects = _objects(suppressed(best, self._step.nms_iou), self._step.link_iou)
        outcome, found = self._decide(objects)
        listed = found[: self._step.boxes_max]
        by_value = {label.value: label for label in self._scene.labels}
        return Part(
            outcome=outcome,
            statement=self._statement(outcome, found, by_value),
            detections=tuple(self._shown(n, one, by_value) for n, one in enumerate(listed, start=1)),
            details={"threshold": self._step.threshold, "boxes": float(len(found))},
        )

    def _shown(self, number: int, one: "_Object", labels: Mapping[int, Label]) -> Detection:
        made = _detection(number, one, labels[one.value], self._scene.volume)
        return made if self._step.place == "box" else _middle(made)

    def _decide(self, objects: "list[_Object]") -> "tuple[Outcome, list[_Object]]":
        sure = [one for one in objects if one.score >= self._step.threshold]
        abstain = self._step.abstain
        if abstain is not None and all(one.score < abstain[1] for one in sure):
            return (Outcome.ABSTAINED if objects else Outcome.NO_FINDING), objects
        return (Outcome.FINDING if sure else Outcome.NO_FINDING), sure

    def _statement(self, outcome: Outcome, found: "list[_Object]", labels: Mapping[int, Label]) -> str:
        chosen = self._scene.chosen(self._step.labels)
        if outcome is Outcome.NO_FINDING:
            return f"No {' or '.join(label.title for label in chosen)} found."
        counts = [(label, sum(one.value == label.value for one in found)) for label in chosen]
        counted = " and ".join(label.count(count) for label, count in counts if count)
        listed = "" if len(found) <= self._step.boxes_max else _cut(self._step.boxes_max)
        if outcome is Outcome.ABSTAINED:
            return (
                f"Uncertain: {counted} possible, probability at most {found[0].score:.2f}; "
                f"the model neither confirms nor excludes.{listed}"
            )
        return f"{counted} found (highest probability {found[0].score:.2f}).{listed}"


def _cut(boxes_max: int) -> str:
    return f" The {boxes_max} most probable are listed."


@dataclass(frozen=True, kw_only=True, eq=False)
class _Object:
    """Hold one thing: the box it is shown by, and the slices it reaches over."""

    corners: DoubleArray
    value: int
    score: float
    slices: range


def _objects(boxes: Boxes, link_iou: float | None) -> list[_Object]:
    """Join boxes over slices where that is asked for; the most probable object first."""
    chains = [np.array([index]) for index in range(len(boxes))]
    if link_iou is not None:
        chains = chained(boxes, link_iou)
    found = [_object(boxes.picked(chain)) for chain in chains]
    return sorted(found, key=lambda one: -one.score)


def _object(chain: Boxes) -> _Object:
    """Show a chain by its most probable box, over the slices whose middle lies in it."""
    best = int(chain.scores.argmax())
    low, high = float(chain.corners[:, 0].min()), float(chain.corners[:, 3].max())
    first = int(np.ceil(low - 0.5))
    last = int(np.ceil(high - 0.5))
    if last <= first:  # thinner than a slice, between two middles
        first = int((low + high) / 2)
        last = first + 1
    return _Object(
        corners=chain.corners[best],
        value=int(chain.values[best]),
        score=float(chain.scores[best]),
        slices=range(first, last),
    )


def _detection(number: int, one: _Object, label: Label, volume: Volume) -> Detection:
    z1, top, left, z2, bottom, right = (float(side) for side in one.corners)
    middle = int((z1 + z2) / 2)
    finding = label.type.code()
    return Detection(
        label=str(number),
        kind=label.name,
        finding=finding,
        probability=one.score,
        slice_index=min(max(middle, one.slices.start), one.slices.stop - 1),
        slice_range=one.slices,
        box=(top, left, bottom, right),
        measurements=tuple(
            Measurement(name=name, value=value, unit=unit, segment=label.name, finding=finding)
            for name, value, unit in _values(one, volume)
        ),
    )


def _middle(found: Detection) -> Detection:
    """Keep the middle of a box; a point has no sides."""
    top, left, bottom, right = found.box
    row, column = (top + bottom) / 2, (left + right) / 2
    numbers = tuple(one for one in found.measurements if one.name == codes.PROBABILITY)
    return replace(found, box=(row, column, row, column), measurements=numbers)


def _values(one: _Object, volume: Volume) -> Iterator[tuple[Code, float, Code]]:
    """Give probability and sides; a projection has no size in the patient."""
    yield codes.PROBABILITY, one.score, codes.NO_UNITS
    if not volume.is_projection:
        _, top, left, _, bottom, right = (float(side) for side in one.corners)
        between_rows, between_columns = volume.pixel_spacing_mm
        yield codes.WIDTH, (right - left) * between_columns, codes.MILLIMETRE
        yield codes.HEIGHT, (bottom - top) * between_rows, codes.MILLIMETRE
