"""What the frames of a segmentation hold: whether there is anything of a segment on a slice, and which bytes.

Promises: one plane is drawn at a time, so that overlapping segments and long series cost no copy of a volume.
Never: places a frame; that is the encoder's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from appliance.results.subjects import areas
from models.findings import ProbabilityMap, Segment
from models.tensors import BoolArray

Overlap = Literal["YES", "NO", "UNDEFINED"]
Plane = npt.NDArray[Any]
_BITS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """Hold what is to be written, layer by layer; a layer is a segment, or the one map of all labels.

    Attributes:
        present: bool, (z, layer): where anything is.
        draw: gives the plane (y, x) of (layer, z).
        overlap: Segments Overlap (0062,0013).
    """

    present: npt.NDArray[np.bool_]
    draw: Callable[[int, int], Plane]
    overlap: Overlap

    def bits(self, frames: Sequence[tuple[int, int]]) -> bytes:
        """Pack frames of true and false, a bit each without gaps between frames (PS3.5 8.1.1)."""
        return _even(b"".join(self._packed(frames)))

    def _packed(self, frames: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        # Eight frames end on a byte whatever their size.
        for first in range(0, len(frames), _BITS):
            planes = [self.draw(*frame).ravel() for frame in frames[first : first + _BITS]]
            yield np.packbits(np.concatenate(planes), bitorder="little").tobytes()

    def numbers(self, frames: Sequence[tuple[int, int]], bits: int) -> bytes:
        """Write frames of numbers, little endian."""
        dtype = np.dtype(f"<u{bits // _BITS}")
        return _even(b"".join(self.draw(*frame).astype(dtype, copy=False).data for frame in frames))


def masks(segments: Sequence[Segment]) -> Layers:
    """Write each segment's mask."""
    present = np.array([areas(segment) > 0 for segment in segments]).T
    return Layers(
        present=present,
        draw=lambda layer, z: segments[layer].mask[z],
        overlap="YES" if _overlapping(segments, present) else "NO",
    )


def _overlapping(segments: Sequence[Segment], present: npt.NDArray[np.bool_]) -> bool:
    """Say whether any voxel is in two segments."""
    return any(
        _doubled([one.mask[z] for one, there in zip(segments, present[z], strict=True) if there])
        for z in np.flatnonzero(present.sum(axis=1) > 1)
    )


def _doubled(planes: Sequence[BoolArray]) -> bool:
    """Say whether any pixel is in two of several planes."""
    seen = planes[0].copy()
    for plane in planes[1:]:
        if np.logical_and(seen, plane).any():
            return True
        seen |= plane
    return False


def labels(segments: Sequence[Segment], apart: Layers) -> Layers:
    """Write all segments as one map of their numbers; they may not overlap."""
    assert apart.overlap == "NO", "a voxel of a label map has one number"
    dtype = np.uint8 if len(segments) <= np.iinfo(np.uint8).max else np.uint16

    def draw(_: int, z: int) -> Plane:
        plane = np.zeros(segments[0].mask.shape[1:], dtype=dtype)
        for segment, there in zip(segments, apart.present[z], strict=True):
            if there:
                # No voxel is in two: a sum takes a tenth of the time of looking each up.
                plane += segment.mask[z] * dtype(segment.number)
        return plane

    present = np.asarray(apart.present.any(axis=1, keepdims=True))
    return Layers(present=present, draw=draw, overlap="NO")


def shares(maps: Sequence[ProbabilityMap | None], shape: tuple[int, int, int]) -> Layers:
    """Write the probabilities of each map, 0-255; a segment without one has no frame."""
    present = np.zeros((shape[0], len(maps)), dtype=np.bool_)
    for layer, one in enumerate(maps):
        if one is not None:
            present[one.slice_range, layer] = one.levels.any(axis=(1, 2))

    def draw(layer: int, z: int) -> Plane:
        one = maps[layer]
        assert one is not None, "a frame has a map"
        return one.plane(z, rows=shape[1], columns=shape[2])

    return Layers(
        present=present,
        draw=draw,
        # Where two shares of a voxel are not 0, whether the segments overlap is not defined.
        overlap="NO" if len(maps) == 1 else "UNDEFINED",
    )


def _even(data: bytes) -> bytes:
    """Bring pixel data to an even length (PS3.5 8.1.1)."""
    return data + b"\0" * (len(data) % 2)
