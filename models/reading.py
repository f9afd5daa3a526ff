"""Hand a network's answers, on the source grid, to the steps that read them."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from models.manifest import Manifest
from models.manifest_outputs import Output
from models.manifest_sections import InterpretStep
from models.operations.boxes import Boxes
from models.operations.class_map import ClassMap
from models.operations.classify import Classify
from models.operations.components import Components
from models.operations.detect import Detect
from models.operations.heat_map import HeatMap
from models.operations.label_maps import LabelStatistics, WriteSegments
from models.operations.measure import Measure
from models.operations.part import Part, Scene
from models.tensors import BoolArray, FloatArray, LabelArray, Volume

SLICES_AT_ONCE = 8


class Answer(Protocol):
    """One output's answer for some slices, on the source grid; what is not asked for is not computed."""

    def label_map(self) -> LabelArray:
        """Give uint8, (n, y, x); Pixel Padding belongs to no label."""

    def mask(self, value: int, threshold: float) -> BoolArray:
        """Give where the probability of a label reaches `threshold`: bool, (n, y, x)."""

    def probability(self, value: int) -> FloatArray:
        """Give the probability of a label: float32, (n, y, x)."""

    def rows(self) -> FloatArray:
        """Give float32, (n, width)."""

    def boxes(self) -> Boxes:
        """Give every box."""


class Readers:
    """Hold one reader per interpreting step."""

    def __init__(self, manifest: Manifest, volume: Volume, steps: tuple[InterpretStep, ...]) -> None:
        self._pairs: list[tuple[InterpretStep, Output, Any]] = []
        for step in steps:
            output = manifest.read_by(step)
            scene = scene_of(volume, output)
            self._pairs.append((step, output, step.begin(scene)))

    def take(self, first: int, answers: Callable[[Output], Answer]) -> None:
        """Hand out the answers for the slices that begin at index `first`."""
        for step, output, reader in self._pairs:
            _hand(step, output, reader, first=first, answer=answers(output))

    def finish(self) -> list[Part]:
        """Give every step's share of the findings."""
        return [reader.finish() for _, _, reader in self._pairs]


def scene_of(volume: Volume, output: Output) -> Scene:
    """Give what a step that reads `output` may look at."""
    return Scene(volume=volume, labels=output.labels, quantities=output.quantities)


def _hand(step: InterpretStep, output: Output, reader: Any, *, first: int, answer: Answer) -> None:
    if isinstance(step, Classify | Measure):
        reader.take_rows(answer.rows())
    elif isinstance(step, Detect):
        reader.take_boxes(answer.boxes())
    elif isinstance(step, Components):
        (label,) = (label for label in output.labels if label.name == step.label)
        reader.take_probability(first, answer.probability(label.value))
    elif isinstance(step, HeatMap):
        for label in reader.labels:
            reader.take_probability(first, label, answer.probability(label.value))
    elif isinstance(step, WriteSegments | ClassMap) and output.kind == "probability":
        for label in reader.labels:
            reader.mark(first, label, answer.mask(label.value, step.threshold))
    else:
        assert isinstance(step, LabelStatistics | WriteSegments | ClassMap), "every step is read"
        labels = answer.label_map()
        for start in range(0, len(labels), SLICES_AT_ONCE):
            reader.take(first + start, np.ascontiguousarray(labels[start : start + SLICES_AT_ONCE]))


def only_compared(manifest: Manifest) -> set[str]:
    """Name the outputs of classes that no step reads the probabilities of.

    Whether anybody asked for maps does not count: what is found may not depend on who looks.
    """
    read_as_share = {
        manifest.read_by(step).called for step in manifest.interpret if isinstance(step, Components | HeatMap)
    }
    return {output.called for output in manifest.answers} - read_as_share
