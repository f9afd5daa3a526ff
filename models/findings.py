"""What a model found, in coded words and numbers, on the grid of the images it looked at.

Promises: everything a result object needs is here, as values; what could not be measured is listed with its
reason and never guessed.
Never: holds patient data, DICOM objects or anything about delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from models.tensors import BoolArray, LabelArray

LEVELS = 255
"""The level of probability 1 in a `ProbabilityMap`."""


class Outcome(StrEnum):
    """Say what kind of answer this is. Silence is never one of them."""

    FINDING = "finding"
    NO_FINDING = "no finding"
    MEASURED = "measured"
    """Values only: the model makes no yes/no claim."""
    ABSTAINED = "abstained"
    """The model ran, and its answer lies in the band where its author does not trust it."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Name a concept (PS3.3 8): code value, coding scheme designator, code meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Hold one number with its coded name and UCUM unit (TID 300).

    Attributes:
        name: what quantity, for example Volume.
        value: the number, in `unit`.
        unit: UCUM.
        segment: label of the model's output it belongs to ("bone"); None: the whole series. A label can be
            measured without being written as a Segment.
        finding: the coded concept behind that label, for the Finding of its group of measurements.
        derivation: how many values became one (Mean, Standard Deviation); None for a plain measurement.
        method: measurement method; None when the name says it all.
    """

    name: Code
    value: float
    unit: Code
    segment: str | None = None
    finding: Code | None = None
    derivation: Code | None = None
    method: Code | None = None

    def __post_init__(self) -> None:
        """Hold the maker to a number that means something."""
        assert np.isfinite(self.value), "a measurement is a finite number"


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """Name a measurement that was not given, and the reason in one plain sentence (no patient data)."""

    name: Code
    reason: str
    segment: str | None = None
    finding: Code | None = None
    derivation: Code | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Hold the voxels of one label (PS3.3 C.8.20.2).

    Attributes:
        label: Segment Label, as in the manifest.
        number: Segment Number, from 1 without gaps.
        category: Segmented Property Category.
        type: Segmented Property Type.
        colour_rgb: recommended display colour, 0-255.
        mask: bool, (z, y, x), on the source grid: the same shape as the volume's voxels.
    """

    label: str
    number: int
    category: Code
    type: Code
    colour_rgb: tuple[int, int, int]
    mask: BoolArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityMap:
    """Hold the probability of one label for every voxel: the model's own, before any threshold.

    A byte per voxel in a box, not a number of four bytes for all of them: 600 slices of 512 x 512 are 157 MB
    at most and a few for a model that finds little, and a Segmentation holds bytes in any case
    (PS3.3 C.8.20.2.3).

    Attributes:
        label: as in the manifest; the Segment of that label, where there is one, is made of the same numbers.
        category: Segmented Property Category.
        type: Segmented Property Type.
        origin: (z, y, x) index on the source grid of the first voxel of `levels`.
        levels: uint8, (z, y, x), cropped to the box of what is not 0; the probability in steps of 1/255.
            It is never empty: a label that is 0 everywhere has no map.
    """

    label: str
    category: Code
    type: Code
    origin: tuple[int, int, int]
    levels: LabelArray

    def __post_init__(self) -> None:
        """Hold the maker to a map of something."""
        assert self.levels.size, "a map holds something"
        assert self.levels.dtype == np.uint8, "a map is of bytes"

    @property
    def slice_range(self) -> range:
        """Give the slices of the source grid that the box reaches over."""
        return range(self.origin[0], self.origin[0] + self.levels.shape[0])

    def plane(self, slice_index: int, *, rows: int, columns: int) -> LabelArray:
        """Draw the map on one slice of the source grid: uint8, (y, x) = (rows, columns)."""
        drawn = np.zeros((rows, columns), dtype=np.uint8)
        if slice_index in self.slice_range:
            _, top, left = self.origin
            _, height, width = self.levels.shape
            drawn[top : top + height, left : left + width] = self.levels[slice_index - self.origin[0]]
        return drawn


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesion:
    """Hold one connected region the model reports by itself.

    Attributes:
        label: "1", "2", ... from the largest volume down; the Tracking Identifier of the result.
        segment: label of the Segment it is part of.
        finding: what it is, coded.
        probability: the model's own, 0-1.
        origin: (z, y, x) index on the source grid of the first voxel of `component`.
        component: bool, (z, y, x), cropped to the bounding box of the region on the source grid.
        slice_index: z on the source grid where its area is largest: the slice to show.
        measurements: volume, diameter, probability.
    """

    label: str
    segment: str
    finding: Code
    probability: float
    origin: tuple[int, int, int]
    component: BoolArray
    slice_index: int
    measurements: tuple[Measurement, ...] = ()

    @property
    def slice_range(self) -> range:
        """Give the slices of the source grid that hold part of the lesion."""
        return range(self.origin[0], self.origin[0] + self.component.shape[0])

    def plane(self, slice_index: int, *, rows: int, columns: int) -> BoolArray:
        """Draw the lesion on one slice of the source grid: bool, (y, x) = (rows, columns)."""
        mask = np.zeros((rows, columns), dtype=np.bool_)
        if slice_index in self.slice_range:
            _, top, left = self.origin
            _, height, width = self.component.shape
            mask[top : top + height, left : left + width] = self.component[slice_index - self.origin[0]]
        return mask


