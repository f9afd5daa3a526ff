"""Presentation states: outlines and words as vectors over the source images (GSPS, PS3.3 A.33.1).

PIXEL units count from the top left corner of the top left pixel as SCOORD does, so that the centre of that
pixel is at 0.5 (PS3.3 C.10.5): outlines are written as they are.
Promises: images keep their own window and pixel spacing; an outline has the colour of its segment; each image
that is drawn on says what made the marks, and the caution.
Never: stands for a result without regions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from highdicom import (
    ModalityLUTTransformation,
    PresentationLUTShapeValues,
    PresentationLUTTransformation,
    ReferencedImageSequence,
)
from highdicom.color import CIELabColor
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextJustificationValues,
    TextObject,
)
from pydicom import Dataset

from appliance.results import wording
from appliance.results.context import EncodedObject, ResultContext
from appliance.results.finish import Label, common, finish
from appliance.results.headers import stub
from appliance.results.limits import DEFAULT
from appliance.results.marks import header_of, legend, signature
from appliance.results.outline import outlines
from appliance.results.regions import Region, regions, slices_to_draw_on
from appliance.results.slices import SlicePlace, has_spacing
from appliance.results.subjects import tracking_uid
from appliance.results.windows import Rescale, rescale_of, stored_window, window_of
from models.findings import Findings
from models.tensors import DoubleArray, Volume

LABEL = Label(output="gsps", title="gsps")

_CONTENT_LABEL = "AI PRELIMINARY"
# By whether it stands in for a segmentation.
_DESCRIPTIONS = {
    False: f"AI marks, preliminary, unverified; {wording.NOT_PRIMARY}",
    True: f"AI marks in place of a segmentation; {wording.NOT_PRIMARY}",
}
_WHITE_P_VALUE = 0xFFFF
_MONOCHROME1 = "MONOCHROME1"
# Where the words of an image stand: left, top, right, bottom in fractions of what is displayed.
_WORDS_BOX = (0.01, 0.8, 0.99, 0.99)
# The layer of the words, by a key that no segment's label can be.
_WORDS = ""
_WORDS_ORDER = 1000


@dataclass(frozen=True, kw_only=True, eq=False)
class _Image:
    """Hold one image that is drawn on: its place in the volume, and how it is shown."""

    index: int
    source: Dataset
    header: Dataset
    frames: list[int] | None
    rescale: Rescale | None
    window: tuple[float, float] | None


def presentations(
    context: ResultContext,
    *,
    sources: Sequence[Dataset],
    volume: Volume,
    findings: Findings,
    places: Sequence[SlicePlace],
) -> list[EncodedObject]:
    """Encode the outlines of a result: nothing without regions, else one object for each kind of rescaling.

    A presentation state has one Modality LUT for all its images (PS3.3 C.11.1), so images that are rescaled
    in different ways, as those of PET are, get one object each. All slices of a volume have one size.
    """
    found = regions(findings, volume)
    drawn = slices_to_draw_on(found, images_max=DEFAULT.presentation_images_max)
    groups = _by_rescale(_images(sources, volume, places=places, drawn=drawn))
    held = len({index for region in found for index in region.slices})
    bound = [f"Marks are drawn on {len(drawn)} of {held} images that hold some."] if len(drawn) < held else []
    made = []
    for number, images in enumerate(groups, start=1):
        label = replace(LABEL, instance_number=number)
        layers = _layers(found)
        annotations = []
        for image in images:
            words = _words(context, volume, findings=findings, index=image.index, bound=bound)
            annotations += _outlined(context, image, found=found, layers=layers)
            annotations.append(_on(image, layers[_WORDS], texts=[_caption(words)]))
        state = _state(context, label, images, annotations=annotations, layers=layers)
        _show_as_the_images_are(state, images[0].source, volume)
        made.append(finish(state, context, label, source=sources[0]))
    return made


def _images(
    sources: Sequence[Dataset], volume: Volume, *, places: Sequence[SlicePlace], drawn: Sequence[int]
) -> list[_Image]:
    headers: dict[str, Dataset] = {}
    return [_image(sources, volume, place=places[index], index=index, headers=headers) for index in drawn]


def _by_rescale(images: Sequence[_Image]) -> list[list[_Image]]:
    groups: dict[Rescale | None, list[_Image]] = {}
    for image in images:
        groups.setdefault(image.rescale, []).append(image)
    return list(groups.values())


def _image(
    sources: Sequence[Dataset],
    volume: Volume,
    *,
    place: SlicePlace,
    index: int,
    headers: dict[str, Dataset],
) -> _Image:
    source = header_of(sources, volume, index=index)
    if place.sop_instance_uid not in headers:
        headers[place.sop_instance_uid] = _encodable(source)
    # What MONOCHROME1 measures may have been turned over; only its own window fits the stored image.
    turned = source.get("PhotometricInterpretation") == _MONOCHROME1
    return _Image(
        index=index,
        source=source,
        header=headers[place.sop_instance_uid],
        frames=place.frames,
        rescale=rescale_of(source, volume, frame=place.frame),
        window=stored_window(source) if turned else window_of(source, volume, index=index),
    )


def _encodable(source: Dataset) -> Dataset:
    """Make a header from which the encoder copies no display of its own accord."""
    header = stub(source)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        header.pop(keyword, None)
    header.SamplesPerPixel = 1
    return header


def _layers(found: Sequence[Region]) -> dict[str, GraphicLayer]:
    """Make one layer for each segment: a colour is a layer's (PS3.3 C.10.7), and one on top for the words."""
    words = "What the marks say and who made them"
    layers = {_WORDS: GraphicLayer("WORDS", order=_WORDS_ORDER, description=words)}
    for region in found:
        if region.layer not in layers:
            layer = GraphicLayer(
                f"REGION {len(layers)}",
                order=len(layers),
                description=wording.long_string(region.layer),
                display_color=CIELabColor.from_rgb(*region.colour),
            )
            layer.GraphicLayerRecommendedDisplayGrayscaleValue = _WHITE_P_VALUE
            layers[region.layer] = layer
    return layers


