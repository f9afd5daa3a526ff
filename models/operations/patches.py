"""Run a network patch by patch over a grid and blend what comes back.

Promises: every voxel is covered; where patches overlap, each counts by a Gaussian of its distance from the
patch's middle, and the weights add up to one.
Never: skips a patch because it looks empty.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.tensors import FloatArray

Tensors = Mapping[str, npt.NDArray[np.generic]]
Infer = Callable[[Tensors], Tensors]
Progress = Callable[[int, int], None]
Shape = tuple[int, int, int]
Window = tuple[slice, slice, slice]

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
    """

    patch: Shape
    overlap: float
    batch: int
    pad_value: float


def slide(
    field: FloatArray,
    sliding: Sliding,
    infer: Callable[[FloatArray], FloatArray],
    *,
    progress: Progress | None = None,
) -> FloatArray:
    """Blend the network's answer over `field`: (z, y, x) in, (channels, z, y, x) out, float32.

    `infer` maps (n, 1, *patch) to (n, channels, *patch).
    """
    padded = _fill_up(field, sliding)
    windows = list(windows_over(padded.shape, sliding.patch, sliding.overlap))
    bell = gaussian(sliding.patch)
    total = np.zeros(padded.shape, dtype=np.float32)
    answer: FloatArray | None = None
    done = 0
    for group in _batches(windows, sliding.batch):
        outputs = infer(np.stack([padded[window] for window in group])[:, None])
        if answer is None:
            answer = np.zeros((outputs.shape[1], *padded.shape), dtype=np.float32)
        for window, output in zip(group, outputs, strict=True):
            answer[(slice(None), *window)] += output * bell
            total[window] += bell
        done += len(group)
        if progress is not None:
            progress(done, len(windows))
    assert answer is not None, "a grid has at least one window"
    answer /= total
    z, y, x = field.shape
    return answer[:, :z, :y, :x]


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


def _fill_up(field: FloatArray, sliding: Sliding) -> FloatArray:
    missing = [(0, max(0, width - size)) for size, width in zip(field.shape, sliding.patch, strict=True)]
    padded: FloatArray = np.pad(field, missing, constant_values=sliding.pad_value)
    return padded


def _batches(windows: list[Window], batch: int) -> Iterator[list[Window]]:
    for start in range(0, len(windows), batch):
        yield windows[start : start + batch]
