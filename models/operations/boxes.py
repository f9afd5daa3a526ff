"""Boxes on the source grid: overlap, the best of those that overlap, and chains over slices.

Every box has six numbers, (z, y, x) of its first corner and of its last, counted in voxels from the outer
corner of the first voxel of the source. A box drawn on one slice is one voxel deep, so boxes on different
slices never overlap.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.tensors import BoolArray, DoubleArray

IndexArray = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """Hold m boxes.

    Attributes:
        corners: float64, (m, 6).
        values: int64, (m,): the label's value in the manifest.
        scores: float64, (m,): 0-1.
    """

    corners: DoubleArray
    values: npt.NDArray[np.int64]
    scores: DoubleArray

    def __len__(self) -> int:
        return len(self.scores)

    def picked(self, which: BoolArray | IndexArray) -> "Boxes":
        """Give some of them."""
        return Boxes(corners=self.corners[which], values=self.values[which], scores=self.scores[which])

    def within(self, shape: tuple[int, int, int]) -> "Boxes":
        """Cut them off at the edges of the source, and leave out what has nothing inside."""
        ends = np.array((*shape, *shape), dtype=np.float64)
        cut = Boxes(corners=np.clip(self.corners, 0.0, ends), values=self.values, scores=self.scores)
        inside: BoolArray = np.all(cut.corners[:, 3:] > cut.corners[:, :3], axis=1)
        return cut.picked(inside)

    def ranked(self) -> "Boxes":
        """Put the most probable first; equal ones keep their order."""
        return self.picked(np.argsort(-self.scores, kind="stable"))


def joined(parts: list[Boxes]) -> Boxes:
    """Put lists of boxes behind each other."""
    return Boxes(
        corners=np.concatenate([part.corners for part in parts] or [np.zeros((0, 6))]),
        values=np.concatenate([part.values for part in parts] or [np.zeros(0, dtype=np.int64)]),
        scores=np.concatenate([part.scores for part in parts] or [np.zeros(0)]),
    )


def overlaps(one: DoubleArray, others: DoubleArray) -> DoubleArray:
    """Give the intersection over union of a box (k,) with others (m, k); k is 4 or 6: (m,)."""
    half = len(one) // 2
    both = np.minimum(one[half:], others[:, half:]) - np.maximum(one[:half], others[:, :half])
    shared = np.clip(both, 0.0, None).prod(axis=1)
    union = (one[half:] - one[:half]).prod() + (others[:, half:] - others[:, :half]).prod(axis=1) - shared
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0))


def suppressed(boxes: Boxes, iou_max: float) -> Boxes:
    """Keep of boxes of one label that overlap by more than `iou_max` only the most probable.

    `boxes` are ranked, and so is what comes back.
    """
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        same = boxes.values[rest] == boxes.values[best]
        over = overlaps(boxes.corners[best], boxes.corners[rest]) > iou_max
        left = rest[~(same & over)]
    return boxes.picked(np.array(kept, dtype=np.intp))


def chained(boxes: Boxes, iou_min: float) -> list[IndexArray]:
    """Join boxes of one label on neighbouring slices whose outlines overlap at least by `iou_min`.

    Gives the indices of each chain, along the slices. Each box continues the chain it overlaps most.
    """
    chains: list[list[int]] = []
    order = np.lexsort((-boxes.scores, boxes.corners[:, 0]))
    for index in order:
        chain = _continued(boxes, int(index), chains, iou_min)
        if chain is None:
            chains.append([int(index)])
        else:
            chain.append(int(index))
    return [np.array(chain, dtype=np.intp) for chain in chains]


def _continued(boxes: Boxes, index: int, chains: list[list[int]], iou_min: float) -> list[int] | None:
    """Find the chain that ends on the slice before and overlaps most."""
    flat = np.array([1, 2, 4, 5])
    ends = np.array([chain[-1] for chain in chains], dtype=np.intp)
    touches = boxes.corners[ends, 3] == boxes.corners[index, 0]
    touches &= boxes.values[ends] == boxes.values[index]
    near = np.flatnonzero(touches)
    if not len(near):
        return None
    shares = overlaps(boxes.corners[index, flat], boxes.corners[np.ix_(ends[near], flat)])
    best = int(shares.argmax())
    return chains[int(near[best])] if shares[best] >= iou_min else None
