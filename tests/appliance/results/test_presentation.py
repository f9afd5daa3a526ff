"""Presentation states: outlines lie on their masks, images look as they did, and the words stand on each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import Dataset
from scipy import ndimage

from appliance.results.encode import encode
from appliance.results.limits import DEFAULT
from tests.appliance.results.given import (
    TISSUE,
    bands,
    context,
    ct_header,
    lesions,
    multiframe,
    nothing,
    read,
    segment,
    series,
)

GSPS = frozenset({"gsps"})


def states(findings, made=None) -> list[Dataset]:
    made = made or series()
    objects = encode(context(), sources=made.sources, volume=made.volume, findings=findings, outputs=GSPS)
    return [read(item) for item in objects if item.output == "gsps"]


def slice_of(item: Dataset) -> int:
    """Find the slice of the volume behind an annotation, by the UIDs or frames that the tests give out."""
    reference = item.ReferencedImageSequence[0]
    if "ReferencedFrameNumber" in reference:
        return 6 - int(reference.ReferencedFrameNumber)
    return int(reference.ReferencedSOPInstanceUID.rpartition(".")[2]) - 1


def drawn(state: Dataset, index: int, shape: tuple[int, int], *, layer: str) -> np.ndarray:
    """Fill the outlines of one layer on one slice: a pixel is in where its centre, at (.5, .5), is inside.

    Eightfold, so that the corner of the top left pixel is at 0.0 and its centre falls on a sample.
    """
    image = Image.new("1", (shape[1] * 8, shape[0] * 8))
    pen = ImageDraw.Draw(image)
    for item in state.GraphicAnnotationSequence:
        if item.GraphicLayer == layer and slice_of(item) == index:
            for graphic in item.GraphicObjectSequence:
                points = np.array(graphic.GraphicData).reshape(-1, 2) * 8
                pen.polygon([tuple(point) for point in points], fill=1)
    return np.array(image)[4::8, 4::8]


def captions(state: Dataset) -> dict[int, str]:
    return {
        slice_of(item): item.TextObjectSequence[0].UnformattedTextValue
        for item in state.GraphicAnnotationSequence
        if item.GraphicLayer == "WORDS"
    }


def test_it_is_a_presentation_state_of_its_own_series_that_says_what_it_is():
    (state,) = states(lesions(series().volume))
    assert state.SOPClassUID == "1.2.840.10008.5.1.4.1.1.11.1"
    assert (state.Modality, state.ContentLabel) == ("PR", "AI PRELIMINARY")
    assert state.ContentDescription == "AI marks, preliminary, unverified; not for primary diagnosis"
    assert state.SeriesDescription.startswith("AI marks ")
    assert state.ContributingEquipmentSequence[0].DeviceUID == context().provenance.model_device_uid
    # 09:30:15 UTC in the zone of the study.
    assert (state.PresentationCreationDate, state.PresentationCreationTime) == ("20261121", "043015")
    assert "ContentDate" not in state


def test_nothing_to_outline_is_no_presentation_state():
    assert states(nothing()) == []
    empty = segment("bone", 1, np.zeros(series().volume.shape, dtype=np.bool_), TISSUE)
    assert states(replace(bands(series().volume), segments=(empty,))) == []


@pytest.mark.parametrize("fold", [lambda made: made, multiframe])
def test_each_outline_lies_on_its_mask(fold):
    made = fold(series())
    findings = bands(made.volume)
    (state,) = states(findings, made)
    for number, found in enumerate(findings.segments, start=1):
        seen = 0
        for index, mask in enumerate(found.mask):
            filled = drawn(state, index, mask.shape, layer=f"REGION {number}")
            # Outlines have no holes, and thinning may move an edge by half a pixel.
            solid = ndimage.binary_fill_holes(mask)
            assert (filled ^ solid).sum() <= 0.1 * mask.sum(), index
            seen += int(filled.any())
        assert seen == int(found.mask.any(axis=(1, 2)).sum())


def test_coordinates_count_from_the_corner_of_the_first_pixel_and_not_from_its_centre():
    """A mask of the one pixel in column 3, row 5 is outlined from (3, 5) to (4, 6)."""
    made = series()
    mask = np.zeros(made.volume.shape, dtype=np.bool_)
    mask[1, 5, 3] = True
    mask[2, 0, 0] = mask[3, -1, -1] = True
    findings = replace(bands(made.volume), segments=(segment("dot", 1, mask, TISSUE),), measurements=())
    (state,) = states(findings, made)
    boxes = {}
    for item in state.GraphicAnnotationSequence:
        if "GraphicObjectSequence" in item:
            graphic = item.GraphicObjectSequence[0]
            assert (graphic.GraphicType, graphic.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
            points = np.array(graphic.GraphicData).reshape(-1, 2)
            assert (points[0] == points[-1]).all()
            boxes[slice_of(item)] = [*points.min(axis=0), *points.max(axis=0)]
    assert boxes == {1: [3, 5, 4, 6], 2: [0, 0, 1, 1], 3: [39, 47, 40, 48]}


def test_every_image_that_is_drawn_on_says_the_answer_the_numbers_who_and_the_caution():
    made = series()
    (state,) = states(lesions(made.volume), made)
    words = captions(state)
    assert sorted(words) == [0, 1, 2, 3, 4, 5]
    for text in words.values():
        assert text.startswith("FINDING: 2 dense lesions were marked.\r\n")
        assert "Readside 0.1.0, model ct-tissue-bands 1.0.0" in text
        assert text.endswith("NOT FOR PRIMARY DIAGNOSIS. Made by software; not verified by a person.")
    assert "Lesion 1: Volume: 0.406 mL; Long Axis: 11.50 mm; Probability: 0.875" in words[2]
    assert "Lesion 2" not in words[1]
    tags = [
        text
        for item in state.GraphicAnnotationSequence
        if item.GraphicLayer == "REGION 1" and slice_of(item) == 4
        for text in item.TextObjectSequence
    ]
    assert [tag.UnformattedTextValue for tag in tags] == ["Lesion 1", "Lesion 2"]
    assert all(tag.AnchorPointVisibility == "Y" for tag in tags), "a line leads from each name to its outline"


def test_too_many_words_lose_numbers_and_never_the_caution():
    made = series()
    findings = replace(lesions(made.volume), statement="long " * 400)
    for text in captions(states(findings, made)[0]).values():
        assert len(text) <= 1024
        assert text.endswith("not verified by a person.")


def test_regions_are_tracked_as_in_the_report():
    made = series()
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=lesions(made.volume),
        outputs=frozenset({"sr", "gsps"}),
    )
    report, state = (read(item) for item in objects)
    told = {str(e.value) for e in report.iterall() if e.keyword == "UID"}
    tracked = {
        graphic.TrackingUID
        for item in state.GraphicAnnotationSequence
        for graphic in item.get("GraphicObjectSequence", [])
    }
    assert len(tracked) == 2
    assert tracked <= told


def test_the_colour_of_a_segment_is_its_layer_s_and_the_words_lie_on_top():
    (state,) = states(bands(series().volume))
    layers = {item.GraphicLayer: item for item in state.GraphicLayerSequence}
    assert list(layers) == ["WORDS", "REGION 1", "REGION 2"]
    assert layers["REGION 1"].GraphicLayerDescription == "bone"
    assert len(layers["REGION 1"].GraphicLayerRecommendedDisplayCIELabValue) == 3
    assert layers["WORDS"].GraphicLayerOrder > layers["REGION 2"].GraphicLayerOrder


def test_images_keep_their_window_their_values_and_their_shape():
    made = series()
    for number, source in enumerate(made.sources):
        source.WindowCenter, source.WindowWidth = 40 + number % 2, 300
        source.RescaleSlope, source.RescaleIntercept = 2, -1000
    (state,) = states(lesions(made.volume), made)
    windows = state.SoftcopyVOILUTSequence
    assert [(w.WindowCenter, w.WindowWidth) for w in windows] == [(40, 300), (41, 300)]
    assert [len(w.ReferencedImageSequence) for w in windows] == [3, 3]
    assert (state.RescaleSlope, state.RescaleIntercept, state.RescaleType) == (2, -1000, "HU")
    assert state.PresentationLUTShape == "IDENTITY"
    (area,) = state.DisplayedAreaSelectionSequence
    assert area.PresentationPixelSpacing == [0.75, 0.5]
    assert "PresentationPixelAspectRatio" not in area
    assert area.DisplayedAreaBottomRightHandCorner == [40, 48]


def test_images_with_other_rescaling_get_a_state_of_their_own():
    made = series()
    for number, source in enumerate(made.sources):
        source.RescaleSlope, source.RescaleIntercept = 1 + number // 3, 0
    first, second = states(lesions(made.volume), made)
    assert (first.RescaleSlope, second.RescaleSlope) == (1, 2)
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    for state in (first, second):
        assert len(state.ReferencedSeriesSequence[0].ReferencedImageSequence) == 3


def test_an_inverted_image_stays_inverted():
    header = ct_header()
    header.PhotometricInterpretation = "MONOCHROME1"
    header.WindowCenter, header.WindowWidth = 50, 80
    (state,) = states(lesions(series().volume), series(header=header))
    assert state.PresentationLUTShape == "INVERSE"
    assert state.SoftcopyVOILUTSequence[0].WindowCenter == 50
    del header.WindowCenter
    (state,) = states(lesions(series().volume), series(header=header))
    assert "SoftcopyVOILUTSequence" not in state


def test_the_number_of_images_is_bounded_and_the_bound_is_said():
    made = series(slices=80, rows=16, columns=16)
    mask = np.zeros(made.volume.shape, dtype=np.bool_)
    mask[:, 4:8, 4:8] = True
    mask[70, 3:9, 3:9] = True
    findings = replace(bands(made.volume), segments=(segment("bone", 1, mask, TISSUE),), measurements=())
    (state,) = states(findings, made)
    words = captions(state)
    assert len(words) == DEFAULT.presentation_images_max == 60
    assert 70 in words
    assert min(words) == 20
    assert all("Marks are drawn on 60 of 80 images that hold some." in text for text in words.values())
