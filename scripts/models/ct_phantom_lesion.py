"""Make models/library/ct-phantom-lesion: train a small 3D network on synthetic heads, export it, measure it.

    python scripts/models/ct_phantom_lesion.py train      # needs torch and onnxscript; writes model.onnx
    python scripts/models/ct_phantom_lesion.py evaluate   # held-out Dice, and the golden cases

Voxels are prepared by the very steps the manifest names, so the network is trained on what it will be given.
Run it from the repository root. Nothing in the product imports it.
"""

import importlib
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from making import record_golden, run, session  # noqa: E402  paths come first

from models import phantom  # noqa: E402
from models.analysis import Infer, analyse, on_grid  # noqa: E402
from models.findings import Findings, Outcome  # noqa: E402
from models.manifest import load  # noqa: E402
from models.operations.grid import lay  # noqa: E402
from models.package import Package, open_package  # noqa: E402
from models.tensors import FloatArray, Volume  # noqa: E402

PACKAGE = ROOT / "models" / "library" / "ct-phantom-lesion"
MANIFEST = load(PACKAGE / "manifest.toml")
TRAIN_SEEDS = range(1000, 1064)
HELD_OUT_SEEDS = range(9000, 9032)
LESIONS_MAX = 3
# Grids (z, y, x) and spacings in mm that the phantoms are drawn on, in turn.
SOURCES = (
    ((60, 200, 200), (2.5, 1.0, 1.0)),
    ((34, 180, 180), (5.0, 1.1, 1.1)),
    ((110, 150, 150), (1.5, 1.4, 1.4)),
    ((34, 72, 72), (5.0, 2.8, 2.8)),
)
NOISE_HU = (4.0, 6.0, 8.0)
# Golden case: (seed, lesions), all on one small grid.
GOLDEN = {"one-lesion": (501, 1), "two-lesions": (502, 2), "no-lesion": (503, 0)}
GOLDEN_SHAPE, GOLDEN_SPACING_MM = (32, 72, 72), (5.0, 2.8, 2.8)


def planted(seed: int) -> int:
    """Say how many lesions the phantom of `seed` has: each number on each grid in turn."""
    return seed // len(SOURCES) % (LESIONS_MAX + 1)


def source(seed: int) -> tuple[Volume, phantom.TruthArray]:
    """Make the phantom of `seed` as a volume, with its truth."""
    shape, spacing = SOURCES[seed % len(SOURCES)]
    noise = NOISE_HU[seed % len(NOISE_HU)]
    hu, truth = phantom.volume(seed, shape=shape, spacing_mm=spacing, lesions=planted(seed), noise_hu=noise)
    return as_volume(hu, spacing), truth


def as_volume(hu: phantom.HuArray, spacing_mm: phantom.Triple) -> Volume:
    """Give an axial volume, LPS, with its first voxel at the origin."""
    positions = np.zeros((len(hu), 3))
    positions[:, 2] = np.arange(len(hu)) * spacing_mm[0]
    return Volume(
        voxels=hu.astype(np.float32),
        valid=np.ones(hu.shape, dtype=np.bool_),
        positions=positions,
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=spacing_mm[1:],
        slice_spacing_mm=spacing_mm[0],
        regular=True,
    )


def prepared(seed: int) -> tuple[FloatArray, FloatArray]:
    """Put a phantom and its truth on the network's grid, float32 (z, y, x)."""
    volume, truth = source(seed)
    laid = lay(volume, orientation=MANIFEST.input.orientation, spacing_mm=MANIFEST.input.spacing_mm)
    share = laid.sample(lambda z: truth[z].astype(np.float32))
    return on_grid(MANIFEST, volume, laid), (share > 0.5).astype(np.float32)


def train() -> None:
    """Train with fixed seeds and write model.onnx."""
    net = importlib.import_module("ct_phantom_lesion_net")  # only here: it needs torch

    net.export(net.fit([prepared(seed) for seed in TRAIN_SEEDS]), PACKAGE / "model.onnx")
    print(f"{(PACKAGE / 'model.onnx').stat().st_size} bytes")


def evaluate() -> None:
    """Measure held-out phantoms through the whole chain of the package, and record the golden cases."""
    package = Package(root=PACKAGE, manifest=MANIFEST, digest="")
    infer = session(package)
    dices: list[float] = []
    errors: list[float] = []
    wrong = 0
    for seed in HELD_OUT_SEEDS:
        findings, truth = measure(package, seed, infer)
        wrong += not is_right(findings, seed)
        if planted(seed):
            dices.append(dice_of(findings, truth))
            errors.append(volume_error(findings, truth))
    print(f"Volume error mean {np.mean(errors):+.1%}, from {min(errors):+.1%} to {max(errors):+.1%}")
    print(f"Dice mean {np.mean(dices):.3f}, least {min(dices):.3f}, over {len(dices)} phantoms with lesions")
    print(f"{wrong} of {len(HELD_OUT_SEEDS)} phantoms with a wrong outcome or a wrong number of lesions")
    record_golden(package, infer, cases())
    print(open_package(PACKAGE).digest)


def measure(package: Package, seed: int, infer: Infer) -> tuple[Findings, phantom.TruthArray]:
    """Analyse one held-out phantom; give what was found and its truth."""
    volume, truth = source(seed)
    began = time.monotonic()
    findings = analyse(package, volume, infer)
    seconds = time.monotonic() - began
    dice = dice_of(findings, truth)
    print(f"seed {seed} {volume.shape} planted {planted(seed)}, Dice {dice:.3f}, {seconds:.1f} s:", end=" ")
    print(findings.statement, flush=True)
    return findings, truth


def is_right(findings: Findings, seed: int) -> bool:
    """Say whether outcome and number of lesions are those of the phantom of `seed`."""
    expected = Outcome.FINDING if planted(seed) else Outcome.NO_FINDING
    return findings.outcome is expected and len(findings.lesions) == planted(seed)


def volume_error(findings: Findings, truth: phantom.TruthArray) -> float:
    """Give how much more volume was marked than planted, as a share of the planted."""
    marked = sum(int(segment.mask.sum()) for segment in findings.segments)
    return marked / int(truth.sum()) - 1.0


def dice_of(findings: Findings, truth: phantom.TruthArray) -> float:
    """Give the overlap of the segment with the truth; 1 where both are empty."""
    marked = findings.segments[0].mask if findings.segments else np.zeros(truth.shape, dtype=np.bool_)
    both = int(marked.sum()) + int(truth.sum())
    return 2.0 * int((marked & (truth > 0)).sum()) / both if both else 1.0


def cases() -> dict[str, Volume]:
    """Give the golden cases' phantoms."""
    made = {}
    for name, (seed, lesions) in GOLDEN.items():
        hu, _ = phantom.volume(
            seed, shape=GOLDEN_SHAPE, spacing_mm=GOLDEN_SPACING_MM, lesions=lesions, noise_hu=4.0
        )
        made[name] = as_volume(hu, GOLDEN_SPACING_MM)
    return made


if __name__ == "__main__":
    run(__doc__, train=train, evaluate=evaluate)