def _outlined(
    context: ResultContext, image: _Image, *, found: Sequence[Region], layers: Mapping[str, GraphicLayer]
) -> list[Dataset]:
    """Draw every region of one image, its tag beside its largest island; one annotation for each layer."""
    here = [region for region in found if image.index in region.slices]
    crowded = len(here) > DEFAULT.tagged_regions_max
    graphics: dict[str, list[GraphicObject]] = {}
    texts: dict[str, list[TextObject]] = {}
    for region in here:
        lines = outlines(
            region.plane(image.index),
            points_max=DEFAULT.outline_points_max,
            islands_max=DEFAULT.presentation_islands_max,
        )
        uid = tracking_uid(context, region.kind, region.name)
        graphics.setdefault(region.layer, []).extend(_polyline(line, region, uid) for line in lines)
        texts.setdefault(region.layer, []).append(_tag(lines[0], region, short=crowded))
    return [_on(image, layers[name], graphics=drawn, texts=texts[name]) for name, drawn in graphics.items()]


def _polyline(line: DoubleArray, region: Region, uid: str) -> GraphicObject:
    return GraphicObject(
        GraphicTypeValues.POLYLINE,
        graphic_data=line,
        units=AnnotationUnitsValues.PIXEL,
        tracking_id=wording.long_string(region.name),
        tracking_uid=uid,
    )


def _tag(line: DoubleArray, region: Region, *, short: bool) -> TextObject:
    """Name a region at the right end of its outline; by its number only where names would cover the image."""
    column, row = line[line[:, 0].argmax()]
    return TextObject(
        wording.long_string(region.number if short else region.tag),
        units=AnnotationUnitsValues.PIXEL,
        anchor_point=(float(column), float(row)),
        # Viewers move a text off its point, DICOMscope even onto another lesion: a line shows whose it is.
        anchor_point_visible=True,
    )


def _words(
    context: ResultContext, volume: Volume, *, findings: Findings, index: int, bound: Sequence[str]
) -> str:
    """Compose the words of one image; of too many numbers the last are left out, never the caution."""
    first = [wording.conclusion(findings)]
    numbers = [line.text for line in legend(findings, volume, index=index)]
    said = [*wording.standing(context), *wording.stand_in(context, LABEL.output)]
    last = [*said, *bound, *(line.text for line in signature(context))]
    while numbers and len("\r\n".join([*first, *numbers, *last])) > DEFAULT.presentation_text_chars_max:
        numbers.pop()
    room = DEFAULT.presentation_text_chars_max - len("\r\n".join(["", *numbers, *last]))
    return "\r\n".join([first[0][:room], *numbers, *last])


