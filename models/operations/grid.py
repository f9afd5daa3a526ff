"""The network's own grid: turned to its orientation, sampled at its spacing, and the way back.

Promises: one plane of the source is touched at a time, so a large series is never copied; going down in
resolution averages (no aliasing), going up interpolates linearly; the way back ends on the source grid.
Never: bridges a gap. The caller gives it regular volumes only.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.tensors import DoubleArray, FloatArray, Volume, affine

Orientation = Literal["source", "LPS", "RAS"]
Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Box = tuple[range, range, range]
Scalar = TypeVar("Scalar", bound=np.generic)
_SIGNS: dict[str, tuple[int, int, int]] = {"LPS": (1, 1, 1), "RAS": (1, -1, -1)}
"""Signs of (z, y, x) against (Superior, Posterior, Left)."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Say how the source axes become the network's: which axis, and whether it runs backwards."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """View a source array (z, y, x) in the network's orientation; nothing is copied."""
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def undo(self, array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """View an array of the network's orientation in the source's; nothing is copied."""
        back = array[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return back.transpose(tuple(int(axis) for axis in np.argsort(self.axes)))

    def reorder(self, values: tuple[float, ...]) -> Triple:
        """Put one value per source axis into the order of the network's axes."""
        z, y, x = (values[axis] for axis in self.axes)
        return z, y, x


def turn_of(volume: Volume, orientation: Orientation) -> Turn:
    """Find the turn that brings the source closest to `orientation`.

    "LPS" means x grows to the patient's Left, y to Posterior, z to Superior; "RAS" mirrors x and y.
    """
    if orientation == "source":
        return Turn(axes=(0, 1, 2), flips=(False, False, False))
    directions = affine(volume)[:3, :3]
    cosines = directions / np.linalg.norm(directions, axis=0)
    patient = cosines[::-1]  # rows now Superior, Posterior, Left, to match z, y, x
    axes = max(itertools.permutations(range(3)), key=lambda order: _agreement(patient, order))
    flips = [
        patient[row, axis] * sign < 0
        for row, (axis, sign) in enumerate(zip(axes, _SIGNS[orientation], strict=True))
    ]
    return Turn(axes=(axes[0], axes[1], axes[2]), flips=(bool(flips[0]), bool(flips[1]), bool(flips[2])))


def _agreement(patient: npt.NDArray[np.float64], order: tuple[int, ...]) -> float:
    return float(sum(abs(patient[row, axis]) for row, axis in enumerate(order)))


def weights(
    size_in: int, spacing_in_mm: float, *, size_out: int, spacing_out_mm: float, average: bool
) -> FloatArray:
    """Give the matrix (size_out, size_in) that samples one axis anew; both grids begin at the same edge.

    With `average` a coarser output weighs all it covers with a triangle; without it, and for a finer
    output, it is linear interpolation. Beyond the last centre the edge value is held.
    """
    step = spacing_out_mm / spacing_in_mm
    centres = np.clip((np.arange(size_out) + 0.5) * step - 0.5, 0, size_in - 1)
    reach = max(1.0, step) if average else 1.0
    matrix = np.maximum(0.0, 1.0 - np.abs(np.arange(size_in)[None, :] - centres[:, None]) / reach)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Tie the network's grid to the turned source grid. Shapes and spacings are (z, y, x), mm."""

    turn: Turn
    source_shape: Shape
    source_spacing_mm: Triple
    shape: Shape
    spacing_mm: Triple

    def sample(self, planes: Callable[[int], FloatArray]) -> FloatArray:
        """Put the turned source onto the grid: float32, (z, y, x).

        `planes` gives the turned source plane (y, x) of an index z. Only one is held at a time.
        """
        down = self._into(0)
        # A plane's weights are nearly all zero: as sparse matrices they cost a tenth.
        rows, columns = (sparse.csr_array(self._into(axis)) for axis in (1, 2))
        partly = np.empty((self.source_shape[0], *self.shape[1:]), dtype=np.float32)
        for z in range(self.source_shape[0]):
            partly[z] = (columns @ (rows @ planes(z)).T).T
        return np.tensordot(down, partly, axes=1)

    def back(self, field: FloatArray, *, first: Shape, box: tuple[range, range, range]) -> FloatArray:
        """Interpolate part of the grid onto part of the turned source: float32, shape of `box`.

        `field` is a crop of the grid that begins at index `first`; `box` holds source indices per axis.
        """
        for axis in range(3):
            part = slice(first[axis], first[axis] + field.shape[axis])
            matrix = self._out_of(axis)[box[axis].start : box[axis].stop, part]
            field = np.moveaxis(np.tensordot(matrix, field, axes=(1, axis)), 0, axis)
        return field

    def planes(self, field: FloatArray, *, first: Shape, box: Box) -> Iterator[tuple[int, FloatArray]]:
        """Interpolate channels of part of the grid, one turned source plane after the other.

        Gives (z, (channels, y, x)) for each z of `box` that `field` reaches; `field` is (channels, z, y, x),
        else as for `back`.
        """
        parts = [slice(first[axis], first[axis] + field.shape[axis + 1]) for axis in range(3)]
        depth, rows, columns = (
            self._out_of(axis)[box[axis].start : box[axis].stop, parts[axis]] for axis in range(3)
        )
        across, down = sparse.csr_array(rows), sparse.csr_array(columns)
        for z, share in zip(box[0], depth, strict=True):
            near = np.flatnonzero(share)
            if not len(near):
                continue
            # At most a few planes take part: no product of matrices, whose threads would fight for the cores.
            plane = share[near[0]] * field[:, near[0]]
            for other in near[1:]:
                plane += share[other] * field[:, other]
            yield z, np.stack([(down @ (across @ channel).T).T for channel in plane])

    def to_source(self, points: DoubleArray) -> DoubleArray:
        """Bring points (m, 3), (z, y, x) from the grid's outer corner, to the source's."""
        steps = np.array(self.spacing_mm) / np.array(self.source_spacing_mm)
        turned = points * steps
        ends = np.array(self.source_shape, dtype=np.float64)
        turned = np.where(np.array(self.turn.flips), ends - turned, turned)
        return np.asarray(turned[:, np.argsort(self.turn.axes)])

    def covered(self, first: Shape, size: Shape) -> tuple[range, range, range]:
        """Give the ranges of turned source indices that a box of the grid can reach."""
        ranges = []
        for axis in range(3):
            step = self.spacing_mm[axis] / self.source_spacing_mm[axis]
            low = int(np.floor((first[axis] - 0.5) * step - 0.5))
            high = int(np.ceil((first[axis] + size[axis] + 0.5) * step + 0.5))
            ranges.append(range(max(0, low), min(self.source_shape[axis], high)))
        return ranges[0], ranges[1], ranges[2]

    def start_in_source(self, box: Box) -> Shape:
        """Give the (z, y, x) index on the source of the first voxel of a box of the turned source."""
        starts = [0, 0, 0]
        for part, axis, flip, size in zip(
            box, self.turn.axes, self.turn.flips, self.source_shape, strict=True
        ):
            starts[axis] = size - part.stop if flip else part.start
        return starts[0], starts[1], starts[2]

    def _into(self, axis: int) -> FloatArray:
        return weights(
            self.source_shape[axis],
            self.source_spacing_mm[axis],
            size_out=self.shape[axis],
            spacing_out_mm=self.spacing_mm[axis],
            average=True,
        )

    def _out_of(self, axis: int) -> FloatArray:
        return weights(
            self.shape[axis],
            self.spacing_mm[axis],
            size_out=self.source_shape[axis],
            spacing_out_mm=self.source_spacing_mm[axis],
            average=False,
        )


def lay(
    volume: Volume, *, orientation: Orientation, spacing_mm: Triple | None, size: Shape | None = None
) -> Grid:
    """Lay the network's grid over `volume`: of a spacing, or of a size that the whole volume is brought to.

    Without either it is the turned source grid itself.
    """
    turn = turn_of(volume, orientation)
    z, y, x = turn.reorder(tuple(float(size) for size in volume.shape))
    source = (int(z), int(y), int(x))
    z, y, x = volume.spacing_mm
    steps = turn.reorder((z or 1.0, y, x))  # one slice may have no thickness stated
    if size is not None:
        z, y, x = (step * old / new for old, step, new in zip(source, steps, size, strict=True))
        return Grid(turn=turn, source_shape=source, source_spacing_mm=steps, shape=size, spacing_mm=(z, y, x))
    wanted = spacing_mm or steps
    z, y, x = (
        np.ceil(size * step / new - 1e-6) for size, step, new in zip(source, steps, wanted, strict=True)
    )
    return Grid(
        turn=turn,
        source_shape=source,
        source_spacing_mm=steps,
        shape=(max(1, int(z)), max(1, int(y)), max(1, int(x))),
        spacing_mm=wanted,
    )
