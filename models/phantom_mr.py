"""Make synthetic T1-like MR heads with a known truth: for commissioning, training, tests and demos.

Promises: the same arguments give the same voxels on the same numpy; every voxel of the truth carries the
compartment its centre lies in, and the truth's percentage is that of the drawn bodies, not of the voxels.
Never: looks like a patient, and never stands for one. Nobody is in these images.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ValueArray = npt.NDArray[np.int16]
LabelArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
Triple = tuple[float, float, float]

GREY, WHITE, VENTRICLE = 1, 2, 3
"""Labels of the truth; 0 is everything else, the fluid around the brain included."""
HEAD_RADII_MM: Triple = (80.0, 96.0, 76.0)
"""Half axes (z, y, x) of the outer skin."""
SCALP_MM, SKULL_MM, FLUID_MM = 5.0, 6.0, 3.5
CORTEX_MM = (5.0, 8.0)
# How bright each is, as a share of white matter.
SHARES = {"scalp": 1.15, "skull": 0.12, "fluid": 0.25, GREY: 0.68, WHITE: 1.0, VENTRICLE: 0.25}


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Hold one head and what is in it.

    Attributes:
        values: int16, (z, y, x), no unit: another head has another scale, as in MR.
        labels: uint8, (z, y, x): GREY, WHITE, VENTRICLE, or 0.
        spacing_mm: (z, y, x).
        ventricle_percent: volume of the ventricles as a percentage of the whole brain with them.
    """

    values: ValueArray
    labels: LabelArray
    spacing_mm: Triple
    ventricle_percent: float


