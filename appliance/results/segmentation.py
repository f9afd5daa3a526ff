"""The segmentation object: one binary SEG for all segments of a result (PS3.3 A.51).

Promises: every frame lies where its source slice lies, tilted and irregular series too; full slices, never a
cropped box; empty frames are left out (OHIF and DICOM allow it, and a 400 slice series stays small); memory
stays near one byte per voxel while segments do not overlap.
Never: fractional values, labelmaps (not every viewer takes them), resampled masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence, PlanePositionSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes

from appliance.results import coding
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.finish import Label, common, finish, sop_instance_uid
from appliance.results.headers import stub
from appliance.results.slices import frame_positions, is_multiframe
from appliance.results.subjects import Kind, tracking_uid
from appliance.results.wording import NOT_PRIMARY, long_string
from models.findings import Segment
from models.tensors import Volume

LABEL = Label(output="seg", title="seg")

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def seg_reference(context: ResultContext) -> Reference:
    """Tell where the segmentation of this result is, before it is encoded."""
    return Reference(
        sop_class_uid=_SEGMENTATION_STORAGE,
        sop_instance_uid=sop_instance_uid(context, LABEL),
        series_uid=str(common(context, LABEL)["series_instance_uid"]),
        study_uid=context.study_uid,
    )


def segmentation(
    context: ResultContext, *, sources: Sequence[Dataset], volume: Volume, segments: Sequence[Segment]
) -> EncodedObject:
    """Encode the masks of all segments as one object.

    Args:
        context: who made it, and its UIDs.
        sources: headers in slice order, or the one header of a multi-frame image.
        volume: the grid the masks lie on.
        segments: in the order of their numbers, at least one voxel in all.
    """
    made = Segmentation(
        source_images=[_placed(source, volume) for source in sources],
        pixel_array=_pixels(segments),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(context, segment) for segment in segments],
        plane_positions=_plane_positions(sources[0], volume),
        content_label="AI_OVERLAY",
        content_description=long_string(NOT_PRIMARY),
        omit_empty_frames=True,
        **common(context, LABEL),
    )
    _fix_dimension_uid(made, context.uid("seg", "dimensions"))
    return finish(made, context, LABEL, source=sources[0])


def _placed(source: Dataset, volume: Volume) -> Dataset:
    """Make the encoder's header; the slice distance stands in for a slice thickness that is not told."""
    header = stub(source)
    if "SliceThickness" not in header and not is_multiframe(header):
        header.SliceThickness = round(volume.slice_spacing_mm or 1.0, 4)
    return header


def _pixels(segments: Sequence[Segment]) -> npt.NDArray[np.uint8]:
    """Lay the masks into one label map (z, y, x), or side by side (z, y, x, segment) when they overlap."""
    labels = np.zeros(segments[0].mask.shape, dtype=np.uint8)
    if len(segments) > np.iinfo(labels.dtype).max:
        return _stacked(segments)
    for number, segment in enumerate(segments, start=1):
        if labels[segment.mask].any():
            return _stacked(segments)
        labels[segment.mask] = number
    return labels


def _stacked(segments: Sequence[Segment]) -> npt.NDArray[np.uint8]:
    return np.stack([segment.mask.view(np.uint8) for segment in segments], axis=-1)


def _plane_positions(source: Dataset, volume: Volume) -> list[PlanePositionSequence] | None:
    """Place the frames by the volume where the encoder cannot read them off: multi-frame sources."""
    if not is_multiframe(source) or frame_positions(source) is None:
        return None
    return [PlanePositionSequence("PATIENT", position) for position in volume.positions]


def _description(context: ResultContext, segment: Segment) -> SegmentDescription:
    who = context.provenance
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=long_string(segment.label),
        segmented_property_category=coding.concept(segment.category),
        segmented_property_type=coding.concept(segment.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=long_string(who.model_name),
            family=codes.DCM.ArtificialIntelligence,
            version=long_string(who.model_version),
            source=long_string(who.manufacturer),
        ),
        tracking_uid=tracking_uid(context, Kind.SEGMENT, segment.label),
        tracking_id=long_string(segment.label),
        display_color=CIELabColor.from_rgb(*segment.colour_rgb),
    )


def _fix_dimension_uid(made: Dataset, uid: str) -> None:
    """Replace the encoder's random Dimension Organization UID."""
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid
