"""Make what the network is fed out of the series' values.

Promises: one slice or patch is held beside the series, never a second series, unless the manifest asks for
a grid of its own.
Never: measures padding before it was filled and resampled.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from models.manifest import Manifest
from models.manifest_sections import ValueStep
from models.operations.grid import Grid
from models.operations.intensity import Resample
from models.operations.statistics import StatisticsStep
from models.tensors import BoolArray, FloatArray, Volume

Steps = tuple[ValueStep, ...]
Plane = tuple[FloatArray, BoolArray]
Planes = Callable[[], Iterable[Plane]]


def run(steps: Steps, values: FloatArray, valid: BoolArray) -> FloatArray:
    """Run steps over slices (n, y, x) or one plane (y, x); what a slice needs of itself is measured here."""
    for step in steps:
        if not isinstance(step, StatisticsStep):
            values = step.apply(values, valid)
        elif values.ndim == 2:
            values = _alone(step, values, valid)
        else:
            pairs = zip(values, valid, strict=True)
            values = np.stack([_alone(step, one, there) for one, there in pairs])
    return values


def _alone(step: StatisticsStep, values: FloatArray, valid: BoolArray) -> FloatArray:
    return run(step.settled([values[valid]], int(values.size)), values, valid)


def settled(steps: Steps, planes: Planes, voxels: int) -> Steps:
    """Measure what steps need of the whole series, and give fixed steps in their place.

    `planes` gives every (values, valid) of the series anew; there are `voxels` values in all.
    """
    done: Steps = ()
    for step in steps:
        if isinstance(step, StatisticsStep) and step.per == "series":
            blocks = (run(done, values, valid)[valid] for values, valid in planes())
            done += step.settled(blocks, voxels)
        else:
            done += (step,)
    return done


def around_resample(manifest: Manifest) -> tuple[Steps, Steps]:
    """Split the prepare steps at resample: (before, after)."""
    before: list[ValueStep] = []
    after: list[ValueStep] = []
    current = before
    for step in manifest.prepare:
        if isinstance(step, Resample):
            current = after
        else:
            current.append(step)
    return tuple(before), tuple(after)


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    """Makes the network's channels of values that the common steps have been over."""

    each: tuple[Steps, ...]

    def of(self, values: FloatArray, valid: BoolArray) -> FloatArray:
        """Give (n, c, y, x) of (n, y, x); one channel of the values themselves where none is named."""
        if not self.each:
            return values[:, None]
        return np.stack([run(steps, values, valid) for steps in self.each], axis=1)

    def of_part(self, part: FloatArray) -> FloatArray:
        """Give (c, z, y, x) of part of a grid, (z, y, x)."""
        if not self.each:
            return part[None]
        whole = np.broadcast_to(np.True_, part.shape)
        return np.stack([run(steps, part, whole) for steps in self.each])


def channels_of(manifest: Manifest, planes: Planes, voxels: int) -> Channels:
    """Measure what the channels' steps need; `planes` as the common steps left them."""
    return Channels(each=tuple(settled(channel.prepare, planes, voxels) for channel in manifest.channels))


@dataclass(frozen=True, kw_only=True, eq=False)
class Slices:
    """Feeds a network that sees slices."""

    volume: Volume
    common: Steps
    channels: Channels

    def block(self, first: int, count: int) -> FloatArray:
        """Give the slices that begin at `first`: float32, (n, c, y, x)."""
        part = slice(first, first + count)
        valid = self.volume.valid[part]
        return self.channels.of(run(self.common, self.volume.voxels[part], valid), valid)


def slices_of(manifest: Manifest, volume: Volume) -> Slices:
    """Measure what the steps need of the whole series."""

    def source() -> Iterator[Plane]:
        return zip(volume.voxels, volume.valid, strict=True)

    common = settled(around_resample(manifest)[0], source, volume.voxels.size)

    def prepared() -> Iterator[Plane]:
        return ((run(common, values, valid), valid) for values, valid in source())

    channels = channels_of(manifest, prepared, volume.voxels.size)
    return Slices(volume=volume, common=common, channels=channels)


def on_grid(manifest: Manifest, volume: Volume, laid: Grid) -> FloatArray:
    """Put the series on the network's grid, all common steps done: float32, (z, y, x)."""
    before, after = around_resample(manifest)
    voxels, valid = laid.turn.apply(volume.voxels), laid.turn.apply(volume.valid)
    before = settled(before, lambda: zip(voxels, valid, strict=True), voxels.size)
    if not any(isinstance(step, Resample) for step in manifest.prepare):
        return run(before, voxels, valid)
    field = laid.sample(lambda z: run(before, voxels[z], valid[z]))
    return run(settled(after, lambda: planes_of(field), field.size), field, _everywhere(field))


def planes_of(field: FloatArray) -> Iterator[Plane]:
    """Give the planes of a grid; every voxel of it counts."""
    return ((plane, _everywhere(plane)) for plane in field)


def _everywhere(values: FloatArray) -> BoolArray:
    return np.broadcast_to(np.True_, values.shape)
