"""The step that keeps a network's probabilities as a map for the reader, beside what other steps make of it.

Promises: it makes no claim and changes no other step's answer; a map is a byte per voxel, cropped to where it
is not 0, and it is made only where somebody asked for maps.
Never: hides by its floor what another step calls a region.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from models.findings import LEVELS, ProbabilityMap
from models.labels import Label, Name
from models.operations.part import Part, Scene
from models.operations.strict import Strict
from models.tensors import FloatArray, LabelArray

Origin = tuple[int, int, int]
Levels = tuple[Origin, LabelArray]
"""Index (z, y, x) of the first voxel on the source, and a byte per voxel from there on."""
LOWEST = 0.5 / LEVELS
"""From which probability on a level is not 0."""


class HeatMap(Strict):
    """Keep the probability of labels for every voxel.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        labels: whose probability is kept; all unless said.
        floor: lower probabilities are written as 0, so that a map holds no haze.
    """

    step: Literal["heat-map"]
    output: Name | None = None
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    reads: ClassVar[tuple[str, ...]] = ("probability", "classes")

    @property
    def lowest(self) -> float:
        """Give from which probability on a voxel is not 0."""
        return max(self.floor, LOWEST)

    def begin(self, scene: Scene) -> "_Collected":
        """Start collecting slice by slice, for a network that sees slices or images."""
        return _Collected(self, scene)

    def interpret(self, drawn: Mapping[str, Levels], scene: Scene) -> Part:
        """Make the maps of what was drawn on the source, by the names of the labels."""
        maps = (_map(label, *drawn[label.name], scene) for label in scene.chosen(self.labels))
        return Part(maps=tuple(one for one in maps if one is not None))


class _Collected:
    """Hold the levels of each label over the source, slice by slice."""

    def __init__(self, step: HeatMap, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self.labels = scene.chosen(step.labels)
        self._levels = {label.name: np.zeros(scene.volume.shape, dtype=np.uint8) for label in self.labels}

    def take_probability(self, first: int, label: Label, block: FloatArray) -> None:
        """Add the slices that begin at index `first`: float32, (n, y, x)."""
        for z, plane in enumerate(block, start=first):
            self._levels[label.name][z] = levels_of(plane, self._step.lowest)

    def finish(self) -> Part:
        """Give the maps."""
        return self._step.interpret(
            {name: ((0, 0, 0), levels) for name, levels in self._levels.items()}, self._scene
        )


def levels_of(share: FloatArray, lowest: float) -> LabelArray:
    """Write probabilities in steps of 1/255: uint8, 0 where they are below `lowest`."""
    scaled = np.where(share >= lowest, share, np.float32(0)) * np.float32(LEVELS)
    return np.rint(np.clip(scaled, 0, LEVELS, out=scaled), out=scaled).astype(np.uint8)


def _map(label: Label, origin: Origin, levels: LabelArray, scene: Scene) -> ProbabilityMap | None:
    """Take Pixel Padding out, and crop to what is not 0; None where that is nothing."""
    assert label.category is not None, "the manifest's rules ask for it"
    z, y, x = (slice(low, low + size) for low, size in zip(origin, levels.shape, strict=True))
    levels *= scene.volume.valid[z, y, x]
    tight = _tight(levels)
    if tight is None:
        return None
    return ProbabilityMap(
        label=label.name,
        category=label.category.code(),
        type=label.type.code(),
        origin=(z.start + tight[0].start, y.start + tight[1].start, x.start + tight[2].start),
        levels=levels if levels[tight].shape == levels.shape else levels[tight].copy(),
    )


def _tight(levels: LabelArray) -> tuple[slice, slice, slice] | None:
    """Find the box of what is not 0."""
    there = [np.asarray(levels.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if not there[0].any():
        return None
    z, y, x = (slice(int(one.argmax()), len(one) - int(one[::-1].argmax())) for one in there)
    return z, y, x