class _Space:
    """Measure where each voxel lies in a head; arrays are float32, (z, y, x)."""

    def __init__(self, shape: tuple[int, int, int], spacing_mm: Triple, turned_degrees: float) -> None:
        z, y, x = (
            (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(step)
            for size, step in zip(shape, spacing_mm, strict=True)
        )
        angle = np.radians(turned_degrees)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        y, x = y[None, :, None], x[None, None, :]
        self.z, self.y, self.x = z[:, None, None], cosine * y - sine * x, sine * y + cosine * x

    def far(self, centre_mm: Triple, radii_mm: Triple) -> FloatArray:
        """Give how far out each voxel lies: 0 in the middle of an ellipsoid, 1 on its surface."""
        z, y, x = (
            (axis - np.float32(centre)) / np.float32(radius)
            for axis, centre, radius in zip((self.z, self.y, self.x), centre_mm, radii_mm, strict=True)
        )
        return np.asarray(np.sqrt(z * z + y * y + x * x), dtype=np.float32)

    def folds(self, depth: float, phases: npt.NDArray[np.float64]) -> FloatArray:
        """Give a ripple between -depth and depth that runs over the surface."""
        waves = (
            np.sin(axis / np.float32(7.5) + np.float32(phase))
            for axis, phase in zip((self.z, self.y, self.x), phases, strict=True)
        )
        ripple = np.float32(depth / 3) * sum(waves)
        return np.asarray(ripple, dtype=np.float32)


def head(
    seed: int,
    *,
    shape: tuple[int, int, int] = (44, 100, 84),
    spacing_mm: Triple = (4.0, 2.2, 2.2),
    noise: float = 0.03,
    ventricles: float = 1.0,
) -> Head:
    """Make one head; `noise` is its standard deviation as a share of white matter's brightness.

    `ventricles` is how large they are drawn, against those that the seed would give (their half axes).

    The head sits in the middle of the grid and is cut off where the grid is smaller.
    """
    random = np.random.default_rng(seed)
    space = _Space(shape, spacing_mm, float(random.uniform(-8, 8)))
    skin = _scaled(HEAD_RADII_MM, float(random.uniform(0.9, 1.05)))
    brain = _less(skin, SCALP_MM + SKULL_MM + FLUID_MM)
    radii, centre = _ventricles(random, ventricles)
    labels = _compartments(space, random, brain, centre, radii)
    shares = _brightness(space, skin, labels)
    percent = 200.0 * float(np.prod(radii)) / float(np.prod(brain))
    return Head(
        values=_received(space, random, shares, noise),
        labels=labels,
        spacing_mm=spacing_mm,
        ventricle_percent=percent,
    )


def _ventricles(random: np.random.Generator, by: float) -> tuple[Triple, Triple]:
    """Draw the radii and the centre of the left one; the right one mirrors it."""
    grown = random.uniform(0.0, 1.0)
    radii = (
        by * float(random.uniform(11, 14) + 7 * grown),
        by * float(random.uniform(22, 28) + 9 * grown),
        by * float(random.uniform(5, 7) + 7 * grown),
    )
    apart = radii[2] + float(random.uniform(1.5, 4.0))
    centre = (float(random.uniform(4, 12)), float(random.uniform(-8, 8)), apart)
    return radii, centre


def _compartments(
    space: _Space, random: np.random.Generator, brain: Triple, centre: Triple, radii: Triple
) -> LabelArray:
    """Mark cortex, white matter and both ventricles."""
    cortex = float(random.uniform(*CORTEX_MM))
    inner = _less(brain, cortex)
    ripple = space.folds(0.07, random.uniform(0, 2 * np.pi, size=3))
    far = space.far((0.0, 0.0, 0.0), brain)
    labels = np.zeros(far.shape, dtype=np.uint8)
    labels[far < 1] = GREY
    labels[space.far((0.0, 0.0, 0.0), inner) + ripple < 1] = WHITE
    labels[far >= 1] = 0
    for side in (-1.0, 1.0):
        nucleus = (centre[0] - 18.0, centre[1] - 4.0, side * 22.0)
        labels[space.far(nucleus, (10.0, 14.0, 7.0)) < 1] = GREY
        labels[space.far((centre[0], centre[1], side * centre[2]), radii) < 1] = VENTRICLE
    return labels


def _brightness(space: _Space, skin: Triple, labels: LabelArray) -> FloatArray:
    """Give what a perfect receiver would see, as shares of white matter."""
    middle = (0.0, 0.0, 0.0)
    shares = np.zeros(labels.shape, dtype=np.float32)
    for name, depth in (("scalp", 0.0), ("skull", SCALP_MM), ("fluid", SCALP_MM + SKULL_MM)):
        shares[space.far(middle, _less(skin, depth)) < 1] = SHARES[name]
    for label in (GREY, WHITE, VENTRICLE):
        shares[labels == label] = SHARES[label]
    for side in (-1.0, 1.0):
        eye = space.far((-22.0, -skin[1] + 19.0, side * 30.0), (9.0, 9.0, 9.0))
        shares[eye < 1] = SHARES["fluid"]
    return shares


def _received(space: _Space, random: np.random.Generator, shares: FloatArray, noise: float) -> ValueArray:
    """Blur within the slices, shade by the coil, add Rician noise, and scale as this scanner happens to."""
    for axis in (1, 2):
        shares = shares + np.float32(0.25) * (
            np.roll(shares, 1, axis) + np.roll(shares, -1, axis) - 2 * shares
        )
    slope = random.uniform(-0.0015, 0.0015, size=3).astype(np.float32)
    shading = 1 + slope[0] * space.z + slope[1] * space.y + slope[2] * space.x
    real, other = random.standard_normal((2, *shares.shape), dtype=np.float32) * np.float32(noise)
    received = np.hypot(shares * shading + real, other)
    return np.asarray(np.rint(received * np.float32(random.uniform(150, 900))), dtype=np.int16)


def _scaled(radii: Triple, by: float) -> Triple:
    return radii[0] * by, radii[1] * by, radii[2] * by


def _less(radii: Triple, by_mm: float) -> Triple:
    return radii[0] - by_mm, radii[1] - by_mm, radii[2] - by_mm
