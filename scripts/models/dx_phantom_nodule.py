"""Make models/library/dx-phantom-nodule: train on synthetic radiographs, export and measure it.

    python scripts/models/dx_phantom_nodule.py train      # needs torch and onnxscript; writes model.onnx
    python scripts/models/dx_phantom_nodule.py evaluate   # held-out figures, and the golden cases

Run it from the repository root. Nothing in the product imports it.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from making import (  # noqa: E402  paths come first
    LIBRARY,
    fed,
    of_radiograph,
    record_golden,
    run,
    session,
    unchecked,
)

from models.analysis import Infer, analyse  # noqa: E402
from models.findings import Findings, Outcome  # noqa: E402
from models.package import Package, open_package  # noqa: E402
from models.phantom_radiograph import Box, Radiograph, radiograph  # noqa: E402
from models.tensors import FloatArray, Volume  # noqa: E402

NAME = "dx-phantom-nodule"
TRAIN_SEEDS = range(1000, 1400)
HELD_OUT_SEEDS = range(9000, 9160)
NODULES_MAX = 3
# Grids (rows, columns) and spacings in mm that the radiographs are drawn on, in turn.
SOURCES = (
    ((360, 300), (1.1, 1.1)),
    ((300, 300), (1.3, 1.1)),
    ((420, 340), (0.9, 0.9)),
    ((240, 220), (1.6, 1.5)),
)
NOISES = (0.008, 0.012, 0.02)
# A box is the planted one's when they share this much of what they cover together.
MATCH_IOU = 0.5
# Golden case: (seed, nodules, their contrast), all on one small grid.
GOLDEN = {
    "two-nodules": (501, 2, (0.2, 0.3)),
    "none": (502, 0, (0.2, 0.3)),
    "faint": (503, 1, (0.15, 0.15)),
}
GOLDEN_SHAPE, GOLDEN_SPACING_MM = (176, 148), (2.2, 2.2)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Hold how many boxes were right, made up and missed, and the overlaps of the right ones."""

    right: int
    made_up: int
    missed: int
    overlaps: tuple[float, ...]


def planted(seed: int) -> int:
    """Say how many nodules the radiograph of `seed` has: each number on each grid in turn."""
    return seed // len(SOURCES) % (NODULES_MAX + 1)


def source(seed: int) -> Radiograph:
    """Make the radiograph of `seed`. A foreign body now and then is what must not be taken for a nodule."""
    shape, spacing = SOURCES[seed % len(SOURCES)]
    return radiograph(
        seed,
        shape=shape,
        spacing_mm=spacing,
        foreign_bodies=int(seed % 5 == 0),
        nodules=planted(seed),
        noise=NOISES[seed % len(NOISES)],
    )


def prepared(package: Package, seed: int) -> tuple[FloatArray, FloatArray]:
    """Give what the network is fed of a radiograph, (y, x), and its nodules' boxes there, (n, 4); float32."""
    made = source(seed)
    image = fed(package, of_radiograph(made))
    stretch = np.divide(image.shape, made.pixels.shape)
    boxes = np.array(made.nodules).reshape(-1, 4) * np.tile(stretch, 2)
    return image, boxes.astype(np.float32)


def train() -> None:
    """Train with fixed seeds and write model.onnx."""
    net = importlib.import_module("dx_phantom_nodule_net")  # only here: it needs torch
    package = unchecked(NAME)
    rows, columns = package.manifest.input.size or (0, 0)
    fitted = net.fit([prepared(package, seed) for seed in TRAIN_SEEDS], (rows, columns))
    net.export(fitted, package.onnx_path(), (rows, columns))
    print(f"{package.onnx_path().stat().st_size} bytes")


def evaluate() -> None:
    """Measure held-out radiographs through the whole chain of the package, and record the golden cases."""
    package = unchecked(NAME)
    infer = session(package)
    scores = [measure(package, seed, infer) for seed in HELD_OUT_SEEDS]
    overlaps = [one for score in scores for one in score.overlaps]
    right, made_up, missed = (sum(getattr(s, key) for s in scores) for key in ("right", "made_up", "missed"))
    print(f"{right} nodules found, {missed} missed, {made_up} boxes on nothing, {len(scores)} radiographs")
    print(f"Overlap (IoU) mean {np.mean(overlaps):.3f}, least {min(overlaps):.3f}")
    record_golden(package, infer, cases())
    print(open_package(LIBRARY / NAME).digest)


def measure(package: Package, seed: int, infer: Infer) -> Score:
    """Analyse one held-out radiograph and compare the boxes with the planted ones."""
    made = source(seed)
    findings = analyse(package, of_radiograph(made), infer)
    score = score_of(findings, made.nodules)
    if score.made_up or score.missed or findings.outcome is Outcome.ABSTAINED:
        print(f"seed {seed}, planted {len(made.nodules)}: {findings.statement}", flush=True)
    return score


def score_of(findings: Findings, nodules: tuple[Box, ...]) -> Score:
    """Match boxes with nodules, the most probable first. Boxes shown in doubt count as boxes."""
    left = list(nodules)
    overlaps = []
    for one in findings.detections:
        best = max(left, key=lambda box: overlap(box, one.box), default=None)
        if best is not None and overlap(best, one.box) >= MATCH_IOU:
            overlaps.append(overlap(best, one.box))
            left.remove(best)
    return Score(
        right=len(overlaps),
        made_up=len(findings.detections) - len(overlaps),
        missed=len(left),
        overlaps=tuple(overlaps),
    )


def overlap(one: Box, other: Box) -> float:
    """Give the area two boxes share, as a share of what they cover together."""
    height = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    width = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((bottom - top) * (right - left) for top, left, bottom, right in (one, other))
    return height * width / (areas - height * width)


def cases() -> dict[str, Volume]:
    """Give the golden cases' radiographs."""
    made = {
        name: radiograph(
            seed,
            shape=GOLDEN_SHAPE,
            spacing_mm=GOLDEN_SPACING_MM,
            nodules=count,
            nodule_contrast=contrast,
        )
        for name, (seed, count, contrast) in GOLDEN.items()
    }
    return {name: of_radiograph(one) for name, one in made.items()}


if __name__ == "__main__":
    run(__doc__, train=train, evaluate=evaluate)
