"""Which stored image (and frame) each slice of a volume came from, and what to call it.

Promises: one place per slice of the volume, in the volume's order.
Never: reads pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.tag import Tag

from appliance.results.uids import FRAME_OF_REFERENCE, SOP_CLASS, SOP_INSTANCE, number, uid
from models.tensors import DoubleArray, Volume

_SAME_POSITION_MM = 0.01
# By tag: a keyword is looked up in the dictionary first, for each of hundreds of headers.
_INSTANCE_NUMBER, _NUMBER_OF_FRAMES = Tag("InstanceNumber"), Tag("NumberOfFrames")
_POSITION = Tag("ImagePositionPatient")
# Macros of a frame, and what of each places it.
_PLANE = ("PlanePositionSequence", "ImagePositionPatient")
_ORIENTATION = ("PlaneOrientationSequence", "ImageOrientationPatient")
_MEASURES = ("PixelMeasuresSequence", "PixelSpacing")


@dataclass(frozen=True, kw_only=True)
class SlicePlace:
    """Point at the image a slice came from.

    Attributes:
        frame: frame number from 1 in a multi-frame image; None for a single-frame one.
        instance_number: what viewers show as the image number; None when the source has none.
        position_mm: distance along the slice normal; None where the image has no place in the patient.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    instance_number: int | None
    position_mm: float | None

    @property
    def frames(self) -> list[int] | None:
        """Give the frame as Referenced Frame Number wants it (PS3.3 Table 10-3)."""
        return None if self.frame is None else [self.frame]


def is_multiframe(source: Dataset) -> bool:
    """Say whether a header describes a multi-frame image (PS3.3 C.7.6.6).

    One with a place of its own that says it has one frame is a slice like any other: converters write so.
    """
    return _NUMBER_OF_FRAMES in source and not (
        _POSITION in source and number(source, _NUMBER_OF_FRAMES) == 1
    )


def is_placed(source: Dataset) -> bool:
    """Say whether an image has a place in the patient, which a SEG frame needs; a radiograph has none.

    A multi-frame image has one where each frame says where it lies, how it is turned and how large its pixels
    are; a Frame of Reference UID alone is no place.
    """
    if FRAME_OF_REFERENCE not in source:
        return False
    if not is_multiframe(source):
        return _POSITION in source
    return frame_positions(source) is not None and all(
        frame_macros(source, *macro) is not None for macro in (_ORIENTATION, _MEASURES)
    )


def has_spacing(source: Dataset) -> bool:
    """Say whether an image states how large its pixels are, in the patient or at a detector."""
    stated = "PixelSpacing" in source or "ImagerPixelSpacing" in source
    return stated or (is_multiframe(source) and frame_macros(source, *_MEASURES) is not None)


def slice_places(sources: Sequence[Dataset], volume: Volume) -> list[SlicePlace]:
    """Find the image behind each slice of a volume.

    Args:
        sources: headers in slice order, or the one header of a multi-frame image.
        volume: the volume that was made of them.
    """
    along = volume.positions @ volume.normal
    if is_multiframe(sources[0]):
        placed = is_placed(sources[0])
        frames = _frames_by_position(sources[0], volume.positions)
        return [
            _place(sources[0], frame, float(mm) if placed else None)
            for frame, mm in zip(frames, along, strict=True)
        ]
    assert len(sources) == len(volume.positions), "one source per slice of the volume"
    return [
        _place(source, None, float(mm) if is_placed(source) else None)
        for source, mm in zip(sources, along, strict=True)
    ]


def frame_positions(source: Dataset) -> DoubleArray | None:
    """Read Image Position (Patient) of each frame, (frames, 3), LPS mm; None when a frame has none."""
    macros = frame_macros(source, *_PLANE)
    if macros is None or any(len(macro.ImagePositionPatient) != 3 for macro in macros):
        return None
    return np.array([macro.ImagePositionPatient for macro in macros], dtype=np.float64)


def frame_macros(source: Dataset, sequence: str, keyword: str) -> list[Dataset] | None:
    """Read what each frame says by one macro, its own or the one that all share; None where one says nothing.

    Args:
        source: the header of a multi-frame image.
        sequence: the macro, by keyword (PS3.3 C.7.6.16.2).
        keyword: what of it must have a value.
    """
    shared = source.get("SharedFunctionalGroupsSequence") or [Dataset()]
    groups = source.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    found = [(group.get(sequence) or shared[0].get(sequence) or [Dataset()])[0] for group in groups]
    return found if all(macro.get(keyword) for macro in found) else None


def _frames_by_position(source: Dataset, positions: DoubleArray) -> list[int]:
    """Find the frame number of each slice: the frame whose position it has, else its place in the volume."""
    stored = frame_positions(source)
    if stored is None:
        return list(range(1, len(positions) + 1))
    distance = np.linalg.norm(stored[np.newaxis] - positions[:, np.newaxis], axis=2)
    nearest = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < _SAME_POSITION_MM, "every slice has the position of a frame"
    return [int(index) + 1 for index in nearest]


def _place(source: Dataset, frame: int | None, position_mm: float | None) -> SlicePlace:
    return SlicePlace(
        sop_class_uid=uid(source, SOP_CLASS),
        sop_instance_uid=uid(source, SOP_INSTANCE),
        frame=frame,
        instance_number=number(source, _INSTANCE_NUMBER),
        position_mm=position_mm,
    )