def _caption(words: str) -> TextObject:
    return TextObject(
        words,
        units=AnnotationUnitsValues.DISPLAY,
        bounding_box=_WORDS_BOX,
        text_justification=TextJustificationValues.LEFT,
    )


def _on(
    image: _Image,
    layer: GraphicLayer,
    *,
    graphics: Sequence[GraphicObject] | None = None,
    texts: Sequence[TextObject] | None = None,
) -> Dataset:
    """Make one annotation (PS3.3 C.10.5), as the encoder does.

    The encoder searches its tables for the class of the image each time, which takes longer than all else.
    """
    made, seen = Dataset(), Dataset()
    seen.ReferencedSOPClassUID = image.header.SOPClassUID
    seen.ReferencedSOPInstanceUID = image.header.SOPInstanceUID
    if image.frames:
        seen.ReferencedFrameNumber = image.frames
    made.GraphicLayer = layer.GraphicLayer
    made.ReferencedImageSequence = [seen]
    if graphics:
        made.GraphicObjectSequence = graphics
    if texts:
        made.TextObjectSequence = texts
    return made


def _state(
    context: ResultContext,
    label: Label,
    images: Sequence[_Image],
    *,
    annotations: Sequence[Dataset],
    layers: Mapping[str, GraphicLayer],
) -> GrayscaleSoftcopyPresentationState:
    source, rescale = images[0].source, images[0].rescale
    inverse = source.get("PhotometricInterpretation") == _MONOCHROME1
    shape = PresentationLUTShapeValues.INVERSE if inverse else PresentationLUTShapeValues.IDENTITY
    state = GrayscaleSoftcopyPresentationState(
        referenced_images=list({str(i.header.SOPInstanceUID): i.header for i in images}.values()),
        content_label=_CONTENT_LABEL,
        content_description=_DESCRIPTIONS[LABEL.output in context.stands_in],
        graphic_layers=list(layers.values()),
        modality_lut_transformation=None if rescale is None else _modality_lut(rescale),
        voi_lut_transformations=_windows(images),
        presentation_lut_transformation=PresentationLUTTransformation(presentation_lut_shape=shape),
        **common(context, label),
    )
    state.GraphicAnnotationSequence = annotations
    return state


def _modality_lut(rescale: Rescale) -> ModalityLUTTransformation:
    return ModalityLUTTransformation(
        rescale_intercept=rescale.intercept, rescale_slope=rescale.slope, rescale_type=rescale.type
    )


def _windows(images: Sequence[_Image]) -> list[SoftcopyVOILUTTransformation] | None:
    """Make one item for each window, with the images that it is for; nothing when one has none."""
    groups: dict[tuple[float, float], list[_Image]] = {}
    for image in images:
        if image.window is None:
            return None
        groups.setdefault(image.window, []).append(image)
    return [
        SoftcopyVOILUTTransformation(
            window_center=centre,
            window_width=width,
            referenced_images=_references(group) if len(groups) > 1 else None,
        )
        for (centre, width), group in groups.items()
    ]


def _references(images: Sequence[_Image]) -> ReferencedImageSequence:
    frames = [frame for image in images for frame in image.frames or []]
    if frames:
        return ReferencedImageSequence([images[0].header], referenced_frame_number=frames)
    return ReferencedImageSequence([image.header for image in images])


def _show_as_the_images_are(
    state: GrayscaleSoftcopyPresentationState, source: Dataset, volume: Volume
) -> None:
    """Correct what the encoder takes for granted: square pixels, whole slide images, a content date."""
    for area in state.DisplayedAreaSelectionSequence:
        del area.PixelOriginInterpretation
        if has_spacing(source):
            del area.PresentationPixelAspectRatio
            area.PresentationPixelSpacing = [round(mm, 6) for mm in volume.pixel_spacing_mm]
    for keyword in ("ContentDate", "ContentTime"):
        state.pop(keyword, None)
    # Type 2C, and nothing here knows the side: empty, and no body part that would forbid it.
    state.add_new("Laterality", "CS", None)
