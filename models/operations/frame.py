"""An image brought to the size a network wants, and what the network drew brought back.

Promises: corners map to corners exactly, so a box goes back to the source pixels it was drawn over; going
down in size averages (no aliasing).
Never: turns or mirrors an image.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import sparse

from models.operations.grid import weights
from models.tensors import DoubleArray, FloatArray, LabelArray

Fit = Literal["stretch", "pad"]
Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Tie a network's image to the source image. Sizes are (rows, columns).

    Attributes:
        source: size of the source image.
        size: size of what the network is fed.
        first: upper left pixel of `size` that holds image.
        content: how many rows and columns of `size` hold image; the rest is padding.
    """

    source: Size
    size: Size
    first: Size
    content: Size

    def into(self, image: FloatArray, pad_value: float) -> FloatArray:
        """Bring channels (c, y, x) to (c, *size)."""
        rows, columns = self._inwards
        fed = np.full((len(image), *self.size), pad_value, dtype=np.float32)
        top, left = self.first
        for channel, target in zip(image, fed, strict=True):
            drawn = (columns @ (rows @ channel).T).T
            target[top : top + self.content[0], left : left + self.content[1]] = drawn
        return fed

    def back(self, field: FloatArray) -> FloatArray:
        """Interpolate (c, *size) onto the source: (c, y, x)."""
        if self.size == self.source:
            return field
        rows, columns = self._outwards
        return np.stack([(columns @ (rows @ self._cropped(one)).T).T for one in field])

    def back_labels(self, labels: LabelArray) -> LabelArray:
        """Give each source pixel the label of the pixel it lies in: (*size) -> (y, x)."""
        rows, columns = (
            np.minimum(((np.arange(old) + 0.5) * new / old).astype(np.intp), new - 1)
            for old, new in zip(self.source, self.content, strict=True)
        )
        top, left = self.first
        return np.asarray(labels[top + rows[:, None], left + columns[None, :]])

    def to_source(self, points: DoubleArray) -> DoubleArray:
        """Bring points (m, 2), (y, x) from the outer corner of the network's image, to the source's."""
        moved: DoubleArray = points - np.array(self.first)
        return np.asarray(moved * (np.array(self.source) / np.array(self.content)))

    def _cropped(self, field: FloatArray) -> FloatArray:
        top, left = self.first
        return field[top : top + self.content[0], left : left + self.content[1]]

    @cached_property
    def _inwards(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        return self._matrix(0, into=True), self._matrix(1, into=True)

    @cached_property
    def _outwards(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        return self._matrix(0, into=False), self._matrix(1, into=False)

    def _matrix(self, axis: int, *, into: bool) -> sparse.csr_array:
        old, new = self.source[axis], self.content[axis]
        size_in, size_out = (old, new) if into else (new, old)
        step = size_in / size_out
        return sparse.csr_array(weights(size_in, 1.0, size_out=size_out, spacing_out_mm=step, average=into))


def frame_of(source: Size, size: Size, fit: Fit) -> Frame:
    """Lay `size` over an image: stretched, or with its shape kept and centred."""
    content = size
    if fit == "pad":
        share = min(size[0] / source[0], size[1] / source[1])
        rows, columns = (max(1, round(side * share)) for side in source)
        content = (min(rows, size[0]), min(columns, size[1]))
    first = ((size[0] - content[0]) // 2, (size[1] - content[1]) // 2)
    return Frame(source=source, size=size, first=first, content=content)
