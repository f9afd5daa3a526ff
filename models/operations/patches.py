"""Run a network patch by patch over a grid and blend what comes back.

Promises: every voxel is covered; where patches overlap, each counts by a Gaussian of its distance from the
patch's middle, or all the same, and the weights add up to one. While the network works on one batch, the
answer to the batch before it is blended and the batch after it is cut out.
Never: skips a patch because it looks empty; calls the network from another thread than the caller's.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from models.tensors import FloatArray

Tensors = Mapping[str, npt.NDArray[np.generic]]
Infer = Callable[[Tensors], Tensors]
Progress = Callable[[int, int], None]
Shape = tuple[int, int, int]
Blending = Literal["gaussian", "mean"]
Window = tuple[slice, slice, slice]
Feed = Callable[[FloatArray], FloatArray]
"""Makes the network's channels of a part of the grid: (z, y, x) -> (c, z, y, x)."""
Fields = Mapping[str, FloatArray]
Answering = Callable[[FloatArray, Sequence[Window]], Fields]
"""Answers a batch (n, c, *patch) cut at these windows: by output, (n, channels, *patch)."""

SIGMA_OF_PATCH = 0.125
WEIGHT_MIN = 1e-3
"""Smallest weight of a patch's corner, so that a corner covered once still divides well."""


@dataclass(frozen=True, kw_only=True)
class Sliding:
    """Say how a network is slid over a grid.

    Attributes:
        patch: shape of one patch (z, y, x); a grid smaller than it is filled up with `pad_value`.
        overlap: share of a patch that its neighbour covers again, 0 to under 1.
        batch: patches per call.
        pad_value: prepared value beyond the edge of the grid.
        blend: how much each of several answers counts: by a Gaussian of its distance from the patch's middle,
            or all the same.
    """

    patch: Shape
    overlap: float
    batch: int
    pad_value: float
    blend: Blending = "gaussian"

    def weights(self) -> FloatArray:
        """Give how much each voxel of a patch counts, (z, y, x), float32."""
        return gaussian(self.patch) if self.blend == "gaussian" else np.ones(self.patch, dtype=np.float32)


def one_channel(part: FloatArray) -> FloatArray:
    """Feed the grid as it is."""
    return part[None]


def slide(
    field: FloatArray,
    sliding: Sliding,
    answering: Answering,
    *,
    feed: Feed = one_channel,
    progress: Progress | None = None,
) -> dict[str, FloatArray]:
    """Blend the network's answers over `field`, (z, y, x): by output, (channels, z, y, x), float32."""
    cut = _Cutter(field=field, sliding=sliding, feed=feed)
    blend = _Blend(shape=field.shape, weights=sliding.weights())
    windows = list(windows_over(field.shape, sliding.patch, sliding.overlap))
    groups = [windows[start : start + sliding.batch] for start in range(0, len(windows), sliding.batch)]
    with ThreadPoolExecutor(1, thread_name_prefix="patches") as side:
        upcoming = side.submit(cut, groups[0])
        blended: Future[None] | None = None
        for number, group in enumerate(groups):
            batch = upcoming.result()
            if number + 1 < len(groups):
                upcoming = side.submit(cut, groups[number + 1])
            answers = answering(batch, group)
            if blended is not None:
                blended.result()  # one answer waits at most, so that memory stays bounded
            blended = side.submit(blend.add, group, answers)
            if progress is not None:
                progress(min((number + 1) * sliding.batch, len(windows)), len(windows))
        if blended is not None:
            blended.result()
    return blend.finished()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cutter:
    """Cuts batches out of a grid."""

    field: FloatArray
    sliding: Sliding
    feed: Feed

    def __call__(self, group: Sequence[Window]) -> FloatArray:
        """Give (n, c, *patch), float32."""
        parts = [self.feed(self.field[window]) for window in group]
        shape = (len(parts), len(parts[0]), *self.sliding.patch)
        whole = parts[0].shape[1:] == self.sliding.patch
        batch = np.empty(shape, np.float32) if whole else np.full(shape, self.sliding.pad_value, np.float32)
        for place, part in zip(batch, parts, strict=True):
            _, z, y, x = part.shape
            place[:, :z, :y, :x] = part
        return batch


class _Blend:
    """Adds up weighted answers."""

    def __init__(self, *, shape: Sequence[int], weights: FloatArray) -> None:
        self._shape = tuple(shape)
        self._weights = weights
        self._total = np.zeros(self._shape, dtype=np.float32)
        self._sums: dict[str, FloatArray] = {}
        # Made once for all patches: fresh pages for each cost as much as the adding.
        self._scratch = np.empty(weights.shape, dtype=np.float32)

    def add(self, group: Sequence[Window], answers: Fields) -> None:
        """Add one batch of answers."""
        for name, answer in answers.items():
            if name not in self._sums:
                self._sums[name] = np.zeros((answer.shape[1], *self._shape), dtype=np.float32)
            for window, patch in zip(group, answer, strict=True):
                self._add(self._sums[name], window, patch)
        for window in group:
            self._total[window] += self._weights[self._inside(window)]

    def _add(self, sums: FloatArray, window: Window, patch: FloatArray) -> None:
        inside = self._inside(window)
        for sum_, channel in zip(sums, patch, strict=True):
            np.multiply(channel, self._weights, out=self._scratch)
            sum_[window] += self._scratch[inside]

    def _inside(self, window: Window) -> Window:
        """Give the part of a patch that lies on the grid."""
        z, y, x = (
            slice(0, min(part.stop, size) - part.start)
            for part, size in zip(window, self._shape, strict=True)
        )
        return z, y, x

    def finished(self) -> dict[str, FloatArray]:
        """Divide by the weights."""
        for sums in self._sums.values():
            sums /= self._total
        return self._sums


def windows_over(shape: Sequence[int], patch: Shape, overlap: float) -> Iterator[Window]:
    """Give windows that cover `shape`; the last along an axis is moved back to end with it."""
    starts = [_starts(size, width, overlap) for size, width in zip(shape, patch, strict=True)]
    for z, y, x in itertools.product(*starts):
        yield slice(z, z + patch[0]), slice(y, y + patch[1]), slice(x, x + patch[2])


def _starts(size: int, width: int, overlap: float) -> list[int]:
    """Spread the fewest windows that overlap at least by `overlap` evenly along one axis."""
    if size <= width:
        return [0]
    step = max(1, int(width * (1.0 - overlap)))
    count = -(-(size - width) // step) + 1
    return [round(start) for start in np.linspace(0, size - width, count)]


def gaussian(patch: Shape) -> FloatArray:
    """Give the blending weight of a patch: 1 in its middle, at least `WEIGHT_MIN`; float32."""
    axes = [
        np.exp(-0.5 * ((np.arange(width) - (width - 1) / 2) / (width * SIGMA_OF_PATCH)) ** 2)
        for width in patch
    ]
    bell = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    return np.asarray(np.maximum(bell / bell.max(), WEIGHT_MIN), dtype=np.float32)
