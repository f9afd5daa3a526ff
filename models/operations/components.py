"""The step that turns a probability field into separate lesions.

Promises: regions are told apart on the network's grid and drawn on the source grid one at a time, so no
full-size field is made; every region above the threshold and the smallest volume is counted, even when the
list of lesions is cut at its bound.
Never: says "no finding" where a region lies in the band its author does not trust.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import ndimage

from models import codes
from models.findings import Code, Lesion, Measurement, Outcome
from models.labels import Label, Name
from models.operations.grid import Grid, lay
from models.operations.label_maps import segment_of, why_no_volume
from models.operations.part import Part, Scene
from models.operations.strict import Strict
from models.tensors import BoolArray, FloatArray, Volume

Share = Annotated[float, Field(ge=0, le=1)]
Regions = npt.NDArray[np.int32]
Box = tuple[slice, slice, slice]
MARGIN = 2
"""Grid voxels around a region that take part in drawing its edge on the source grid."""


class Components(Strict):
    """Report connected regions of one channel as lesions.

    Attributes:
        output: name of the output it reads; may be left out where only one fits.
        label: which label of the output.
        threshold: probability from which a voxel belongs to a region.
        abstain: [low, high): when no region reaches `high` and something reaches `low`, the model abstains,
            and shows what reaches `low`.
        volume_ml_min, voxels_min: smaller regions are not reported; voxels are those of the network's grid,
            or of the source where the network sees slices or images.
        lesions_max: how many are listed; all are drawn and counted.
    """

    step: Literal["components"]
    output: Name | None = None
    label: str
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    abstain: tuple[Share, Share] | None = None
    volume_ml_min: Annotated[float, Field(ge=0)] = 0.0
    voxels_min: Annotated[int, Field(ge=0)] = 0
    lesions_max: Annotated[int, Field(ge=1, le=1000)] = 100
    reads: ClassVar[tuple[str, ...]] = ("probability", "classes")

    def begin(self, scene: Scene) -> "_Collected":
        """Start collecting slice by slice, for a network that sees slices or images."""
        return _Collected(self, scene)

    def interpret(self, field: FloatArray, laid: Grid, scene: Scene) -> Part:
        """Find the regions of `field`, (z, y, x) on the grid `laid`: the probability of the label."""
        (label,) = scene.chosen((self.label,))
        outcome, found = self._decide(field, laid)
        mask = np.zeros(scene.volume.shape, dtype=np.bool_)
        for region in found:
            mask[region.source_box] |= region.mask
        listed = found[: self.lesions_max]
        lesions = tuple(_lesion(n, region, label, scene.volume) for n, region in enumerate(listed, start=1))
        return Part(
            outcome=outcome,
            statement=self._statement(outcome, label, found, lesions),
            segments=(segment_of(label, 1, mask),) if found else (),
            lesions=lesions,
            details={"threshold": self.threshold, "regions": float(len(found))},
        )

    def _decide(self, probability: FloatArray, laid: Grid) -> "tuple[Outcome, list[_Region]]":
        found = self._regions(probability, laid, level=self.threshold)
        if self.abstain is not None and all(region.probability < self.abstain[1] for region in found):
            doubtful = self._regions(probability, laid, level=self.abstain[0])
            return (Outcome.ABSTAINED if doubtful else Outcome.NO_FINDING), doubtful
        return (Outcome.FINDING if found else Outcome.NO_FINDING), found

    def _regions(self, probability: FloatArray, laid: Grid, *, level: float) -> "list[_Region]":
        """Give the regions at `level`, the largest on the source grid first."""
        regions, _ = ndimage.label(probability >= level, structure=np.ones((3, 3, 3), dtype=np.bool_))
        counts = np.bincount(regions.ravel())
        voxels_min = float(self.voxels_min)
        if self.volume_ml_min:
            voxels_min = max(voxels_min, self.volume_ml_min * 1000.0 / float(np.prod(laid.spacing_mm)))
        found = [
            _draw(probability, regions, number, box, laid=laid, level=level)
            for number, box in enumerate(ndimage.find_objects(regions), start=1)
            if counts[number] >= voxels_min
        ]
        return sorted(found, key=lambda region: int(region.mask.sum()), reverse=True)

    def _statement(
        self, outcome: Outcome, label: Label, found: "list[_Region]", lesions: tuple[Lesion, ...]
    ) -> str:
        if outcome is Outcome.NO_FINDING:
            return f"No {label.title} found."
        sizes = ", ".join(_in_words(lesions[0].measurements))
        probability = f"probability {lesions[0].probability:.2f}"
        listed = "" if len(lesions) == len(found) else f" The {len(lesions)} largest are listed."
        if outcome is Outcome.ABSTAINED:
            highest = max(region.probability for region in found)
            return (
                f"Uncertain: {label.count(len(found))} possible{f' (largest {sizes})' if sizes else ''}, "
                f"probability at most {highest:.2f}; the model neither confirms nor excludes.{listed}"
            )
        said = f"largest {sizes}, {probability}" if sizes else probability
        return f"{label.count(len(found))} found ({said}).{listed}"


class _Collected:
    """Hold the probability of one label over the source, slice by slice."""

    def __init__(self, step: Components, scene: Scene) -> None:
        self._step, self._scene = step, scene
        self._field = np.zeros(scene.volume.shape, dtype=np.float32)

    def take_probability(self, first: int, block: FloatArray) -> None:
        """Add the slices that begin at index `first`: float32, (n, y, x)."""
        self._field[first : first + len(block)] = block

    def finish(self) -> Part:
        """Find the regions."""
        laid = lay(self._scene.volume, orientation="source", spacing_mm=None)
        return self._step.interpret(self._field, laid, self._scene)


def _in_words(measurements: tuple[Measurement, ...]) -> Iterator[str]:
    """Write sizes for the reader."""
    for one in measurements:
        if one.name == codes.VOLUME:
            yield f"{one.value:.1f} mL"
        elif one.name == codes.AREA:
            yield f"{one.value:.0f} mm2"
        elif one.name == codes.LONG_AXIS:
            yield f"{one.value:.0f} mm"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Region:
    """Hold one region: its highest probability, and its mask, cropped, from `origin` in the source on."""

    probability: float
    origin: tuple[int, int, int]
    mask: BoolArray

    @property
    def source_box(self) -> Box:
        z, y, x = (slice(low, low + size) for low, size in zip(self.origin, self.mask.shape, strict=True))
        return z, y, x


def _draw(
    probability: FloatArray, regions: Regions, number: int, box: Box, *, laid: Grid, level: float
) -> _Region:
    """Draw region `number` on the source grid."""
    wide = _widened(box, laid.shape)
    mine = regions[wide] == number
    others = (regions[wide] != 0) & ~mine
    values = np.where(others, np.float32(0), probability[wide])
    first = (wide[0].start, wide[1].start, wide[2].start)
    reach = laid.covered(first, values.shape)
    turned = laid.back(values, first=first, box=reach) >= level
    if not turned.any():
        turned, reach = _nearest(values, first, laid)
    mask, origin = _in_source(turned, reach, laid)
    return _Region(probability=min(1.0, float(values[mine].max())), origin=origin, mask=mask)


def _widened(box: Box, shape: tuple[int, int, int]) -> Box:
    z, y, x = (
        slice(max(0, part.start - MARGIN), min(size, part.stop + MARGIN))
        for part, size in zip(box, shape, strict=True)
    )
    return z, y, x


def _nearest(
    values: FloatArray, first: tuple[int, int, int], laid: Grid
) -> tuple[BoolArray, tuple[range, range, range]]:
    """Mark the one source voxel nearest to the peak, for a region that falls between source slices."""
    peak = np.array(np.unravel_index(int(values.argmax()), values.shape)) + first
    at = (peak + 0.5) * laid.spacing_mm / np.array(laid.source_spacing_mm) - 0.5
    z, y, x = (int(np.clip(round(i), 0, size - 1)) for i, size in zip(at, laid.source_shape, strict=True))
    return np.ones((1, 1, 1), dtype=np.bool_), (range(z, z + 1), range(y, y + 1), range(x, x + 1))


def _in_source(
    turned: BoolArray, reach: tuple[range, range, range], laid: Grid
) -> tuple[BoolArray, tuple[int, int, int]]:
    """Turn a cropped mask back and crop it to its own bounding box."""
    starts = laid.start_in_source(reach)
    mask = laid.turn.undo(turned)
    (tight,) = ndimage.find_objects(mask.astype(np.uint8))
    z, y, x = (start + part.start for start, part in zip(starts, tight, strict=True))
    return np.ascontiguousarray(mask[tight]), (z, y, x)


def _lesion(number: int, region: _Region, label: Label, volume: Volume) -> Lesion:
    """Measure one region on the source grid."""
    largest = int(region.mask.sum(axis=(1, 2)).argmax())
    finding = label.type.code()
    return Lesion(
        label=str(number),
        segment=label.name,
        finding=finding,
        probability=region.probability,
        origin=region.origin,
        component=region.mask,
        slice_index=region.origin[0] + largest,
        measurements=tuple(
            Measurement(name=name, value=value, unit=unit, segment=label.name, finding=finding)
            for name, value, unit in _values(region, largest, volume)
        ),
    )


def _values(region: _Region, largest: int, volume: Volume) -> Iterator[tuple[Code, float, Code]]:
    """Give sizes and probability; one slice has no volume, and a projection no size in the patient."""
    voxels = float(region.mask.sum())
    if not volume.is_projection:
        if why_no_volume(volume) is None:
            yield codes.VOLUME, voxels * volume.voxel_volume_mm3 / 1000.0, codes.MILLILITRE
        elif len(volume.voxels) == 1:
            area_mm2 = voxels * volume.pixel_spacing_mm[0] * volume.pixel_spacing_mm[1]
            yield codes.AREA, area_mm2, codes.SQUARE_MILLIMETRE
        length_mm = long_axis_mm(region.mask[largest], volume.pixel_spacing_mm)
        yield codes.LONG_AXIS, length_mm, codes.MILLIMETRE
    yield codes.PROBABILITY, region.probability, codes.NO_UNITS


def long_axis_mm(plane: BoolArray, pixel_spacing_mm: tuple[float, float]) -> float:
    """Give the longest way across a mask (y, x): between pixel centres, plus a mean pixel for the edges."""
    rows = np.flatnonzero(plane.any(axis=1))
    first = plane[rows].argmax(axis=1)
    last = plane.shape[1] - 1 - plane[rows][:, ::-1].argmax(axis=1)
    points = (
        np.stack([np.concatenate([rows, rows]), np.concatenate([first, last])], axis=1) * pixel_spacing_mm
    )
    apart = points[:, None, :] - points[None, :, :]
    return float(np.sqrt((apart**2).sum(axis=-1).max()) + np.mean(pixel_spacing_mm))
