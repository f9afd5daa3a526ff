"""The measurement report obeys the rules that viewers were measured by (R1-R13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from highdicom.sr import Comprehensive3DSR, MeasurementReport
from pydicom import Dataset

from appliance.results.context import Reference
from appliance.results.encode import encode
from appliance.results.limits import DEFAULT
from models.findings import Findings
from tests.appliance.results.given import (
    answers,
    bands,
    boxes,
    context,
    lesion,
    lesions,
    multiframe,
    nothing,
    only,
    radiograph,
    read,
    series,
)

SR = frozenset({"sr"})
SR_AND_SEG = frozenset({"sr", "seg"})


def report(findings: Findings, made=None, outputs=SR_AND_SEG, **changes) -> Dataset:
    made = made or series()
    objects = encode(
        context(**changes), sources=made.sources, volume=made.volume, findings=findings, outputs=outputs
    )
    return read(only(objects, "sr")[0])


def code(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def children(item: Dataset, wanted: str | None = None) -> list[Dataset]:
    return [c for c in item.get("ContentSequence", []) if wanted in (None, code(c))]


def groups(document: Dataset) -> list[Dataset]:
    return children(children(document, "126010")[0], "125007")


def named(document: Dataset) -> dict[str, Dataset]:
    return {children(group, "112039")[0].TextValue: group for group in groups(document)}


def walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from walk(child)


def numbers(group: Dataset) -> list[Dataset]:
    return [c for c in children(group) if c.ValueType == "NUM"]


def points(shape: Dataset) -> np.ndarray:
    return np.array(shape.GraphicData).reshape(-1, 2)


def words(document: Dataset) -> list[str]:
    return [c.TextValue for c in children(children(document, "C0034375")[0])]


def assert_viewers_show_it(document: Dataset) -> None:
    """Check rules R1 to R7 and R12 for every group of a report."""
    assert code(document) == "126000"
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert groups(document)
    uids = []
    for group in groups(document):
        assert all("ConceptNameCodeSequence" in c for c in children(group))
        first_uid = next(c for c in children(group) if c.ValueType == "UIDREF")
        assert code(first_uid) == "112040"
        uids.append(first_uid.UID)
        own = [c for c in children(group) if c.ValueType == "SCOORD"]
        under = [[c for c in children(n) if c.ValueType == "SCOORD"] for n in numbers(group)]
        assert len(own) <= 1
        assert own or under
        assert all(len(shapes) == 1 for shapes in under)
        for shape in [*own, *(s for shapes in under for s in shapes)]:
            assert (shape.GraphicType, len(shape.GraphicData) > 2) in {("POLYLINE", True), ("POINT", False)}
            assert shape.GraphicData[:2] == shape.GraphicData[-2:]
            (image,) = children(shape)
            assert (image.ValueType, image.RelationshipType) == ("IMAGE", "SELECTED FROM")
        for shapes in under:
            assert shapes[0].RelationshipType == "INFERRED FROM"
        assert {code(c) for c in children(group)} >= {"111001", "111003"}
    assert len(set(uids)) == len(uids)


@pytest.mark.parametrize("outputs", [SR, SR_AND_SEG])
@pytest.mark.parametrize("make", [bands, lesions, lambda volume: nothing()])
def test_every_group_can_be_drawn(make, outputs):
    made = series()
    assert_viewers_show_it(report(make(made.volume), made, outputs))


def test_it_is_preliminary_unverified_complete_and_says_who_made_it():
    made = series()
    document = report(bands(made.volume), made)
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert (document.PreliminaryFlag, document.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert document.CompletionFlag == "COMPLETE"
    (equipment,) = document.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert equipment.Manufacturer == "Readside project"
    assert equipment.ManufacturerModelName == "Readside"
    assert "ct-tissue-bands 1.0.0" in list(equipment.SoftwareVersions)
    assert equipment.DeviceUID == context().provenance.model_device_uid
    assert context().provenance.model_digest in equipment.ContributionDescription
    assert children(document, "121012")[0].get("UID") == context().provenance.device_uid


def test_numbers_are_the_model_s_to_the_last_digit_that_matters():
    made = series()
    bone = named(report(bands(made.volume), made))["bone"]
    volume, mean = numbers(bone)
    value = volume.MeasuredValueSequence[0]
    assert float(value.NumericValue) == pytest.approx(123.456789, abs=1e-6)
    assert value.MeasurementUnitsCodeSequence[0].CodeValue == "mL"
    assert code(volume) == "118565006"
    assert code(mean) == "112031"
    assert children(mean, "121401")[0].ConceptCodeSequence[0].CodeValue == "373098007"


def test_a_reader_sees_whose_number_it_is():
    made = series()
    by_name = named(report(bands(made.volume), made))
    meanings = {
        name: [n.ConceptNameCodeSequence[0].CodeMeaning for n in numbers(group)]
        for name, group in by_name.items()
    }
    assert meanings["bone"] == ["Volume of bone", "Mean Attenuation Coefficient"]
    assert meanings["fat"] == ["Volume of fat"]


def test_segments_with_a_mask_refer_to_the_segmentation():
    made = series()
    document = report(bands(made.volume), made)
    seg_uid = context().uid("seg", "seg", "1")
    spongy = named(document)["spongy"]
    reference = children(spongy, "121191")[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == seg_uid
    assert reference.ReferencedSegmentNumber == 2
    assert children(spongy, "112040")[0].get("UID") == context().uid("tracking", "segment", "spongy")
    assert children(spongy, "121232")[0].get("UID") == made.sources[0].SeriesInstanceUID
    listed = [
        instance.ReferencedSOPInstanceUID
        for item in document.CurrentRequestedProcedureEvidenceSequence
        for entry in item.ReferencedSeriesSequence
        for instance in entry.ReferencedSOPSequence
    ]
    assert set(listed) == {seg_uid, *(s.SOPInstanceUID for s in made.sources)}


def test_without_a_segmentation_a_segment_is_a_region_of_its_own():
    made = series()
    document = report(bands(made.volume), made, outputs=SR)
    bone = named(document)["bone"]
    assert not children(bone, "121191")
    (region,) = children(bone, "111030")
    assert len(points(region)) == 5


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "oblique"])
@pytest.mark.parametrize("shear_mm", [0.0, 0.8])
@pytest.mark.parametrize("outputs", [SR, SR_AND_SEG])
def test_shapes_lie_on_the_mask_to_half_a_pixel_on_the_right_image(orientation, shear_mm, outputs):
    made = series(orientation, shear_mm=shear_mm)
    findings = bands(made.volume)
    document = report(findings, made, outputs)
    by_uid = {source.SOPInstanceUID: index for index, source in enumerate(made.sources)}
    for segment in findings.segments:
        group = named(document)[segment.label]
        for found in numbers(group):
            (shape,) = [c for c in children(found) if c.ValueType == "SCOORD"]
            index = by_uid[children(shape)[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID]
            mask = segment.mask[index]
            assert mask.sum() == segment.mask.sum(axis=(1, 2)).max()
            rows, columns = np.nonzero(mask)
            line = points(shape)
            # SCOORD counts from the corner of the first pixel: pixel r covers r to r + 1.
            assert line[:, 1].min() == pytest.approx(rows.min(), abs=0.5)
            assert line[:, 1].max() == pytest.approx(rows.max() + 1, abs=0.5)
            assert line[:, 0].min() == pytest.approx(columns.min(), abs=0.5)
            assert line[:, 0].max() == pytest.approx(columns.max() + 1, abs=0.5)
            if outputs == SR_AND_SEG:
                assert edge_distance(line, mask) <= 0.5 + 1e-6


def edge_distance(line: np.ndarray, mask: np.ndarray) -> float:
    """Measure how far the farthest corner of a line is from the mask's pixels, as squares."""
    rows, columns = np.nonzero(mask)
    across = np.maximum(np.abs(line[:, :1] - (columns + 0.5)) - 0.5, 0)
    down = np.maximum(np.abs(line[:, 1:] - (rows + 0.5)) - 0.5, 0)
    return float(np.hypot(across, down).min(axis=1).max())


