"""Make synthetic CT heads with a known truth: for commissioning, training, tests, the demo and the bench.

Promises: the same seed, shape and spacing give the same voxels on the same numpy; every lesion lies inside
the brain, apart from the others, and is marked in the truth exactly where its centre rule says.
Never: looks like a patient, and never stands for one. Nobody is in these images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HuArray = npt.NDArray[np.int16]
TruthArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
Triple = tuple[float, float, float]

AIR_HU = -1000.0
HEAD_RADII_MM: Triple = (78.0, 95.0, 74.0)
"""Half axes (z, y, x) of the outer skin."""
SCALP_MM, SKULL_MM = 5.0, 7.0
LESION_RADIUS_MM = (6.0, 16.0)
LESION_HU = (58.0, 85.0)
PLACING_TRIES_MAX = 200


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """Hold one ellipsoid in millimetres from the middle of the head, axes along the grid."""

    centre_mm: Triple
    radii_mm: Triple
    hu: float


class _Canvas:
    """Paint ellipsoids onto a grid; each touches only its own bounding box."""

    def __init__(self, shape: tuple[int, int, int], spacing_mm: Triple) -> None:
        self.hu = np.full(shape, AIR_HU, dtype=np.float32)
        self.spacing_mm = spacing_mm
        self.axes_mm = [
            (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(spacing)
            for size, spacing in zip(shape, spacing_mm, strict=True)
        ]

    def box(self, body: Ellipsoid) -> tuple[slice, slice, slice]:
        """Give the part of the grid that holds `body`."""
        low, high = np.array(body.centre_mm) - body.radii_mm, np.array(body.centre_mm) + body.radii_mm
        edges = [np.searchsorted(axis, (a, b)) for axis, a, b in zip(self.axes_mm, low, high, strict=True)]
        z, y, x = (slice(int(start), int(stop)) for start, stop in edges)
        return z, y, x

    def inside(self, body: Ellipsoid, box: tuple[slice, slice, slice]) -> npt.NDArray[np.bool_]:
        """Mark the voxel centres inside `body`."""
        z, y, x = (
            ((axis[part] - np.float32(centre)) / np.float32(radius)) ** 2
            for axis, part, centre, radius in zip(
                self.axes_mm, box, body.centre_mm, body.radii_mm, strict=True
            )
        )
        result: npt.NDArray[np.bool_] = z[:, None, None] + y[None, :, None] + x[None, None, :] < 1.0
        return result

    def paint(self, body: Ellipsoid) -> None:
        """Set every voxel inside `body` to its value."""
        box = self.box(body)
        self.hu[box][self.inside(body, box)] = body.hu


def volume(
    seed: int,
    *,
    shape: tuple[int, int, int] = (60, 256, 256),
    spacing_mm: Triple = (2.5, 0.9, 0.9),
    lesions: int = 2,
    noise_hu: float = 6.0,
) -> tuple[HuArray, TruthArray]:
    """Make one head: HU int16 and truth uint8, 1 where a lesion is; both (z, y, x), as is the spacing in mm.

    The head sits in the middle of the grid and is cut off where the grid is smaller. Lesions keep inside it.

    Raises:
        ValueError: so many lesions were asked for that they do not fit apart from each other.
    """
    random = np.random.default_rng(seed)
    canvas = _Canvas(shape, spacing_mm)
    for body in _head(random):
        canvas.paint(body)
    for body in _confusers(random):
        canvas.paint(body)
    truth = np.zeros(shape, dtype=np.uint8)
    field_mm = tuple(size * step / 2 for size, step in zip(shape, spacing_mm, strict=True))
    for body in _lesions(random, lesions, (field_mm[0], field_mm[1], field_mm[2])):
        canvas.paint(body)
        box = canvas.box(body)
        truth[box][canvas.inside(body, box)] = 1
    hu = np.empty(shape, dtype=np.int16)
    for z, plane in enumerate(canvas.hu):  # slice by slice, to spare memory
        _soften(plane)
        _add_noise(plane, random, noise_hu)
        hu[z] = np.clip(np.rint(plane), -1024, 3071)
    return hu, truth


def _head(random: np.random.Generator) -> Iterator[Ellipsoid]:
    """Give scalp, skull, brain and ventricles from the outside in."""
    size = random.uniform(0.92, 1.06)
    skin = tuple(radius * size for radius in HEAD_RADII_MM)
    middle = (0.0, 0.0, 0.0)
    yield Ellipsoid(centre_mm=middle, radii_mm=_shrunk(skin, 0.0), hu=random.uniform(-90, 30))
    yield Ellipsoid(centre_mm=middle, radii_mm=_shrunk(skin, SCALP_MM), hu=random.uniform(700, 1300))
    brain = _shrunk(skin, SCALP_MM + SKULL_MM)
    yield Ellipsoid(centre_mm=middle, radii_mm=brain, hu=random.uniform(26, 38))
    for side in (-1.0, 1.0):
        yield Ellipsoid(
            centre_mm=(10.0, random.uniform(-8, 8), side * random.uniform(9, 13)),
            radii_mm=(12.0, random.uniform(22, 32), random.uniform(4, 8)),
            hu=random.uniform(2, 12),
        )


def _shrunk(radii_mm: tuple[float, ...], by_mm: float) -> Triple:
    z, y, x = (radius - by_mm for radius in radii_mm)
    return z, y, x


def _confusers(random: np.random.Generator) -> Iterator[Ellipsoid]:
    """Give what a lesion must not be taken for: calcifications, sheets, threads, cysts, air cells."""
    yield Ellipsoid(centre_mm=(15.0, 0.0, 0.0), radii_mm=(48.0, 72.0, 1.6), hu=random.uniform(50, 75))
    for _ in range(random.integers(2, 6)):
        yield _blob(random, radii_mm=(1.0, 3.5), hu=(160, 500))
    for _ in range(random.integers(1, 4)):
        yield _thread(random)
    for _ in range(random.integers(0, 4)):
        yield _blob(random, radii_mm=(5.0, 14.0), hu=(-5, 20))
    yield Ellipsoid(
        centre_mm=(-45.0, -55.0, random.uniform(-8, 8)),
        radii_mm=(8.0, 7.0, 11.0),
        hu=random.uniform(-1000, -700),
    )


def _blob(
    random: np.random.Generator, *, radii_mm: tuple[float, float], hu: tuple[float, float]
) -> Ellipsoid:
    return Ellipsoid(
        centre_mm=_place(random, 0.8),
        radii_mm=_triple(random.uniform(*radii_mm, size=3)),
        hu=random.uniform(*hu),
    )


def _thread(random: np.random.Generator) -> Ellipsoid:
    """Give a thin dense vessel along one axis."""
    radii = random.uniform(1.0, 1.8, size=3)
    radii[random.integers(3)] = random.uniform(15, 35)
    return Ellipsoid(centre_mm=_place(random, 0.6), radii_mm=_triple(radii), hu=random.uniform(55, 85))


def _lesions(random: np.random.Generator, count: int, field_mm: Triple) -> Iterator[Ellipsoid]:
    """Give dense ellipsoids inside brain and field of view, at least 6 mm apart."""
    placed: list[Ellipsoid] = []
    for _ in range(PLACING_TRIES_MAX):
        if len(placed) == count:
            return
        radii = _triple(random.uniform(*LESION_RADIUS_MM) * random.uniform(0.75, 1.25, size=3))
        body = Ellipsoid(centre_mm=_place(random, 0.66), radii_mm=radii, hu=random.uniform(*LESION_HU))
        if _fits(body, placed, field_mm):
            placed.append(body)
            yield body
    if len(placed) < count:
        raise ValueError(
            f"{count} lesions do not fit into this phantom: ask for {len(placed)} or a larger field"
        )


def _fits(body: Ellipsoid, others: list[Ellipsoid], field_mm: Triple) -> bool:
    reach = np.abs(body.centre_mm) + body.radii_mm
    if (reach > field_mm).any():
        return False
    return all(
        float(np.linalg.norm(np.subtract(body.centre_mm, other.centre_mm)))
        > max(body.radii_mm) + max(other.radii_mm) + 6.0
        for other in others
    )


def _place(random: np.random.Generator, reach: float) -> Triple:
    """Draw a point inside the brain scaled by `reach`, evenly over its volume."""
    direction = random.standard_normal(3)
    direction *= random.uniform() ** (1 / 3) / np.linalg.norm(direction)
    brain = np.array(HEAD_RADII_MM) * 0.92 - (SCALP_MM + SKULL_MM)
    return _triple(direction * brain * reach)


def _triple(values: npt.NDArray[np.float64]) -> Triple:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _soften(plane: FloatArray) -> None:
    """Blur one slice over three pixels, as the detector does; in place."""
    for axis in (0, 1):
        before, after = np.roll(plane, 1, axis), np.roll(plane, -1, axis)
        plane += np.float32(0.25) * (before + after - 2 * plane)


def _add_noise(plane: FloatArray, random: np.random.Generator, noise_hu: float) -> None:
    """Add noise with a grain of about two pixels; in place."""
    grain = random.standard_normal(plane.shape, dtype=np.float32)
    grain += np.roll(grain, 1, 0)
    grain += np.roll(grain, 1, 1)
    plane += grain * np.float32(noise_hu / 2)
