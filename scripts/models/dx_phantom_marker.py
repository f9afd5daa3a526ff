"""Make models/library/dx-phantom-marker: train on synthetic radiographs, export and measure it.

    python scripts/models/dx_phantom_marker.py train      # needs torch and onnxscript; writes model.onnx
    python scripts/models/dx_phantom_marker.py evaluate   # held-out figures, and the golden cases

Run it from the repository root. Nothing in the product imports it.
"""

import importlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from making import (  # noqa: E402  paths come first
    LIBRARY,
    fed,
    laid,
    of_radiograph,
    record_golden,
    run,
    session,
    unchecked,
)

from models.analysis import Infer, analyse  # noqa: E402
from models.findings import Findings, Verdict  # noqa: E402
from models.package import Package, open_package  # noqa: E402
from models.phantom_radiograph import Radiograph, radiograph  # noqa: E402
from models.tensors import FloatArray, Volume  # noqa: E402

NAME = "dx-phantom-marker"
TRAIN_SEEDS = range(1000, 1400)
HELD_OUT_SEEDS = range(9000, 9240)
# Grids (rows, columns) and spacings in mm that the radiographs are drawn on, in turn.
SOURCES = (
    ((360, 300), (1.1, 1.1)),
    ((300, 300), (1.3, 1.1)),
    ((420, 340), (0.9, 0.9)),
    ((240, 220), (1.6, 1.5)),
)
NOISES = (0.008, 0.012, 0.02)
CONTRAST = (0.15, 0.9)
# Share of a network's pixel that a foreign body covers before it counts as there.
COVERED_MIN = 0.3
# Golden case: (seed, foreign bodies, their contrast), all on one small grid.
GOLDEN = {
    "foreign-body": (501, 1, (0.6, 0.6)),
    "none": (502, 0, (0.6, 0.6)),
    "faint": (504, 1, (0.26, 0.26)),
}
GOLDEN_SHAPE, GOLDEN_SPACING_MM = (176, 148), (2.2, 2.2)


def planted(seed: int) -> int:
    """Say how many foreign bodies the radiograph of `seed` has: none in every second round of the grids."""
    return seed // 8 % 2 + 1 if seed // 4 % 2 else 0


def source(seed: int) -> Radiograph:
    """Make the radiograph of `seed`. Round shadows are what must not be taken for a foreign body."""
    shape, spacing = SOURCES[seed % len(SOURCES)]
    return radiograph(
        seed,
        shape=shape,
        spacing_mm=spacing,
        foreign_bodies=planted(seed),
        nodules=seed % 3,
        foreign_contrast=CONTRAST,
        noise=NOISES[seed % len(NOISES)],
    )


def prepared(package: Package, seed: int) -> tuple[FloatArray, FloatArray]:
    """Give what the network is fed of a radiograph, and where its foreign bodies are: float32, (y, x)."""
    made = source(seed)
    mask = laid(package, of_radiograph(made, made.foreign)) > COVERED_MIN
    return fed(package, of_radiograph(made)), mask.astype(np.float32)


def train() -> None:
    """Train with fixed seeds and write model.onnx."""
    net = importlib.import_module("dx_phantom_marker_net")  # only here: it needs torch
    package = unchecked(NAME)
    rows, columns = package.manifest.input.size or (0, 0)
    fitted = net.fit([prepared(package, seed) for seed in TRAIN_SEEDS])
    net.export(fitted, package.onnx_path(), (rows, columns))
    print(f"{package.onnx_path().stat().st_size} bytes")


def evaluate() -> None:
    """Measure held-out radiographs through the whole chain of the package, and record the golden cases."""
    package = unchecked(NAME)
    infer = session(package)
    counts = Counter((planted(seed) > 0, verdict(package, seed, infer)) for seed in HELD_OUT_SEEDS)
    for (there, said), count in sorted(counts.items()):
        print(f"{count} radiographs {'with' if there else 'without'} a foreign body: {said}")
    record_golden(package, infer, cases())
    print(open_package(LIBRARY / NAME).digest)


def verdict(package: Package, seed: int, infer: Infer) -> Verdict:
    """Say what the package says of one held-out radiograph."""
    return judged(analyse(package, of_radiograph(source(seed)), infer))


def judged(findings: Findings) -> Verdict:
    """Give the verdict on the package's one label."""
    (one,) = findings.classifications
    return one.verdict


def is_right(said: Verdict, seed: int) -> bool:
    """Say whether a verdict is that of the radiograph of `seed`; an abstention is not."""
    return said is (Verdict.PRESENT if planted(seed) else Verdict.ABSENT)


def cases() -> dict[str, Volume]:
    """Give the golden cases' radiographs."""
    made = {
        name: radiograph(
            seed,
            shape=GOLDEN_SHAPE,
            spacing_mm=GOLDEN_SPACING_MM,
            foreign_bodies=count,
            foreign_contrast=contrast,
        )
        for name, (seed, count, contrast) in GOLDEN.items()
    }
    return {name: of_radiograph(one) for name, one in made.items()}


if __name__ == "__main__":
    run(__doc__, train=train, evaluate=evaluate)
