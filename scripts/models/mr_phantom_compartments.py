"""Make models/library/mr-phantom-compartments: train on synthetic MR heads, export and measure it.

    python scripts/models/mr_phantom_compartments.py train      # writes model.onnx
    python scripts/models/mr_phantom_compartments.py evaluate   # held-out figures, and the golden cases

Training needs torch and onnxscript. Run it from the repository root. Nothing in the product imports it.
"""

import importlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from making import LIBRARY, fed, laid, record_golden, run, session, unchecked  # noqa: E402  paths come first

from models.analysis import Infer, analyse  # noqa: E402
from models.findings import Findings  # noqa: E402
from models.package import Package, open_package  # noqa: E402
from models.phantom_mr import GREY, VENTRICLE, WHITE, Head, head  # noqa: E402
from models.tensors import FloatArray, Volume  # noqa: E402

NAME = "mr-phantom-compartments"
TRAIN_SEEDS = range(1000, 1048)
HELD_OUT_SEEDS = range(9000, 9032)
LABELS = {"grey": GREY, "white": WHITE, "ventricles": VENTRICLE}
# Grids (z, y, x) and spacings in mm that the heads are drawn on, in turn.
SOURCES = (
    ((44, 100, 84), (4.0, 2.2, 2.2)),
    ((60, 110, 96), (3.0, 2.0, 2.0)),
    ((34, 84, 72), (5.0, 2.6, 2.6)),
    ((88, 72, 64), (2.0, 3.0, 3.0)),
)
NOISES = (0.02, 0.03, 0.05)
# Golden case: (seed, how large the ventricles are drawn), all on one small grid.
GOLDEN = {"narrow": (501, 0.8), "wide": (502, 1.1), "hardly-any": (503, 0.3)}
GOLDEN_SHAPE, GOLDEN_SPACING_MM = (26, 52, 44), (7.0, 4.2, 4.2)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Hold the Dice of each label by name, and the share the model gave and the true one, in percent."""

    dice: dict[str, float]
    given: float | None
    true: float

    @property
    def error(self) -> float:
        """Give how far the share is off, in points; infinite where it was withheld."""
        return float("inf") if self.given is None else self.given - self.true


def source(seed: int) -> Head:
    """Make the head of `seed`."""
    shape, spacing = SOURCES[seed % len(SOURCES)]
    return head(seed, shape=shape, spacing_mm=spacing, noise=NOISES[seed % len(NOISES)])


def as_volume(made: Head, values: npt.NDArray[Any] | None = None) -> Volume:
    """Give a head, or `values` on its grid, as an axial volume, LPS, with its first voxel at the origin."""
    voxels = np.asarray(made.values if values is None else values, dtype=np.float32)
    positions = np.zeros((len(voxels), 3))
    positions[:, 2] = np.arange(len(voxels)) * made.spacing_mm[0]
    return Volume(
        voxels=voxels,
        valid=np.ones(voxels.shape, dtype=np.bool_),
        positions=positions,
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=made.spacing_mm[1:],
        slice_spacing_mm=made.spacing_mm[0],
        regular=True,
        modality="MR",
        units="",
    )


def sagittal(volume: Volume) -> Volume:
    """Give the same head as if it had been scanned in sagittal slices, rows running from the top down."""
    z, y, x = volume.spacing_mm
    voxels = np.ascontiguousarray(volume.voxels.transpose(2, 0, 1)[::-1, ::-1])
    positions = np.zeros((len(voxels), 3))
    positions[:, 0] = np.arange(len(voxels))[::-1] * x
    positions[:, 2] = (len(volume.voxels) - 1) * z
    return replace(
        volume,
        voxels=voxels,
        valid=np.ones(voxels.shape, dtype=np.bool_),
        positions=positions,
        row_cosines=np.array([0.0, 1.0, 0.0]),
        column_cosines=np.array([0.0, 0.0, -1.0]),
        pixel_spacing_mm=(z, y),
        slice_spacing_mm=x,
    )


def prepared(package: Package, seed: int) -> tuple[FloatArray, FloatArray]:
    """Give what the network is fed of a head, (z, y, x), and each compartment's share there, (4, z, y, x)."""
    made = source(seed)
    shares = [laid(package, as_volume(made, made.labels == label)) for label in range(VENTRICLE + 1)]
    return fed(package, as_volume(made)), np.stack(shares)


def train() -> None:
    """Train with fixed seeds and write model.onnx."""
    net = importlib.import_module("mr_phantom_compartments_net")  # only here: it needs torch
    package = unchecked(NAME)
    fitted = net.fit([prepared(package, seed) for seed in TRAIN_SEEDS])
    net.export(fitted, package.onnx_path(), package.manifest.input.size or ())
    print(f"{package.onnx_path().stat().st_size} bytes")


def evaluate() -> None:
    """Measure held-out heads through the whole chain of the package, and record the golden cases."""
    package = unchecked(NAME)
    infer = session(package)
    scores = [measure(package, seed, infer) for seed in HELD_OUT_SEEDS]
    for name in LABELS:
        dices = [score.dice[name] for score in scores]
        print(f"Dice of {name}: mean {np.mean(dices):.3f}, least {min(dices):.3f}")
    errors = [score.error for score in scores]
    print(f"Share of the ventricles: mean error {np.mean(np.abs(errors)):.2f} points, ", end="")
    print(f"from {min(errors):+.2f} to {max(errors):+.2f}")
    record_golden(package, infer, cases())
    print(open_package(LIBRARY / NAME).digest)


def measure(package: Package, seed: int, infer: Infer) -> Score:
    """Analyse one held-out head and compare it with its truth, on the grid of the source."""
    made = source(seed)
    score = score_of(analyse(package, as_volume(made), infer), made)
    print(f"seed {seed} {made.values.shape}: {score}", flush=True)
    return score


def score_of(findings: Findings, made: Head) -> Score:
    """Compare masks and the number with the truth."""
    masks = {segment.label: segment.mask for segment in findings.segments}
    numbers = [one.value for one in findings.measurements if one.name.meaning == "Ratio"]
    return Score(
        dice={name: dice(masks[name], made.labels == label) for name, label in LABELS.items()},
        given=numbers[0] if numbers else None,
        true=made.ventricle_percent,
    )


def dice(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Give the overlap of two masks."""
    return 2.0 * int((one & other).sum()) / max(1, int(one.sum()) + int(other.sum()))


def made(name: str) -> Head:
    """Make the head of a golden case."""
    seed, size = GOLDEN[name]
    return head(seed, shape=GOLDEN_SHAPE, spacing_mm=GOLDEN_SPACING_MM, ventricles=size)


def cases() -> dict[str, Volume]:
    """Give four small series: narrow and wide ventricles, sagittal slices, and hardly any ventricles."""
    volumes = {name: as_volume(made(name)) for name in GOLDEN}
    return volumes | {"sagittal": sagittal(volumes["wide"])}


if __name__ == "__main__":
    run(__doc__, train=train, evaluate=evaluate)
