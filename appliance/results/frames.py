"""Frames of results that are images themselves: the encoder places each, and the pixels are put in then.

Promises: a frame lies where its source slice lies; no copy of the volume is made for the encoder, which is
given images of one pixel.
Never: decides what a frame shows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import PlanePositionSequence
from highdicom.spatial import get_volume_positions
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from appliance.results.headers import stub
from appliance.results.slices import frame_positions, is_multiframe
from models.tensors import Volume


def placed(source: Dataset, volume: Volume) -> Dataset:
    """Make the encoder's header of a source, as an image of one pixel.

    The slice distance stands in for a slice thickness that is not told.
    """
    header = stub(source)
    for keyword in ("Rows", "Columns"):
        # An element of its own: the one that is there may be the source's.
        header.add_new(keyword, "US", 1)
    if "SliceThickness" not in header and not is_multiframe(header):
        header.SliceThickness = round(volume.slice_spacing_mm or 1.0, 4)
    return header


def placed_all(sources: Sequence[Dataset], volume: Volume, slices: Sequence[int]) -> list[Dataset]:
    """Make the encoder's headers of the images behind some slices of a volume.

    The encoder refers to every image that it is given, and looks at each several times; what no frame is of
    is not given. It would read the spacing off all of them, so it is told.
    """
    if is_multiframe(sources[0]):
        return [placed(sources[0], volume)]
    made = [placed(sources[z], volume) for z in slices]
    cosines = [*volume.row_cosines, *volume.column_cosines]
    spacing_mm, _ = get_volume_positions(volume.positions.tolist(), cosines)
    if spacing_mm is not None:
        made[0].SpacingBetweenSlices = format_number_as_ds(spacing_mm)
    return made


def plane_positions(
    source: Dataset, volume: Volume, slices: Sequence[int]
) -> list[PlanePositionSequence] | None:
    """Place the frames by the volume where the encoder cannot read them off: multi-frame sources."""
    if not is_multiframe(source) or frame_positions(source) is None:
        return None
    return [PlanePositionSequence("PATIENT", position) for position in volume.positions[list(slices)]]


def frame_slices(made: Dataset, volume: Volume) -> list[int]:
    """Tell the slice of the volume on which each frame of a finished object lies."""
    groups = made.PerFrameFunctionalGroupsSequence
    positions = np.array(
        [group.PlanePositionSequence[0].ImagePositionPatient for group in groups], dtype=np.float64
    )
    # No two slices lie at the same distance: the encoder refuses them.
    apart = np.abs((positions @ volume.normal)[:, None] - (volume.positions @ volume.normal)[None])
    return [int(z) for z in apart.argmin(axis=1)]


def fix_dimension_uid(made: Dataset, uid: str) -> None:
    """Replace the encoder's random Dimension Organization UID."""
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
