"""The volume a model sees: voxels, their validity and the geometry that puts them in the patient.

Promises: every array has the shape, dtype and frame it says, checked once when the volume is made; a regular
volume really is a lattice (one affine, shear by gantry tilt included).
Never: reads DICOM, resamples, or guesses a missing slice.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.uint8]

PROJECTIONS = frozenset({"CR", "DX", "MG", "RF", "XA", "RG", "PX", "IO"})
"""Modalities whose images are projections (PS3.3 C.7.3.1.1.1)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Hold one series as an array in the patient's frame (PS3.3 C.7.6.2.1.1).

    Attributes:
        voxels: float32, (z, y, x), after rescale; HU for CT.
        valid: bool, (z, y, x); False where the voxel is Pixel Padding and holds no measurement.
        positions: float64, (z, 3); Image Position (Patient) of each slice, LPS mm.
        row_cosines: float64, (3,); first triple of Image Orientation (Patient): the way x grows.
        column_cosines: float64, (3,); second triple: the way y grows.
        pixel_spacing_mm: (distance between rows, distance between columns), DICOM's own order.
        slice_spacing_mm: median distance between neighbouring slices along the normal; for one slice, what
            the series states for it (0 where nothing is stated).
        regular: whether all slices lie on one lattice with no gap, doubled position or changing distance.
        irregularity: one sentence that says why the series is not regular; None when it is.
        gantry_tilt_degrees: angle between the way the slices are stacked and their normal.
        modality: DICOM Modality.
        units: "HU", or "" where the values have no unit.
    """

    voxels: FloatArray
    valid: BoolArray
    positions: DoubleArray
    row_cosines: DoubleArray
    column_cosines: DoubleArray
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    regular: bool
    irregularity: str | None = None
    gantry_tilt_degrees: float = 0.0
    modality: str = "CT"
    units: str = "HU"

    def __post_init__(self) -> None:
        """Hold the maker to the shapes and types above."""
        assert self.voxels.ndim == 3, "voxels are (z, y, x)"
        assert self.voxels.dtype == np.float32, "voxels are float32"
        assert self.valid.shape == self.voxels.shape, "valid has the shape of the voxels"
        assert self.valid.dtype == np.bool_, "valid is bool"
        assert self.positions.shape == (len(self.voxels), 3), "positions are (z, 3)"
        assert self.row_cosines.shape == self.column_cosines.shape == (3,), "cosines are (3,)"
        assert min(self.pixel_spacing_mm) > 0, "pixel spacing is positive"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Give the number of slices, rows and columns."""
        slices, rows, columns = self.voxels.shape
        return slices, rows, columns

    @property
    def normal(self) -> DoubleArray:
        """Give the unit normal of the slices, (3,), LPS: row cosines x column cosines."""
        return np.cross(self.row_cosines, self.column_cosines)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Give the voxel size (z, y, x) in mm, z along the normal."""
        return (self.slice_spacing_mm, *self.pixel_spacing_mm)

    @property
    def is_projection(self) -> bool:
        """Say whether it is a shadow picture, whose pixel spacing is no size in the patient."""
        return self.modality in PROJECTIONS

    @property
    def voxel_volume_mm3(self) -> float:
        """Give the volume of one voxel: right under tilt, meaningless where the series is not regular."""
        return self.slice_spacing_mm * self.pixel_spacing_mm[0] * self.pixel_spacing_mm[1]


def affine(volume: Volume) -> DoubleArray:
    """Give the 4x4 matrix from voxel index (z, y, x, 1) to the patient (LPS mm, 1).

    The slice step is the mean step of the whole stack, so that gantry tilt is kept as the shear it is. It
    describes every voxel only when the volume is regular.
    """
    matrix = np.eye(4)
    matrix[:3, 0] = _slice_step(volume)
    matrix[:3, 1] = volume.column_cosines * volume.pixel_spacing_mm[0]
    matrix[:3, 2] = volume.row_cosines * volume.pixel_spacing_mm[1]
    matrix[:3, 3] = volume.positions[0]
    return matrix


def _slice_step(volume: Volume) -> DoubleArray:
    """Give the mean step from one slice to the next, (3,), LPS mm."""
    slices = len(volume.positions)
    if slices > 1:
        step: DoubleArray = (volume.positions[-1] - volume.positions[0]) / (slices - 1)
        return step
    return volume.normal * (volume.slice_spacing_mm or 1.0)
