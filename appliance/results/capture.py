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
from appliance.results.marks import header_of, key_slices, legend, pictured, shapes, signature, where
from appliance.results.picture import Line, RgbArray, draw, png, words_only
from appliance.results.slices import SlicePlace, is_placed, slice_places
from appliance.results.windows import window_of
from models.findings import Findings
from models.tensors import DoubleArray, Volume

LABEL = Label(output="sc", title="sc")
NOTICE_LABEL = Label(output="sc", title="notice")

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
    wanted = key_slices(findings, volume)
    drawn = wanted[: DEFAULT.pictures_max]
    left = pictured(len(drawn), wanted=len(wanted))
    for number, index in enumerate(drawn, start=1):
        picture = _picture(
            context, sources, volume, findings=findings, place=places[index], index=index, left=left
        )
        made.append(
            _capture(
                context,
                replace(LABEL, instance_number=number),
                picture=picture,
                source=sources[0],
                seen=places[index],
                orientation=_orientation(sources[0], volume),
            )
        )
    return made


def notice_capture(context: ResultContext, *, sources: Sequence[Dataset], notice: Notice) -> EncodedObject:
    """Encode a notice as a picture of its words."""
    lines = [
        Line(text=wording.notice_heading(notice), loud=True),
        Line(text=wording.plain(notice.reason)),
        Line(text=wording.plain(notice.what_to_do)),
        *_standing(context),
        *signature(context),
    ]
    return _capture(context, NOTICE_LABEL, picture=words_only(lines), source=sources[0])


def preview(
    context: ResultContext, *, sources: Sequence[Dataset], volume: Volume, findings: Findings
) -> bytes:
    """Draw the first key slice as PNG, for the console."""
    index = key_slices(findings, volume)[0]
    place = slice_places(sources, volume)[index]
    return png(_picture(context, sources, volume, findings=findings, place=place, index=index))


def _picture(
    context: ResultContext,
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    findings: Findings,
    place: SlicePlace,
    index: int,
    left: Sequence[str] = (),
) -> RgbArray:
    return draw(
        volume.voxels[index],
        window=window_of(header_of(sources, volume, index=index), volume, index=index),
        pixel_spacing_mm=volume.pixel_spacing_mm,
        shapes=shapes(findings, volume, index=index),
        lines=[
            Line(text=wording.conclusion(findings), loud=True),
            *_standing(context),
            *legend(findings, volume, index=index),
            *(Line(text=text) for text in left),
            Line(text=where(place, index=index, slices=len(volume.voxels))),
            *signature(context),
        ],
    )


def _standing(context: ResultContext) -> list[Line]:
    words = [*wording.standing(context), *wording.stand_in(context, LABEL.output)]
    return [Line(text=text) for text in words]


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


def _orientation(source: Dataset, volume: Volume) -> tuple[str, str] | None:
    """Name where rows and columns point to (PS3.3 C.7.6.1.1.1), main direction only.

    A radiograph says it itself, or nobody knows.
    """
    if not is_placed(source):
        stated = [str(direction) for direction in source.get("PatientOrientation") or ()]
        return (stated[0], stated[1]) if len(stated) == 2 else None
    return _direction(volume.row_cosines), _direction(volume.column_cosines)


def _direction(cosines: DoubleArray) -> str:
    axis = int(np.abs(cosines).argmax())
    return _DIRECTIONS[axis][0 if cosines[axis] >= 0 else 1]
