"""What the programs that make packages share: the network as a function, and what a network is fed."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from models import golden  # noqa: E402  the repository root must be on the path first
from models.analysis import Infer, analyse, first_fed  # noqa: E402
from models.manifest import load  # noqa: E402
from models.operations.intensity import Resample  # noqa: E402
from models.package import Package  # noqa: E402
from models.phantom_radiograph import Radiograph  # noqa: E402
from models.tensors import FloatArray, Volume  # noqa: E402

Arrays = Mapping[str, npt.NDArray[Any]]
LIBRARY = ROOT / "models" / "library"


def unchecked(name: str) -> Package:
    """Open a package that is being made: its manifest alone."""
    root = LIBRARY / name
    return Package(root=root, manifest=load(root / "manifest.toml"), digest="")


def session(package: Package) -> Infer:
    """Open the network in ONNX Runtime on the CPU; it answers with all its outputs."""
    import onnxruntime

    opened = onnxruntime.InferenceSession(package.onnx_path(), providers=["CPUExecutionProvider"])
    names = [output.name for output in opened.get_outputs()]

    def infer(given: Arrays) -> Arrays:
        return dict(zip(names, opened.run(names, dict(given)), strict=True))

    return infer


def fed(package: Package, volume: Volume) -> FloatArray:
    """Give what the network would be fed first, without its batch and channel: float32.

    It is the very code that runs the package, so a network is trained on what it will be given.
    """
    return np.asarray(first_fed(package, volume)[package.manifest.input.tensor][0, 0])


def laid(package: Package, volume: Volume) -> FloatArray:
    """Put a truth on the grid the network is fed on, its values as they are."""
    steps = tuple(step for step in package.manifest.prepare if isinstance(step, Resample))
    plain = package.manifest.model_copy(update={"prepare": steps})
    return fed(Package(root=package.root, manifest=plain, digest=""), volume)


def record_golden(package: Package, infer: Infer, volumes: Mapping[str, Volume]) -> None:
    """Write the golden cases: each series by its name, with what the package says of it."""
    for name, volume in volumes.items():
        findings = analyse(package, volume, infer)
        print(f"golden {name}: {findings.statement}")
        golden.record(package.root / "golden" / f"{name}.npz", volume, findings)


def run(description: str | None, *, train: Callable[[], None], evaluate: Callable[[], None]) -> None:
    """Do what the command line says: train, or evaluate."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["train", "evaluate"])
    {"train": train, "evaluate": evaluate}[parser.parse_args().what]()


def of_radiograph(made: Radiograph, values: npt.NDArray[Any] | None = None) -> Volume:
    """Give a radiograph, or `values` on its grid, as the one slice of a volume without a place."""
    voxels = np.asarray(made.pixels if values is None else values, dtype=np.float32)[None]
    return Volume(
        voxels=voxels,
        valid=np.ones(voxels.shape, dtype=np.bool_),
        positions=np.zeros((1, 3)),
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=made.spacing_mm,
        slice_spacing_mm=0.0,
        regular=False,
        irregularity="the images have no position",
        modality="DX",
        units="",
    )
