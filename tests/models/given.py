"""What the tests of models start from: volumes, engines, and a manifest that can be bent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from pydicom import Dataset, dcmread

from models.catalogue import LIBRARY
from models.operations.patches import Infer
from models.package import Package
from models.tensors import BoolArray, Volume

BANDS = LIBRARY / "ct-tissue-bands"
LESION = LIBRARY / "ct-phantom-lesion"
Edit = Callable[[str], str]


def volume(
    voxels: npt.NDArray[Any],
    *,
    spacing_mm: tuple[float, float, float] = (2.0, 1.0, 1.0),
    valid: BoolArray | None = None,
    **changed: Any,
) -> Volume:
    """An axial series (z, y, x) with its first voxel at the origin; `changed` replaces attributes."""
    positions = np.zeros((len(voxels), 3))
    positions[:, 2] = np.arange(len(voxels)) * spacing_mm[0]
    attributes: dict[str, Any] = {
        "voxels": np.asarray(voxels, dtype=np.float32),
        "valid": np.ones(voxels.shape, dtype=np.bool_) if valid is None else valid,
        "positions": positions,
        "row_cosines": np.array([1.0, 0.0, 0.0]),
        "column_cosines": np.array([0.0, 1.0, 0.0]),
        "pixel_spacing_mm": spacing_mm[1:],
        "slice_spacing_mm": spacing_mm[0],
        "regular": True,
    }
    return Volume(**attributes | changed)


def engine(package: Package) -> Infer:
    """ONNX Runtime on the CPU, as the box would run it, but with nothing around it."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(package.onnx_path(), options, providers=["CPUExecutionProvider"])
    name = package.manifest.answers[0].tensor

    def infer(given: Mapping[str, npt.NDArray[Any]]) -> Mapping[str, npt.NDArray[Any]]:
        return {name: session.run([name], dict(given))[0]}

    return infer


def read_series(folder: Path) -> list[Dataset]:
    """Every image of a folder, ordered along the normal."""
    images = [dcmread(path) for path in folder.iterdir() if path.is_file()]
    first = np.array(images[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(first[:3], first[3:])
    return sorted(images, key=lambda image: float(np.dot(image.ImagePositionPatient, normal)))


def hounsfield(image: Dataset) -> npt.NDArray[np.float64]:
    """The values of one image as its header says, in float64."""
    return image.pixel_array.astype(float) * float(image.RescaleSlope) + float(image.RescaleIntercept)


def series_volume(images: Sequence[Dataset], *, regular: bool, irregularity: str | None = None) -> Volume:
    """The images as a volume; padding marked by Pixel Padding Value where there is one."""
    positions = np.array([image.ImagePositionPatient for image in images], dtype=float)
    cosines = np.array(images[0].ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    gaps = np.diff(positions @ normal)
    rows_mm, columns_mm = (float(value) for value in images[0].PixelSpacing)
    return Volume(
        voxels=np.stack([hounsfield(image) for image in images]).astype(np.float32),
        valid=np.stack([image.pixel_array != image.get("PixelPaddingValue", 1 << 20) for image in images]),
        positions=positions,
        row_cosines=cosines[:3],
        column_cosines=cosines[3:],
        pixel_spacing_mm=(rows_mm, columns_mm),
        slice_spacing_mm=float(np.median(gaps)) if len(gaps) else 0.0,
        regular=regular,
        irregularity=irregularity,
    )


def copy_package(source: Path, target: Path) -> Path:
    """A package that may be bent, byte for byte the same at first."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target
