"""Frames of results that are images themselves: the encoder places them, and the pixels are put in then.

Of a series of single frames the encoder gets one slice, and what it makes of it is spread over all: it looks
through its tables and makes twenty elements for each frame, which for a hundred of them takes longer than all
the rest of the object.
Promises: a frame lies where its source slice lies; what is spread is what the encoder makes of all slices
(tests compare the bytes); the encoder is given images of one pixel, so that no volume is copied for it.
Never: decides what a frame shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct

import numpy as np
import numpy.typing as npt
from highdicom import PlanePositionSequence
from highdicom.spatial import get_volume_positions
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import DS, DSfloat, format_number_as_ds

from appliance.results.headers import put_references, put_series, stub
from appliance.results.slices import frame_positions, is_multiframe
from appliance.results.uids import SOP_CLASS, SOP_INSTANCE, uid
from appliance.results.writing import element, even, item, sequence, written
from models.tensors import Volume

Frame = tuple[int, int]
"""The layer of a frame, and its slice."""
Presence = npt.NDArray[np.bool_]

_GROUPS = Tag("PerFrameFunctionalGroupsSequence")
# The macros of a frame in the order of their tags: the image's, the frame's own two, the layer's.
_DERIVATION = Tag("DerivationImageSequence")
_CONTENT, _INDICES = Tag("FrameContentSequence"), Tag("DimensionIndexValues")
_PLANE, _POSITION = Tag("PlanePositionSequence"), Tag("ImagePositionPatient")
_OF_LAYER = (Tag("SegmentIdentificationSequence"),)
_UL = Struct("<I")


def placed(source: Dataset, volume: Volume) -> Dataset:
    """Make the encoder's header of a source, as an image of one pixel.

    The slice distance stands in for a slice thickness that is not told.
    """
    header = stub(source)
    for keyword in ("Rows", "Columns"):
        # An element of its own: the one that is there may be the source's.
        header.add_new(keyword, "US", 1)
    if is_multiframe(header):
        _share(header)
    elif "SliceThickness" not in header:
        header.SliceThickness = round(volume.slice_spacing_mm or 1.0, 4)
    return header


def _share(header: Dataset) -> None:
    """Say once how the frames of a volume are turned, and how large their pixels are.

    The encoder reads it nowhere else, and many scanners say it frame by frame.
    """
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    first = (header.get("PerFrameFunctionalGroupsSequence") or [Dataset()])[0]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if not shared.get(keyword) and first.get(keyword):
            setattr(shared, keyword, first.get(keyword))
    header.SharedFunctionalGroupsSequence = [shared]


def shown(source: Dataset, slices: Sequence[int]) -> Sequence[int]:
    """Choose the slices that the encoder is to place: of a series of single frames the first alone."""
    return slices if is_multiframe(source) else slices[:1]


def placed_all(sources: Sequence[Dataset], volume: Volume, slices: Sequence[int]) -> list[Dataset]:
    """Make the encoder's headers of the images behind some slices of a volume.

    The encoder refers to every image that it is given: what no frame is of is not given.
    """
    if is_multiframe(sources[0]):
        return [placed(sources[0], volume)]
    return [placed(sources[z], volume) for z in slices]


def plane_positions(
    source: Dataset, volume: Volume, slices: Sequence[int]
) -> list[PlanePositionSequence] | None:
    """Place the frames by the volume where the encoder cannot read them off: multi-frame sources."""
    if not is_multiframe(source) or frame_positions(source) is None:
        return None
    return [PlanePositionSequence("PATIENT", position) for position in volume.positions[list(slices)]]


def frames(
    made: Dataset,
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    slices: Sequence[int],
    present: Presence,
    distance_mm: float | None,
) -> list[Frame]:
    """Tell the frames of an object in the order of their pixels; of one slice they are spread over all.

    Args:
        made: an object that the encoder made of `shown` slices.
        sources: headers in slice order, or the one header of a multi-frame image.
        volume: the grid of the frames.
        slices: the slices that have frames.
        present: bool, (z, layer): which have a frame of which layer.
        distance_mm: of neighbouring slices; a multi-frame image tells its own.
    """
    if is_multiframe(sources[0]):
        groups = made.PerFrameFunctionalGroupsSequence
        return [(_layer(group), z) for group, z in zip(groups, _slices(made, volume), strict=True)]
    # The encoder writes layer by layer, and slices against their normal.
    along = volume.positions[list(slices)] @ volume.normal
    ranks = {slices[at]: rank for rank, at in enumerate(np.argsort(-along, kind="stable"), start=1)}
    layers = len(made.PerFrameFunctionalGroupsSequence)
    order = [(layer, z) for layer in range(layers) for z in ranks if present[z, layer]]
    _spread(made, sources, order, ranks)
    _put_spacing(made, distance_mm)
    if layers == 1 and len(slices) > 1 and spacing_mm(volume, slices, sort=False):
        made.DimensionOrganizationType = "3D"
    return order


def spacing_mm(volume: Volume, slices: Sequence[int], *, sort: bool = True) -> float | None:
    """Measure the distance of neighbouring slices where all have the same, as the encoder does."""
    positions = volume.positions[list(slices)].tolist()
    cosines = [*volume.row_cosines, *volume.column_cosines]
    distance_mm, _ = get_volume_positions(positions, cosines, sort=sort)
    return distance_mm


def _put_spacing(made: Dataset, distance_mm: float | None) -> None:
    """Say how far neighbouring slices lie apart, or nothing of it (PS3.3 C.7.6.16.2.1)."""
    (measures,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    measures.pop("SpacingBetweenSlices", None)
    if distance_mm is not None:
        measures.SpacingBetweenSlices = format_number_as_ds(distance_mm)


def _spread(
    made: Dataset, sources: Sequence[Dataset], order: Sequence[Frame], ranks: Mapping[int, int]
) -> None:
    """Make the functional groups of all frames after those of one slice, and refer to all images."""
    groups = list(made.PerFrameFunctionalGroupsSequence)
    of_slice = {z: _of_source(groups[0], sources[z]) for z in ranks}
    of_layer = [_written(group, *_OF_LAYER) for group in groups]
    items = [
        item(of_slice[z][0] + _content(groups[layer], ranks[z]) + of_slice[z][1] + of_layer[layer])
        for layer, z in order
    ]
    made[_GROUPS] = sequence(_GROUPS, items)
    made.NumberOfFrames = len(items)
    images = [sources[z] for z in sorted(ranks)]
    put_references(made, "SourceImageSequence", images)
    put_series(made, images)


def _of_source(group: Dataset, source: Dataset) -> tuple[bytes, bytes]:
    """Make what a frame says of its image: which it is, and where it lies."""
    (origin,) = group.DerivationImageSequence[0].SourceImageSequence
    origin.ReferencedSOPClassUID = uid(source, SOP_CLASS)
    origin.ReferencedSOPInstanceUID = uid(source, SOP_INSTANCE)
    position = element(_POSITION, "DS", even(_digits(source.ImagePositionPatient)))
    return _written(group, _DERIVATION), element(_PLANE, "SQ", item(position))


def _digits(position: Iterable[DSfloat]) -> bytes:
    """Write numbers as the encoder does: as they came, and shorter where they are too long (PS3.5 6.2)."""
    return "\\".join(str(DS(value, auto_format=True)) for value in position).encode()


def _content(group: Dataset, rank: int) -> bytes:
    """Make the Dimension Index Values of a frame: its layer's as they are, then the rank of its slice."""
    values = group.FrameContentSequence[0]["DimensionIndexValues"].value
    layer = values[:-1] if isinstance(values, MultiValue) else []
    indices = b"".join(_UL.pack(value) for value in (*layer, rank))
    return element(_CONTENT, "SQ", item(element(_INDICES, "UL", indices)))


def _written(group: Dataset, *tags: BaseTag) -> bytes:
    return written(Dataset({tag: group[tag] for tag in tags if tag in group}))


def _layer(group: Dataset) -> int:
    """Read which segment a frame shows; where there is one layer only, frames do not say."""
    named = group.get("SegmentIdentificationSequence")
    return int(named[0].ReferencedSegmentNumber) - 1 if named else 0


def _slices(made: Dataset, volume: Volume) -> list[int]:
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
    for one in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        one.DimensionOrganizationUID = uid