def test_a_lesion_is_a_rectangle_in_the_group_and_under_each_number():
    made = series()
    findings = lesions(made.volume)
    by_name = named(report(findings, made))
    assert list(by_name) == ["lesion 1", "lesion 2"]
    for found, group in zip(findings.lesions, by_name.values(), strict=True):
        (region,) = children(group, "111030")
        shapes = [region, *(s for n in numbers(group) for s in children(n) if s.ValueType == "SCOORD")]
        assert len(shapes) == 4
        _, rows, columns = made.volume.shape
        filled_rows, filled_columns = np.nonzero(found.plane(found.slice_index, rows=rows, columns=columns))
        for shape in shapes:
            assert points(shape)[0].tolist() == [filled_columns.min(), filled_rows.min()]
            assert points(shape)[2].tolist() == [filled_columns.max() + 1, filled_rows.max() + 1]
        values = [float(n.MeasuredValueSequence[0].NumericValue) for n in numbers(group)]
        assert values == [pytest.approx(m.value) for m in found.measurements]
        meanings = [n.ConceptNameCodeSequence[0].CodeMeaning for n in numbers(group)]
        assert meanings == ["Volume", "Long axis", "Probability"]


def test_what_is_withheld_is_said_in_words_and_never_as_a_number():
    made = series()
    document = report(bands(made.volume), made)
    assert any(w.startswith("Not measured: air, Volume. No voxel") for w in words(document))
    assert "air" not in named(document)


