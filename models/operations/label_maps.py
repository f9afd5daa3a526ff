"""Steps that read a label map slice by slice: statistics of each label, and its mask.

Promises: one pass, sums in float64, no copy of the volume; Pixel Padding belongs to no label.
Never: gives a volume where the distance between slices is not one number.
"""

from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from models import codes
from models.findings import Code, Measurement, Segment, Withheld
from models.labels import Label, Name
from models.operations.band import Threshold
from models.operations.part import Part, Scene
from models.operations.strict import Strict
from models.tensors import BoolArray, DoubleArray, FloatArray, LabelArray, Volume

Quantity = Literal["volume", "mean", "standard-deviation"]
LABELS = 256
_CHUNK = 1 << 15
"""Voxels counted at once: as many as the processor's nearest memory holds the bins of."""
_WHOLE_MAX = 1 << 14
"""The squares of 2 ** 24 values below it add up to less than 2 ** 53."""
_BINS_MAX = 1 << 17


class LabelMapReader(Protocol):
    """Read label maps in slice order, then say what was seen."""

    def take(self, first: int, labels: LabelArray) -> None:
        """Read the slices that begin at index `first`: uint8, (n, y, x), 0 where nothing is labelled."""

    def finish(self) -> Part:
        """Give this step's share of the findings."""


class LabelStatistics(Strict):
    """Measure volume (mL), mean and standard deviation of the voxel values of each label."""

    step: Literal["label-statistics"]
    output: Name | None = None
    measure: tuple[Quantity, ...] = ("volume", "mean", "standard-deviation")
    deviation: Literal["population", "sample"] = "population"
    labels: tuple[str, ...] | None = None
    reads: ClassVar[tuple[str, ...]] = ("labels", "classes")

    def begin(self, scene: Scene) -> LabelMapReader:
        """Start counting."""
        return _Tally(self, scene)


class WriteSegments(Strict):
    """Keep the mask of each named label as a segment, numbered in that order.

    `threshold`: for kind "probability": from which probability a voxel belongs to a label.
    """

    step: Literal["segments"]
    output: Name | None = None
    labels: tuple[str, ...]
    threshold: Threshold = 0.5
    reads: ClassVar[tuple[str, ...]] = ("labels", "classes", "probability")

    def begin(self, scene: Scene) -> "_Segments":
        """Start collecting."""
        return _Segments(scene.chosen(self.labels), scene)


