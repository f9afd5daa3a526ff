"""Secondary Captures stand alone: picture, words, caution, and the image they were made of."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset

from appliance.results.capture import notice_capture
from appliance.results.encode import encode
from appliance.results.limits import DEFAULT
from appliance.results.marks import key_slices, pictured
from models.findings import Findings
from tests.appliance.results.given import (
    bands,
    context,
    ct_header,
    lesions,
    multiframe,
    nothing,
    read,
    series,
)
from tests.appliance.results.test_page import NOTICE


def captures(findings: Findings, made=None) -> list[Dataset]:
    made = made or series()
    objects = encode(
        context(), sources=made.sources, volume=made.volume, findings=findings, outputs=frozenset({"sc"})
    )
    return [read(item) for item in objects if item.output == "sc"]


def test_each_is_one_colour_image_that_nobody_takes_for_the_scanner_s():
    for made in captures(bands(series().volume)):
        assert made.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
        assert (made.Modality, made.ConversionType, made.BurnedInAnnotation) == ("OT", "WSD", "YES")
        assert (made.PhotometricInterpretation, made.SamplesPerPixel) == ("RGB", 3)
        assert made.ImageType[:2] == ["DERIVED", "SECONDARY"]
        for keyword in ("PixelSpacing", "FrameOfReferenceUID", "ImagePositionPatient", "NumberOfFrames"):
            assert keyword not in made


def test_the_largest_slices_are_shown_once_each_and_in_one_series():
    made = captures(bands(series().volume))
    assert [m.InstanceNumber for m in made] == [1, 2]
    assert len({m.SeriesInstanceUID for m in made}) == 1
    assert len({m.SOPInstanceUID for m in made}) == 2
    sources = [m.SourceImageSequence[0].ReferencedSOPInstanceUID for m in made]
    largest = [s.mask.sum(axis=(1, 2)).argmax() + 1 for s in bands(series().volume).segments]
    assert [int(uid.rpartition(".")[2]) for uid in sources] == largest


def test_the_outline_of_a_segment_is_in_its_colour_on_the_edge_of_the_mask():
    series_made = series()
    findings = bands(series_made.volume)
    picture = captures(findings, series_made)[0].pixel_array
    bone = findings.segments[0]
    coloured = (picture == bone.colour_rgb).all(axis=2)
    rows, columns = np.nonzero(bone.mask[bone.mask.sum(axis=(1, 2)).argmax()])
    # 48 rows of 0.75 mm fill the 768 pixels: 16 a row; 40 columns of 0.5 mm: 10.67 a column.
    image_rows = 768
    found_rows, found_columns = np.nonzero(coloured[:image_rows])
    assert found_rows.min() == pytest.approx(rows.min() * 16, abs=1)
    assert found_rows.max() == pytest.approx((rows.max() + 1) * 16 - 1, abs=1)
    assert found_columns.min() == pytest.approx(columns.min() * 32 / 3, abs=1)
    assert found_columns.max() == pytest.approx((columns.max() + 1) * 32 / 3 - 1, abs=1)
    # The legend below has a square of the same colour.
    assert coloured[image_rows:].any()


def test_no_finding_shows_the_middle_slice_without_any_mark():
    (made,) = captures(nothing())
    grey = made.pixel_array[:768]
    assert (grey[..., 0] == grey[..., 1]).all()
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID.endswith(".4")


def test_the_directions_of_the_picture_are_the_image_s():
    assert captures(nothing(), series("axial"))[0].PatientOrientation == ["L", "P"]
    assert captures(nothing(), series("sagittal"))[0].PatientOrientation == ["P", "F"]


def test_a_frame_is_named_as_the_source():
    (made,) = captures(nothing(), multiframe(series()))
    assert made.SourceImageSequence[0].ReferencedFrameNumber == 3


def test_the_number_of_pictures_is_bounded_and_lesions_come_first():
    made = series()
    findings = lesions(made.volume)
    assert key_slices(findings, made.volume) == [2, 4]
    assert pictured(2, wanted=2) == []


def test_of_more_key_slices_than_pictures_the_number_is_said_in_each():
    made = series(slices=12)
    found = lesions(series().volume).lesions[0]
    many = tuple(
        replace(found, label=str(n), origin=(n, 9, 7), component=found.component[2:3], slice_index=n)
        for n in range(10)
    )
    findings = replace(lesions(made.volume), lesions=many)
    pictures = captures(findings, made)
    few = captures(replace(findings, lesions=many[:4], segments=()), made)
    assert len(pictures) == DEFAULT.pictures_max == 6
    assert pictured(6, wanted=10) == [
        "Pictured are 6 of 10 key slices, those of the largest or likeliest first."
    ]
    # The words are pixels: one line more is taller.
    assert pictures[0].Rows > few[0].Rows


def test_a_notice_is_a_page_of_words_with_the_same_warning():
    made = notice_capture(context(), sources=[ct_header()], notice=NOTICE)
    result = read(made)
    assert result.SeriesDescription.startswith("NOT ANALYSED")
    assert not result.PatientOrientation
    assert made.preview_png is not None
    assert (np.array(Image.open(BytesIO(made.preview_png))) == result.pixel_array).all()