class Verdict(StrEnum):
    """Say on which side of a label's threshold its probability lies."""

    PRESENT = "present"
    ABSENT = "absent"
    ABSTAINED = "abstained"
    """In the band around the threshold where the author does not trust the model."""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Hold what a model says about one label of the whole series or image.

    Attributes:
        label: as in the manifest.
        finding: what it is, coded.
        probability: the model's own, 0-1.
        threshold: from which probability on it counts as present.
        verdict: which side of it.
    """

    label: str
    finding: Code
    probability: float
    threshold: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Hold one box, or one point, that the model draws by itself.

    Attributes:
        label: "1", "2", ... from the largest probability down; the Tracking Identifier of the result.
        kind: label of the manifest.
        finding: what it is, coded.
        probability: the model's own, 0-1.
        slice_index: z on the source grid where the box is to be shown.
        slice_range: the slices of the source grid it reaches over; one slice for a 2D box.
        box: (top, left, bottom, right) on the source grid in pixels, counted from the upper left corner of
            the upper left pixel, as Graphic Data (0070,0022) is (PS3.3 C.18.6.1.2). A point has no extent:
            its top is its bottom and its left its right.
        measurements: probability, sides.
    """

    label: str
    kind: str
    finding: Code
    probability: float
    slice_index: int
    slice_range: range
    box: tuple[float, float, float, float]
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        """Hold the maker to a box that encloses something, or a point, on a slice it reaches over."""
        top, left, bottom, right = self.box
        assert top < bottom or self.is_point, "a box has a height"
        assert left < right or self.is_point, "a box has a width"
        assert self.slice_index in self.slice_range, "a box is shown on one of its slices"

    @property
    def is_point(self) -> bool:
        """Say whether it names a place and no extent."""
        top, left, bottom, right = self.box
        return top == bottom and left == right


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """Hold everything one run of one model says about one series.

    Attributes:
        outcome: the kind of answer.
        statement: one sentence a radiologist reads.
        segments: masks to be written, in the order of their numbers.
        measurements: numbers of the whole series or of a label; those of a lesion lie in the lesion.
        lesions: largest first.
        detections: boxes, most probable first.
        classifications: one per label the model answers for, in the manifest's order, absent ones too.
        withheld: what was not measured, with reasons.
        maps: probabilities of every voxel, at most one per label; only where somebody asked for maps, and the
            manifest has them.
        details: numbers for the record (threshold, grid), not for the reader; JSON values.
    """

    outcome: Outcome
    statement: str
    segments: tuple[Segment, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    lesions: tuple[Lesion, ...] = ()
    detections: tuple[Detection, ...] = ()
    classifications: tuple[Classification, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    maps: tuple[ProbabilityMap, ...] = ()
    details: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the maker to an outcome that agrees with what is listed."""
        if self.lesions or self.detections:
            assert self.outcome in (Outcome.FINDING, Outcome.ABSTAINED), (
                "lesions and boxes belong to a claim or its doubt"
            )