def test_a_label_without_voxels_still_shows_its_number():
    made = series()
    findings = bands(made.volume)
    emptied = replace(findings.segments[0], mask=np.zeros_like(findings.segments[0].mask))
    document = report(replace(findings, segments=(emptied, findings.segments[1])), made)
    assert_viewers_show_it(document)
    assert float(numbers(named(document)["bone"])[0].MeasuredValueSequence[0].NumericValue) > 100


def test_labels_without_a_mask_are_drawn_on_slices_of_their_own():
    made = series(slices=12)
    findings = replace(bands(made.volume), segments=())
    document = report(findings, made)
    images = [
        children(children(n)[-1])[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for n in (numbers(group)[0] for group in groups(document))
    ]
    assert len(set(images)) == 3


def test_no_finding_is_said_by_a_number_that_viewers_show_and_by_a_sentence():
    document = report(nothing())
    (found,) = numbers(groups(document)[0])
    # A value of 0 is drawn as an empty place; the number of searched images is never 0.
    assert found.ConceptNameCodeSequence[0].CodeMeaning == "No finding in images searched"
    assert float(found.MeasuredValueSequence[0].NumericValue) == 6
    assert words(document)[0] == "NO FINDING: No dense lesion was marked."
    assert document.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99READSIDE"


def test_only_the_images_that_are_drawn_on_are_in_the_library():
    made = series(slices=12)
    document = report(lesions(made.volume), made)
    images = [c for c in walk(children(document, "111028")[0]) if c.ValueType == "IMAGE"]
    assert len(images) == 2


def test_frames_of_a_multiframe_image_are_named_by_number():
    made = multiframe(series())
    document = report(lesions(made.volume), made)
    assert_viewers_show_it(document)
    image = children(children(groups(document)[0], "111030")[0])[0]
    # Slice 2 of the volume is the fourth of six frames that lie the other way round.
    assert image.ReferencedSOPSequence[0].ReferencedFrameNumber == 4


def test_superseded_reports_become_predecessors_and_other_objects_do_not():
    old = Reference(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.10",
        series_uid="2.25.11",
        study_uid=context().study_uid,
    )
    picture = replace(old, sop_class_uid="1.2.840.10008.5.1.4.1.1.7", sop_instance_uid="2.25.12")
    document = report(nothing(), run=2, supersedes=(old, picture))
    (study,) = document.PredecessorDocumentsSequence
    (entry,) = study.ReferencedSeriesSequence
    assert [i.ReferencedSOPInstanceUID for i in entry.ReferencedSOPSequence] == ["2.25.10"]
    assert any("replaces an earlier one" in w for w in words(document))
    assert "PredecessorDocumentsSequence" not in report(nothing())


def test_a_flood_of_lesions_is_bounded_and_counted():
    made = series()
    whole = lesions(made.volume)
    bound = DEFAULT.lesion_groups_max
    # One mask for all: what is counted is not drawn.
    one = lesion("1", single(made.volume.shape, 3))
    few = tuple(replace(one, label=str(i), measurements=()) for i in range(1, bound + 30))
    document = report(replace(whole, lesions=few), made)
    assert len(groups(document)) == bound
    assert any(w.startswith("29 more lesions") for w in words(document))


def single(shape: tuple[int, int, int], index: int) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask.ravel()[index * 7] = True
    return mask


def test_the_library_that_wrote_it_reads_it_back():
    made = series()
    document = Comprehensive3DSR.from_dataset(report(lesions(made.volume), made))
    content = MeasurementReport.from_sequence([document])
    found = content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in found] == ["lesion 1", "lesion 2"]


