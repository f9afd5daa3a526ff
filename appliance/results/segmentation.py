"""The segmentation object: all segments of a result in one SEG, as yes or no, as shares, or as a label map.

Promises: every frame lies where its source slice lies, tilted and irregular series too; full slices, never a
cropped box; empty frames are left out (OHIF and DICOM allow it, and a 400 slice series stays small); memory
stays near what is written, overlapping segments too; what cannot be written as asked is written as yes or no,
and says so.
Never: invents a share for a segment whose probabilities are not known; resamples a mask.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationFractionalTypeValues,
    SegmentationTypeValues,
    SegmentDescription,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from appliance.results import coding, seg_layers
from appliance.results.context import EncodedObject, Reference, ResultContext
from appliance.results.finish import Label, common, finish, sop_instance_uid
from appliance.results.frames import (
    Frame,
    fix_dimension_uid,
    frames,
    placed_all,
    plane_positions,
    shown,
    spacing_mm,
)
from appliance.results.limits import DEFAULT, Limits
from appliance.results.seg_layers import Layers
from appliance.results.slices import is_multiframe, is_placed
from appliance.results.subjects import Kind, tracking_uid
from appliance.results.wording import NOT_PRIMARY, long_string
from models.findings import LEVELS, Findings, ProbabilityMap, Segment
from models.tensors import Volume

SEGMENTATIONS = ("seg", "seg-fractional", "seg-labelmap")
"""The outputs of this module; the report refers to one of them."""
NO_SHARES = "not all probabilities known"
TOO_LARGE = "shares would be too large"
OVERLAPPING = "segments overlap"
_ASKED = {"seg-fractional": "fractional segmentation", "seg-labelmap": "label map segmentation"}

_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_TYPES = {
    "binary": SegmentationTypeValues.BINARY,
    "fractional": SegmentationTypeValues.FRACTIONAL,
    "label map": SegmentationTypeValues.LABELMAP,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """Say how one output is written.

    Attributes:
        output: one of `SEGMENTATIONS`.
        kind: what the object is; "binary" may take the place of the other two.
        segments: all of them, in the order of their numbers.
        layers: what its frames hold.
        instead: why it is not as it was asked for, in words for the reader; None where it is.
    """

    output: str
    kind: Literal["binary", "fractional", "label map"]
    segments: Sequence[Segment]
    layers: Layers
    instead: str | None = None

    @property
    def label(self) -> Label:
        """Name the object."""
        return Label(output=self.output, title=self.output)


def seg_forms(
    findings: Findings,
    volume: Volume,
    *,
    source: Dataset,
    outputs: Collection[str],
    limits: Limits = DEFAULT,
) -> list[Form]:
    """Decide how the segmentations that are asked for are written.

    There is none where no segment holds a voxel, or where the image has no place in the patient.

    Args:
        findings: what the model found.
        volume: the grid the masks lie on.
        source: a header of an image the model saw.
        outputs: what the destinations take.
        limits: bounds of the result objects.
    """
    wanted = [output for output in SEGMENTATIONS if output in outputs]
    segments = findings.segments
    if not (wanted and is_placed(source) and any(segment.mask.any() for segment in segments)):
        return []
    apart = seg_layers.masks(segments)
    plain = Form(output="seg", kind="binary", segments=segments, layers=apart)
    return [_form(output, plain, findings, volume.shape, limits) for output in wanted]


def _form(output: str, plain: Form, findings: Findings, shape: tuple[int, int, int], limits: Limits) -> Form:
    if output == "seg-labelmap":
        if plain.layers.overlap != "NO":
            return replace(plain, output=output, instead=OVERLAPPING)
        layers = seg_layers.labels(plain.segments, plain.layers)
        return replace(plain, output=output, kind="label map", layers=layers)
    if output == "seg-fractional":
        maps = _maps(findings)
        if maps is None:
            return replace(plain, output=output, instead=NO_SHARES)
        layers = seg_layers.shares(maps, shape)
        if int(layers.present.sum()) * shape[1] * shape[2] > limits.seg_bytes_max:
            return replace(plain, output=output, instead=TOO_LARGE)
        return replace(plain, output=output, kind="fractional", layers=layers)
    return plain


def replacements(forms: Sequence[Form]) -> list[str]:
    """Say which segmentations are not as they were asked for, and why."""
    return [f"The {_ASKED[form.output]} is a binary one: {form.instead}." for form in forms if form.instead]


def _maps(findings: Findings) -> list[ProbabilityMap | None] | None:
    """Give each segment's map; None where a segment that has voxels has no map, which would lose it."""
    known = {one.label: one for one in findings.maps}
    maps = [known.get(segment.label) for segment in findings.segments]
    lost = any(
        one is None and segment.mask.any() for one, segment in zip(maps, findings.segments, strict=True)
    )
    return None if lost else maps


