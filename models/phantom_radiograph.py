"""Make synthetic chest-like radiographs with a known truth: for commissioning, training, tests and demos.

Promises: the same arguments give the same pixels on the same numpy; every nodule lies in a lung field, apart
from the others; boxes and masks of the truth are where the bodies were drawn.
Never: looks like a patient, and never stands for one. Nobody is in these images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PixelArray = npt.NDArray[np.uint16]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
Pair = tuple[float, float]
Box = tuple[float, float, float, float]

STORED_MAX = 4095
"""Twelve bits are stored."""
LUNG_RADII_MM: Pair = (112.0, 54.0)
LUNG_CENTRES_MM: tuple[Pair, Pair] = ((-15.0, -72.0), (-15.0, 72.0))
NODULE_RADIUS_MM = (7.0, 16.0)
NODULE_CONTRAST = (0.11, 0.30)
FOREIGN_CONTRAST = (0.25, 0.9)
PLACING_TRIES_MAX = 300


@dataclass(frozen=True, kw_only=True, eq=False)
class Radiograph:
    """Hold one picture and what was put into it.

    Attributes:
        pixels: uint16, (y, x), 0-4095; brighter where more was in the way (MONOCHROME2).
        spacing_mm: (between rows, between columns).
        foreign: bool, (y, x): the foreign bodies' shadows.
        nodules: (top, left, bottom, right) of each nodule in pixels, counted from the upper left corner of
            the upper left pixel.
    """

    pixels: PixelArray
    spacing_mm: Pair
    foreign: BoolArray
    nodules: tuple[Box, ...]


class _Film:
    """Add up what is in the way of the rays; coordinates in mm from the middle of the field."""

    def __init__(self, shape: tuple[int, int], spacing_mm: Pair) -> None:
        self.shadow = np.zeros(shape, dtype=np.float32)
        self.spacing_mm = spacing_mm
        self.y, self.x = (
            ((np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(step))
            for size, step in zip(shape, spacing_mm, strict=True)
        )
        self.y = self.y[:, None]

    def ball(self, centre_mm: Pair, radii_mm: Pair) -> FloatArray:
        """Give how much of an ellipsoid each ray crosses, 1 in its middle."""
        y, x = (self.y - centre_mm[0]) / radii_mm[0], (self.x - centre_mm[1]) / radii_mm[1]
        return np.asarray(np.sqrt(np.maximum(0, 1 - y * y - x * x)), dtype=np.float32)

    def along(self, start_mm: Pair, end_mm: Pair) -> FloatArray:
        """Give each pixel's distance in mm from the line between two points."""
        way = np.subtract(end_mm, start_mm)
        y, x = self.y - start_mm[0], self.x - start_mm[1]
        share = np.clip((y * way[0] + x * way[1]) / max(float(way @ way), 1e-6), 0, 1)
        return np.asarray(np.hypot(y - share * way[0], x - share * way[1]), dtype=np.float32)

    def covered(self, distance_mm: FloatArray) -> FloatArray:
        """Give the share of each pixel that is inside, from its distance to the edge (below 0 inside)."""
        pixel_mm = np.float32(np.mean(self.spacing_mm))
        return np.asarray(np.clip(np.float32(0.5) - distance_mm / pixel_mm, 0, 1), dtype=np.float32)

    def box(self, centre_mm: Pair, radius_mm: float) -> Box:
        """Give the square around a circle, in pixels from the upper left corner."""
        y, x = (
            centre / step + size / 2
            for centre, step, size in zip(centre_mm, self.spacing_mm, self.shadow.shape, strict=True)
        )
        down, across = radius_mm / self.spacing_mm[0], radius_mm / self.spacing_mm[1]
        return (y - down, x - across, y + down, x + across)


def radiograph(
    seed: int,
    *,
    shape: tuple[int, int] = (360, 300),
    spacing_mm: Pair = (1.1, 1.1),
    foreign_bodies: int = 0,
    nodules: int = 0,
    foreign_contrast: Pair = FOREIGN_CONTRAST,
    nodule_contrast: Pair = NODULE_CONTRAST,
    noise: float = 0.012,
) -> Radiograph:
    """Make one radiograph; contrasts and noise are shares of what the thickest soft tissue stops.

    The body sits in the middle of the field and is cut off where that is smaller. Nodules keep inside it.

    Raises:
        ValueError: so many nodules were asked for that they do not fit apart from each other.
    """
    random = np.random.default_rng(seed)
    film = _Film(shape, spacing_mm)
    _draw_body(film, random)
    boxes = tuple(_draw_nodules(film, random, nodules, nodule_contrast))
    foreign = _draw_foreign(film, random, foreign_bodies, foreign_contrast)
    return Radiograph(
        pixels=_exposed(film, random, noise), spacing_mm=spacing_mm, foreign=foreign, nodules=boxes
    )


def _draw_body(film: _Film, random: np.random.Generator) -> None:
    """Draw soft tissue, lung fields, heart, spine, ribs, vessels and calcified specks."""
    wide = random.uniform(148, 162)
    film.shadow += film.ball((0.0, 0.0), (400.0, wide))
    for centre in LUNG_CENTRES_MM:
        fields = film.ball(_moved(random, centre, 4), (LUNG_RADII_MM[0] * random.uniform(0.95, 1.05), 54.0))
        film.shadow -= np.float32(random.uniform(0.5, 0.65)) * fields
    film.shadow += np.float32(random.uniform(0.2, 0.4)) * film.ball(
        (random.uniform(25, 45), random.uniform(12, 28)), (random.uniform(42, 58), random.uniform(45, 60))
    )
    film.shadow += np.float32(random.uniform(0.15, 0.3)) * np.exp(-((film.x / np.float32(14)) ** 2))
    _draw_ribs(film, random)
    _draw_vessels(film, random)
    for _ in range(random.integers(0, 4)):
        high, across = random.uniform(1.5, 3.5, size=2)
        speck = film.ball(_in_lung(random, 0.9), (float(high), float(across)))
        film.shadow += np.float32(random.uniform(0.05, 0.15)) * speck


def _draw_ribs(film: _Film, random: np.random.Generator) -> None:
    """Draw ten pairs of arcs; a rib is brighter along its edges."""
    out = np.abs(film.x) / np.float32(75)
    reach = film.covered(np.abs(np.abs(film.x) - np.float32(76)) - np.float32(62))
    tilt, bend = random.uniform(4, 14), random.uniform(14, 24)
    for number in range(10):
        middle = -125 + 25 * number + random.uniform(-3, 3) + tilt * out + bend * (out - 1) ** 2
        away = np.abs(film.y - middle) / np.float32(random.uniform(3.0, 4.2))
        rib = np.exp(-(away**4)) * (np.float32(0.06) + np.float32(0.03) * away**2)
        film.shadow += np.float32(random.uniform(0.7, 1.3)) * rib * reach


def _draw_vessels(film: _Film, random: np.random.Generator) -> None:
    """Draw threads that run from the roots of the lungs outwards."""
    for _ in range(random.integers(14, 26)):
        side = random.choice((-1.0, 1.0))
        root = _moved(random, (0.0, 30.0 * side), 12)
        angle, length = random.uniform(-1.3, 1.3), random.uniform(20, 75)
        end = (root[0] + length * np.sin(angle), root[1] + side * length * np.cos(angle))
        thread = np.exp(-((film.along(root, end) / np.float32(random.uniform(1.0, 2.6))) ** 2))
        film.shadow += np.float32(random.uniform(0.03, 0.08)) * thread