class _Tally:
    """Hold count, sum and sum of squares of every label."""

    def __init__(self, step: LabelStatistics, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self._sums = np.zeros((3, LABELS))
        self._whole = _WholeNumbers()
        # Made once for all blocks: fresh pages for each block cost as much as the counting.
        self._flat = np.empty(0, dtype=np.intp)
        self._values = np.empty(0, dtype=np.float64)

    def take(self, first: int, labels: LabelArray) -> None:
        """Add one block of slices."""
        voxels = self._scene.volume.voxels[first : first + len(labels)].ravel()
        sums = self._whole.sums(labels.ravel(), voxels)
        self._sums += self._weighed(labels.ravel(), voxels) if sums is None else sums

    def _weighed(self, labels: LabelArray, voxels: FloatArray) -> DoubleArray:
        """Give count, sum and sum of squares of each label, whatever the values."""
        if labels.size > self._flat.size:
            self._flat, self._values = np.empty(labels.size, np.intp), np.empty(labels.size, np.float64)
        flat, values = self._flat[: labels.size], self._values[: labels.size]
        flat[:] = labels  # cast once: bincount would, three times
        values[:] = voxels
        sums = np.empty((3, LABELS))
        sums[0] = np.bincount(flat, minlength=LABELS)
        sums[1] = np.bincount(flat, weights=values, minlength=LABELS)
        np.square(values, out=values)
        sums[2] = np.bincount(flat, weights=values, minlength=LABELS)
        return sums

    def finish(self) -> Part:
        """Give the measurements, and what was withheld."""
        given: list[Measurement] = []
        withheld: list[Withheld] = []
        for label in self._scene.chosen(self._step.labels):
            for quantity in self._step.measure:
                one = self._measure(label, quantity)
                (given if isinstance(one, Measurement) else withheld).append(one)  # type: ignore[arg-type]
        return Part(measurements=tuple(given), withheld=tuple(withheld), statement=self._statement(withheld))

    def _measure(self, label: Label, quantity: Quantity) -> Measurement | Withheld:
        count, total, squares = self._sums[:, label.value]
        if quantity == "volume":
            return self._volume(label, count)
        if count == 0:
            return self._withheld(label, quantity, "No voxel of the series lies in this band.")
        reason = _why_no_value(self._scene.volume)
        if reason is not None:
            return self._withheld(label, quantity, reason)
        mean = total / count
        if quantity == "mean":
            return self._measured(label, quantity, mean)
        divisor = count if self._step.deviation == "population" else count - 1
        if divisor == 0:
            return self._withheld(label, quantity, "One voxel alone has no sample standard deviation.")
        return self._measured(label, quantity, float(np.sqrt(max(0.0, squares - total * mean) / divisor)))

    def _volume(self, label: Label, count: float) -> Measurement | Withheld:
        reason = why_no_volume(self._scene.volume)
        if reason is not None:
            return self._withheld(label, "volume", reason)
        return self._measured(label, "volume", count * self._scene.volume.voxel_volume_mm3 / 1000.0)

    def _measured(self, label: Label, quantity: Quantity, value: float) -> Measurement:
        name, unit, derivation = named(quantity, self._scene.volume)
        return Measurement(
            name=name,
            value=float(value),
            unit=unit,
            segment=label.name,
            finding=label.type.code(),
            derivation=derivation,
        )

    def _withheld(self, label: Label, quantity: Quantity, reason: str) -> Withheld:
        name, _, derivation = named(quantity, self._scene.volume)
        return Withheld(
            name=name, derivation=derivation, reason=reason, segment=label.name, finding=label.type.code()
        )

    def _statement(self, withheld: list[Withheld]) -> str:
        names = ", ".join(label.title for label in self._scene.chosen(self._step.labels))
        count = len(self._scene.volume.voxels)
        slices = "1 slice" if count == 1 else f"{count} slices"
        said = f"Measured over {slices}: {names}. Values only, no finding is claimed."
        reason = next((item.reason for item in withheld if item.name == codes.VOLUME), None)
        if reason is not None:
            said += f" Volumes are withheld. {reason}"
        return said


class _WholeNumbers:
    """Sums of values that are whole numbers of a small range, as those of a CT are.

    How often each value occurs under each label is counted, and the sums are those of the counts. They are
    whole numbers that float64 holds exactly, so they are the very sums of the values one by one, which take
    four times as long.
    """

    def __init__(self) -> None:
        self._bins = np.empty(_CHUNK, dtype=np.intp)
        self._places = np.empty(_CHUNK, dtype=np.float32)
        self._whole = np.empty(_CHUNK, dtype=np.bool_)

    def sums(self, labels: LabelArray, voxels: FloatArray) -> DoubleArray | None:
        """Give count, sum and sum of squares of each label, (3, LABELS); None where the values are others."""
        low, high, count = float(voxels.min()), float(voxels.max()), int(labels.max()) + 1
        if not (abs(low) < _WHOLE_MAX and abs(high) < _WHOLE_MAX and (high - low + 1) * count <= _BINS_MAX):
            return None
        least, width = int(np.floor(low)), int(np.floor(high)) - int(np.floor(low)) + 1
        times = np.zeros(count * width, dtype=np.int64)
        for start in range(0, labels.size, _CHUNK):
            found = self._counted(
                labels[start : start + _CHUNK], voxels[start : start + _CHUNK], least, width
            )
            if found is None:
                return None
            times += np.bincount(found, minlength=count * width)
        each = times.reshape(count, width).astype(np.float64)
        values = np.arange(least, least + width, dtype=np.float64)
        sums = np.zeros((3, LABELS))
        sums[:, :count] = each.sum(axis=1), (each * values).sum(axis=1), (each * values**2).sum(axis=1)
        return sums

    def _counted(
        self, labels: LabelArray, voxels: FloatArray, least: int, width: int
    ) -> npt.NDArray[np.intp] | None:
        """Give each voxel the number of its bin; None where a value is no whole number."""
        bins, places, whole = (
            self._bins[: labels.size],
            self._places[: labels.size],
            self._whole[: labels.size],
        )
        np.rint(voxels, out=places)
        np.equal(places, voxels, out=whole)
        if not whole.all():
            return None
        # In float32, which holds every number of a bin exactly, and is half as wide as what is counted.
        np.multiply(labels, np.float32(width), out=places, dtype=np.float32)
        places += voxels
        places -= np.float32(least)
        np.copyto(bins, places, casting="unsafe")
        return bins


class Masks:
    """Hold one mask per chosen label, on the source grid."""

    def __init__(self, labels: tuple[Label, ...], scene: Scene) -> None:
        self.labels = labels
        self.masks = {label.name: np.zeros(scene.volume.shape, dtype=np.bool_) for label in labels}

    def take(self, first: int, labels: LabelArray) -> None:
        """Mark one block of a label map."""
        for label in self.labels:
            np.equal(labels, label.value, out=self.masks[label.name][first : first + len(labels)])

    def mark(self, first: int, label: Label, mask: BoolArray) -> None:
        """Mark one block of one label, where labels may overlap: bool, (n, y, x)."""
        self.masks[label.name][first : first + len(mask)] = mask


class _Segments(Masks):
    """Collect masks that are written as they are."""

    def finish(self) -> Part:
        """Give the segments."""
        return Part(
            segments=tuple(
                segment_of(label, number, self.masks[label.name])
                for number, label in enumerate(self.labels, start=1)
            )
        )


def segment_of(label: Label, number: int, mask: BoolArray) -> Segment:
    """Make the segment of a label: mask bool, (z, y, x), on the source grid."""
    assert label.category is not None, "the manifest's rules ask for it"
    assert label.colour_rgb is not None, "the manifest's rules ask for it"
    return Segment(
        label=label.name,
        number=number,
        category=label.category.code(),
        type=label.type.code(),
        colour_rgb=label.colour_rgb,
        mask=mask,
    )


def why_no_volume(volume: Volume) -> str | None:
    """Say in one sentence why no volume can be given; None when it can."""
    if volume.is_projection:
        return "A projection has no depth, so no volume can be computed."
    if len(volume.voxels) < 2:
        return "A single slice has no distance to the next, so no volume can be computed."
    if not volume.regular:
        cause = (volume.irregularity or "the slices are not evenly spaced").rstrip(".")
        return f"The series is not regular ({cause}), so no volume can be computed."
    if not volume.slice_spacing_mm > 0:
        return "The distance between slices is not known, so no volume can be computed."
    return None


def _why_no_value(volume: Volume) -> str | None:
    """Say in one sentence why values cannot be given as a quantity; None when they can."""
    if volume.units == "HU" or volume.modality == "MR":
        return None
    return "The values of this series have no unit, so they are no quantity."


def named(quantity: Quantity, volume: Volume) -> tuple[Code, Code, Code | None]:
    """Give name, unit and derivation of a quantity of a label."""
    if quantity == "volume":
        return codes.VOLUME, codes.MILLILITRE, None
    derivation = codes.MEAN if quantity == "mean" else codes.STANDARD_DEVIATION
    if volume.modality == "MR":
        return codes.MR_SIGNAL_INTENSITY, codes.NO_UNITS, derivation
    return codes.ATTENUATION, codes.HOUNSFIELD_UNIT, derivation