def test_the_observer_without_a_site_has_its_own_name_only():
    who = replace(context().provenance, site_name="")
    made = report(lesions(series().volume), provenance=who)
    assert "Readside" in {item.get("TextValue") for item in walk(made)}


def test_a_box_is_drawn_where_it_lies_and_hydrates():
    document = report(boxes(index=3))
    assert_viewers_show_it(document)
    group = named(document)["nodule 1"]
    top, left, bottom, right = boxes().detections[0].box
    expected = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for shape in (c for c in walk(group) if c.ValueType == "SCOORD"):
        assert np.allclose(points(shape), expected, atol=1e-4)
    assert float(numbers(group)[0].MeasuredValueSequence[0].NumericValue) == pytest.approx(0.91)


def test_a_box_on_a_radiograph_points_at_its_one_image():
    made = radiograph()
    document = report(boxes(), made)
    assert_viewers_show_it(document)
    images = {
        c.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for c in walk(document) if c.ValueType == "IMAGE"
    }
    assert images == {made.sources[0].SOPInstanceUID}


def test_every_label_has_its_answer_in_code_number_and_words():
    document = report(answers(), radiograph())
    assert_viewers_show_it(document)
    said = {}
    for name, group in named(document).items():
        answer = children(group, "19227008")[0].ConceptCodeSequence[0]
        value = float(numbers(group)[0].MeasuredValueSequence[0].NumericValue)
        said[name] = (answer.CodeMeaning, value, bool(children(group, "121071")))
    # Only what is present may stand there as a finding.
    assert said == {
        "marker": ("Present", 0.97, True),
        "tube": ("Absent", 0.02, False),
        "clip": ("Indeterminate", 0.5, False),
    }
    assert "Foreign body (tube): absent, probability 0.020, threshold 0.500" in words(document)


def test_texts_of_one_image_do_not_cover_one_another():
    document = report(answers(), radiograph())
    places = {
        tuple(points(next(c for c in walk(group) if c.ValueType == "SCOORD"))[0])
        for group in groups(document)
    }
    assert len({down for _, down in places}) == 3


def test_a_box_and_a_lesion_of_one_kind_are_tracked_apart():
    made = series()
    both = replace(lesions(made.volume), detections=replace_kind(boxes(index=2), "lesion"))
    assert set(named(report(both, made))) >= {"lesion 1", "lesion 2", "lesion box 1", "lesion box 2"}


def replace_kind(findings: Findings, kind: str):
    return tuple(replace(found, kind=kind) for found in findings.detections)