def _draw_nodules(film: _Film, random: np.random.Generator, count: int, contrast: Pair) -> Iterator[Box]:
    placed: list[tuple[Pair, float]] = []
    for _ in range(PLACING_TRIES_MAX):
        if len(placed) == count:
            return
        centre, radius = _in_lung(random, 0.72), float(random.uniform(*NODULE_RADIUS_MM))
        if not _fits(film, centre, radius, placed):
            continue
        placed.append((centre, radius))
        film.shadow += np.float32(random.uniform(*contrast)) * film.ball(centre, (radius, radius))
        yield film.box(centre, radius)
    if len(placed) < count:
        raise ValueError(
            f"{count} nodules do not fit into this field: ask for {len(placed)}, or a larger one"
        )


def _fits(film: _Film, centre: Pair, radius: float, placed: list[tuple[Pair, float]]) -> bool:
    top, left, bottom, right = film.box(centre, radius)
    rows, columns = film.shadow.shape
    if min(top, left) < 0 or bottom > rows or right > columns:
        return False
    return all(np.hypot(*np.subtract(centre, other)) > radius + size + 4.0 for other, size in placed)


def _draw_foreign(film: _Film, random: np.random.Generator, count: int, contrast: Pair) -> BoolArray:
    """Draw rods, coins and rings with sharp edges; mark each pixel that is at least half covered."""
    marked = np.zeros(film.shadow.shape, dtype=np.bool_)
    for _ in range(count):
        centre = (float(random.uniform(-120, 120)), float(random.uniform(-110, 110)))
        shape = film.covered(_edge_of(film, random, centre))
        film.shadow += np.float32(random.uniform(*contrast)) * shape
        marked |= shape >= 0.5
    return marked


def _edge_of(film: _Film, random: np.random.Generator, centre: Pair) -> FloatArray:
    """Give each pixel's distance to the edge of a rod, a coin or a ring, below 0 inside, in mm."""
    kind = random.integers(3)
    if kind == 0:
        angle, half = random.uniform(0, np.pi), random.uniform(7, 20)
        way = np.array([np.sin(angle), np.cos(angle)]) * half
        distance = film.along(tuple(centre - way), tuple(centre + way))
        return np.asarray(distance - np.float32(random.uniform(1.2, 2.5)))
    distance = film.along(centre, centre)
    if kind == 1:
        return np.asarray(distance - np.float32(random.uniform(4, 10)))
    radius, half_width = random.uniform(6, 12), random.uniform(1.2, 2.2)
    return np.asarray(np.abs(distance - np.float32(radius)) - np.float32(half_width))


def _exposed(film: _Film, random: np.random.Generator, noise: float) -> PixelArray:
    """Turn the shadow into stored values of some detector: its blur, gain, curve and noise."""
    shadow = film.shadow
    for axis in (0, 1):
        shadow = shadow + np.float32(0.2) * (
            np.roll(shadow, 1, axis) + np.roll(shadow, -1, axis) - 2 * shadow
        )
    grain = random.standard_normal(shadow.shape, dtype=np.float32)
    shadow = np.maximum(shadow + grain * np.float32(noise), 0)
    curve = random.uniform(0.8, 1.25)
    gain, floor = random.uniform(900, 1900), random.uniform(50, 500)
    stored = np.rint(floor + gain * shadow ** np.float32(curve))
    return np.asarray(np.clip(stored, 0, STORED_MAX), dtype=np.uint16)


def _moved(random: np.random.Generator, point_mm: Pair, by_mm: float) -> Pair:
    y, x = random.uniform(-by_mm, by_mm, size=2)
    return point_mm[0] + float(y), point_mm[1] + float(x)


def _in_lung(random: np.random.Generator, reach: float) -> Pair:
    """Draw a point inside one of the lung fields scaled by `reach`, evenly over its area."""
    y, x = LUNG_CENTRES_MM[random.integers(2)]
    angle, far = random.uniform(0, 2 * np.pi), reach * np.sqrt(random.uniform())
    return (
        float(y + LUNG_RADII_MM[0] * far * np.sin(angle)),
        float(x + LUNG_RADII_MM[1] * far * np.cos(angle)),
    )
