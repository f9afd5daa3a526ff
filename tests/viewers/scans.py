"""Images that are no stack of single CT slices: multi-frame CT and MR, and a radiograph.

The bodies are those of tests/geometry, with UIDs of their own so that they lie side by side in one archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread

from models.phantom_radiograph import Radiograph, radiograph
from tests.geometry.networks import package
from tests.geometry.phantom import SCANS, mark_at, pixel_places, written
from tests.made_studies import MadeRadiograph
from tests.viewers.studies import Study, analyse, store

NODULE = "dx-phantom-nodule"
_OUTPUTS = frozenset({"sr", "seg"})


@dataclass(frozen=True, kw_only=True)
class Frames(Study):
    """A multi-frame image of the body with a mark in each octant."""

    header: Dataset

    def frame_at(self, place_mm: npt.NDArray[np.float64]) -> int:
        """Give the number of the frame whose plane holds a place in the patient."""
        orientation = self.header.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
        cosines = np.array(orientation.ImageOrientationPatient, dtype=np.float64)
        normal = np.cross(cosines[:3], cosines[3:])
        away = [abs(float((place_mm - corner) @ normal)) for corner in self._corners()]
        nearest = int(np.argmin(away))
        assert away[nearest] < 0.01, "the viewer shows one of the frames"
        return nearest + 1

    def column_row(self, places_mm: npt.NDArray[np.float64], *, frame: int) -> npt.NDArray[np.float64]:
        """Give pixel indices (column, row) of places on a frame; whole numbers are pixel centres."""
        grid = pixel_places(self.header, frame)
        axes = np.stack([grid[0, 1] - grid[0, 0], grid[1, 0] - grid[0, 0]])
        return np.asarray((places_mm - grid[0, 0]) @ np.linalg.pinv(axes))

    def marks(self, frame: int) -> npt.NDArray[np.bool_]:
        """Ask the body which pixels of a frame lie in a mark, bool (row, column)."""
        return mark_at(pixel_places(self.header, frame)) > 0

    def _corners(self) -> list[npt.NDArray[np.float64]]:
        groups = self.header.PerFrameFunctionalGroupsSequence
        return [np.array(one.PlanePositionSequence[0].ImagePositionPatient, dtype=float) for one in groups]


@dataclass(frozen=True, kw_only=True)
class Chest(Study):
    """A radiograph, which has no place in the patient, and its nodules."""

    picture: Radiograph


def frames(folder: Path, scan: str, *, number: int) -> Frames:
    """Image the body as one multi-frame object and let a network outline its marks."""
    images = folder / "images"
    images.mkdir(parents=True)
    written(SCANS[scan], images)
    (path,) = images.iterdir()
    header = _renamed(path, number)
    study = Frames(folder=folder, study_uid=str(header.StudyInstanceUID), header=header)
    model = folder.parent / f"model {number}"
    model.mkdir()
    analyse(study, package("regions", header.Modality, model), outputs=_OUTPUTS)
    return study


def _renamed(path: Path, number: int) -> Dataset:
    """Give an image UIDs and a patient of its own."""
    image = dcmread(path)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        setattr(image, keyword, f"{image[keyword].value}.{number}")
    image.PatientID = f"{image.PatientID}-{number}"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(path)
    return dcmread(path, stop_before_pixels=True)


def chest(folder: Path, *, number: int) -> Chest:
    """Make a radiograph with two nodules and let the model that ships box them."""
    picture = radiograph(4711, nodules=2)
    made = MadeRadiograph(radiograph=picture, number=number)
    store(folder, made.instances())
    study_uid = str(next(made.datasets()).StudyInstanceUID)
    study = Chest(folder=folder, study_uid=study_uid, picture=picture)
    analyse(study, NODULE, outputs=frozenset({"sr", "sc"}))
    return study
