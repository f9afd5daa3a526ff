"""Secondary Captures: key pictures as colour images that no viewer refuses (PS3.3 A.8.1).

Promises: single-frame RGB, Modality OT so that nobody takes them for images of the scanner;
BurnedInAnnotation YES; one series per result; the source image is referenced.
Never: pixel spacing or a frame of reference: a picture is not for measuring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from highdicom.sc import SCImage
from pydicom import Dataset

from appliance.results import wording
from appliance.results.context import EncodedObject, Notice, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.limits import DEFAULT
from appliance.results.picture import Line, RgbArray, Shape, draw, png, words_only
from appliance.results.slices import SlicePlace, slice_places
from appliance.results.subjects import largest_slice, written_segments
from appliance.results.windows import window_of
from models.findings import Findings
from models.tensors import DoubleArray, Volume

LABEL = Label(output="sc", title="sc")
NOTICE_LABEL = Label(output="sc", title="notice")

_LESION_RGB = (255, 60, 60)
_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))


def findings_captures(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    volume: Volume,
    findings: Findings,
    places: Sequence[SlicePlace],
) -> list[EncodedObject]:
    """Encode the key slices of a result, one object each; the middle slice when nothing was marked."""
    made = []
    for number, index in enumerate(key_slices(findings, volume), start=1):
        picture = _picture(context, sources, volume, findings=findings, place=places[index], index=index)
        made.append(
            _capture(
                context,
                replace(LABEL, instance_number=number),
                picture=picture,
                source=sources[0],
                seen=places[index],
                orientation=_orientation(volume),
            )
        )
    return made


def notice_capture(context: ResultContext, *, sources: Sequence[Dataset], notice: Notice) -> EncodedObject:
    """Encode a notice as a picture of its words."""
    lines = [
        Line(text=wording.notice_heading(notice), loud=True),
        Line(text=wording.plain(notice.reason)),
        Line(text=wording.plain(notice.what_to_do)),
        *_signature(context),
    ]
    return _capture(context, NOTICE_LABEL, picture=words_only(lines), source=sources[0])


def preview(
    context: ResultContext, *, sources: Sequence[Dataset], volume: Volume, findings: Findings
) -> bytes:
    """Draw the first key slice as PNG, for the console."""
    index = key_slices(findings, volume)[0]
    place = slice_places(sources, volume)[index]
    return png(_picture(context, sources, volume, findings=findings, place=place, index=index))


def key_slices(findings: Findings, volume: Volume) -> list[int]:
    """Choose the slices to show: where lesions, then segments are largest; at least one, none twice."""
    wanted = [lesion.slice_index for lesion in findings.lesions]
    wanted += [largest_slice(segment) for segment in written_segments(findings)]
    return list(dict.fromkeys(wanted))[: DEFAULT.pictures_max] or [len(volume.voxels) // 2]


def _picture(
    context: ResultContext,
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    findings: Findings,
    place: SlicePlace,
    index: int,
) -> RgbArray:
    source = sources[index] if len(sources) == len(volume.voxels) else sources[0]
    return draw(
        volume.voxels[index],
        window=window_of(source, volume, index=index),
        pixel_spacing_mm=volume.pixel_spacing_mm,
        shapes=_shapes(findings, volume, index=index),
        lines=[
            Line(text=wording.conclusion(findings), loud=True),
            *_legend(findings, volume, index=index),
            Line(text=_where(place, index=index, slices=len(volume.voxels))),
            *_signature(context),
        ],
    )


def _shapes(findings: Findings, volume: Volume, *, index: int) -> list[Shape]:
    _, rows, columns = volume.shape
    shapes = [
        Shape(mask=segment.mask[index], colour=segment.colour_rgb) for segment in written_segments(findings)
    ]
    for lesion in findings.lesions[: DEFAULT.lesion_groups_max]:
        if index in lesion.slice_range:
            plane = lesion.plane(index, rows=rows, columns=columns)
            shapes.append(Shape(mask=plane, colour=_colour(findings, lesion.segment), tag=lesion.label))
    return shapes


def _colour(findings: Findings, label: str) -> tuple[int, int, int]:
    """Give the colour of a label's segment; red for a lesion whose segment is not written."""
    return next((s.colour_rgb for s in findings.segments if s.label == label), _LESION_RGB)


def _legend(findings: Findings, volume: Volume, *, index: int) -> list[Line]:
    """List what the picture shows and all other numbers, coloured where an outline belongs to it."""
    lines = [
        Line(text=wording.lesion(lesion), colour=_colour(findings, lesion.segment))
        for lesion in findings.lesions
        if index in lesion.slice_range
    ]
    named = wording.by_label(findings.measurements)
    for segment in written_segments(findings):
        own = named.pop(segment.label, [])
        if segment.mask[index].any() and (own or not lines):
            texts = "; ".join(wording.measurement(m) for m in own)
            lines.append(
                Line(text=wording.plain(f"{segment.label}: {texts}").rstrip(": "), colour=segment.colour_rgb)
            )
    for label, group in named.items():
        texts = "; ".join(wording.measurement(m) for m in group)
        lines.append(Line(text=wording.plain(f"{label or 'Whole series'}: {texts}")))
    lines += [Line(text=text) for text in wording.reservations(findings)]
    return lines[: DEFAULT.legend_lines_max]


def _where(place: SlicePlace, *, index: int, slices: int) -> str:
    if place.frame is not None:
        name = f"Frame {place.frame}"
    else:
        name = "Image" if place.instance_number is None else f"Image {place.instance_number}"
    return f"{name} ({index + 1} of {slices} by position), at {place.position_mm:.1f} mm along the slice axis"


def _signature(context: ResultContext) -> list[Line]:
    """Say who made the picture, and the caution: on every picture."""
    who = context.provenance
    made = f"{who.product} {who.product_version}, model {who.model_name} {who.model_version}"
    words = [wording.plain(made), *([wording.plain(who.regulatory_status)] if who.regulatory_status else [])]
    return [*(Line(text=text) for text in words), Line(text=wording.CAUTION, loud=True)]


def _capture(
    context: ResultContext,
    label: Label,
    *,
    picture: RgbArray,
    source: Dataset,
    seen: SlicePlace | None = None,
    orientation: tuple[str, str] | None = None,
) -> EncodedObject:
    made = SCImage(
        pixel_array=np.ascontiguousarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=str(source.StudyInstanceUID),
        patient_orientation=orientation or ("L", "P"),
        **common(context, label),
    )
    if orientation is None:
        made["PatientOrientation"].value = None
    # Type 2C, and nothing here knows the side: empty, and no body part that would forbid it.
    made.add_new("Laterality", "CS", None)
    made.BurnedInAnnotation = "YES"
    made.ConversionType = "WSD"
    if seen is not None:
        made.SourceImageSequence = [_source_image(seen)]
    return finish(made, context, label, source=source, preview_png=png(picture))


def _source_image(seen: SlicePlace) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = seen.sop_class_uid
    item.ReferencedSOPInstanceUID = seen.sop_instance_uid
    if seen.frame is not None:
        item.ReferencedFrameNumber = seen.frame
    return item


def _orientation(volume: Volume) -> tuple[str, str]:
    """Name where rows and columns point to (PS3.3 C.7.6.1.1.1), main direction only."""
    return _direction(volume.row_cosines), _direction(volume.column_cosines)


def _direction(cosines: DoubleArray) -> str:
    axis = int(np.abs(cosines).argmax())
    return _DIRECTIONS[axis][0 if cosines[axis] >= 0 else 1]