def seg_reference(context: ResultContext, form: Form) -> Reference:
    """Tell where a segmentation of this result is, before it is encoded."""
    return Reference(
        sop_class_uid=_LABEL_MAP_STORAGE if form.kind == "label map" else _SEGMENTATION_STORAGE,
        sop_instance_uid=sop_instance_uid(context, form.label),
        series_uid=str(common(context, form.label)["series_instance_uid"]),
        study_uid=context.study_uid,
    )


def segmentation(
    context: ResultContext, form: Form, *, sources: Sequence[Dataset], volume: Volume
) -> EncodedObject:
    """Encode one segmentation.

    Args:
        context: who made it, and its UIDs.
        form: what is written.
        sources: headers in slice order, or the one header of a multi-frame image.
        volume: the grid the masks lie on.
    """
    slices = [int(z) for z in np.flatnonzero(form.layers.present.any(axis=1))]
    placed = shown(sources[0], slices)
    made = Segmentation(
        source_images=placed_all(sources, volume, placed),
        pixel_array=_marks(form, placed, all_layers=not is_multiframe(sources[0])),
        segmentation_type=_TYPES[form.kind],
        fractional_type=SegmentationFractionalTypeValues.PROBABILITY,
        max_fractional_value=LEVELS,
        segment_descriptions=[_description(context, segment) for segment in form.segments],
        plane_positions=plane_positions(sources[0], volume, placed),
        content_label="AI_OVERLAY",
        content_description=_content(form),
        omit_empty_frames=True,
        **common(context, form.label),
    )
    order = frames(
        made,
        sources,
        volume,
        slices=slices,
        present=form.layers.present,
        distance_mm=spacing_mm(volume, range(len(volume.positions))) or spacing_mm(volume, slices),
    )
    _draw(made, form.layers, volume, order)
    fix_dimension_uid(made, context.uid(form.output, "dimensions"))
    return finish(made, context, form.label, source=sources[0])


def _marks(form: Form, slices: Sequence[int], *, all_layers: bool) -> npt.NDArray[np.uint8]:
    """Give the one pixel of each slice and layer: (slices, 1, 1, layer), of a label map (slices, 1, 1).

    Of a slice that stands for all, every layer is marked, so that the encoder makes a frame of each.
    """
    marks = (form.layers.present[list(slices), None, None, :] | all_layers).astype(np.uint8)
    return marks[..., 0] if form.kind == "label map" else marks


def _draw(made: Segmentation, layers: Layers, volume: Volume, order: Sequence[Frame]) -> None:
    """Put the planes in the place of the encoder's single pixels, frame by frame."""
    assert len(order) == int(layers.present.sum()), "a frame for everything that is there"
    assert all(layers.present[z, layer] for layer, z in order), "no frame for what is not there"
    _, made.Rows, made.Columns = volume.shape
    made.SegmentsOverlap = layers.overlap
    bits = made.BitsAllocated
    made.PixelData = layers.bits(order) if bits == 1 else layers.numbers(order, bits)


def _content(form: Form) -> str:
    """Describe the content: the caution, and before it what is not as it was asked for."""
    if form.instead is None:
        return long_string(NOT_PRIMARY)
    # 64 characters, of which the caution is never cut.
    return long_string(f"Binary, {form.instead}; {NOT_PRIMARY}")


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
