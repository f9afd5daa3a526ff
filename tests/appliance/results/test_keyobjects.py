"""Key Object Selections: the images with a finding, what is on them, and the report; nothing more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from highdicom.ko import KeyObjectSelectionDocument
from pydicom import Dataset

from appliance.results.encode import encode
from appliance.results.keyobjects import key_images
from appliance.results.limits import Limits
from models.findings import Findings
from tests.appliance.results.given import (
    Series,
    answers,
    bands,
    boxes,
    context,
    lesions,
    multiframe,
    nothing,
    only,
    radiograph,
    read,
    series,
)


def selections(findings: Findings, made: Series, *others: str) -> list[Dataset]:
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=findings,
        outputs=frozenset({"kos", *others}),
    )
    return [read(item) for item in only(objects, "kos")]


def references(document: Dataset) -> list[tuple[str, str, int | None]]:
    found = []
    for item in document.ContentSequence:
        if "ReferencedSOPSequence" in item:
            (one,) = item.ReferencedSOPSequence
            found.append((item.ValueType, one.ReferencedSOPInstanceUID, one.get("ReferencedFrameNumber")))
    return found


def description(document: Dataset) -> str:
    (text,) = [c for c in document.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "113012"]
    return str(text.TextValue)


def evidence(document: Dataset) -> set[str]:
    return {
        instance.ReferencedSOPInstanceUID
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for entry in study.ReferencedSeriesSequence
        for instance in entry.ReferencedSOPSequence
    }


def test_it_names_the_slices_with_the_largest_areas_and_the_report_of_the_result() -> None:
    made = series()
    (document,) = selections(lesions(made.volume), made, "sr")
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.59"
    assert document.Modality == "KO"
    assert document.ConceptNameCodeSequence[0].CodeValue == "113000"
    images = [made.sources[index].SOPInstanceUID for index in (2, 4)]
    report = context().uid("sr", "sr", "1")
    assert references(document) == [
        ("IMAGE", images[0], None),
        ("IMAGE", images[1], None),
        ("COMPOSITE", report, None),
    ]
    assert evidence(document) == {*images, report}


def test_it_says_what_is_on_each_image_and_that_nobody_has_verified_it() -> None:
    made = series()
    (document,) = selections(lesions(made.volume), made, "sr")
    text = description(document)
    assert text.startswith("FINDING: 2 dense lesions were marked. ")
    assert "Image 4 (3 of 6 by position), at " in text
    assert ": Lesion 1. Image 2 (5 of 6 by position), at " in text
    assert text.endswith(
        "PRELIMINARY, UNVERIFIED. NOT FOR PRIMARY DIAGNOSIS. Made by software; not verified by a person."
    )
    assert document.SeriesDescription.startswith("AI key images ")
    assert document.SeriesDescription.endswith("not for primary diagnosis")
    (equipment,) = document.ContributingEquipmentSequence
    assert equipment.DeviceUID == context().provenance.model_device_uid


def test_without_a_report_it_names_the_page() -> None:
    made = series()
    (document,) = selections(lesions(made.volume), made)
    assert references(document)[-1][1] == context().uid("text-sr", "text-sr", "1")


def test_frames_are_named_by_number() -> None:
    made = multiframe(series())
    (document,) = selections(lesions(made.volume), made, "sr")
    assert [frame for kind, _, frame in references(document) if kind == "IMAGE"] == [4, 2]
    assert len(evidence(document)) == 2


def test_a_radiograph_with_boxes_is_a_key_image() -> None:
    made = radiograph()
    (document,) = selections(boxes(), made, "sr")
    assert [uid for kind, uid, _ in references(document) if kind == "IMAGE"] == [
        made.sources[0].SOPInstanceUID
    ]
    assert "Image 1: Lesion 1, Lesion 2." in description(document)


@pytest.mark.parametrize("findings", [nothing(), answers()])
def test_where_nothing_was_marked_there_is_no_selection(findings: Findings) -> None:
    assert selections(findings, radiograph()) == []


def test_the_number_of_key_images_is_bounded_and_the_first_lesions_keep_theirs() -> None:
    made = series()
    few = key_images(lesions(made.volume), made.volume, limits=Limits(key_images_max=1))
    assert few == {2: ["Lesion 1"]}


def test_many_regions_of_one_image_are_counted() -> None:
    made = series()
    whole = lesions(made.volume)
    many = tuple(replace(whole.lesions[0], label=str(n)) for n in range(1, 13))
    (document,) = selections(replace(whole, lesions=many), made, "sr")
    assert "Lesion 8 and 4 more." in description(document)


def test_segments_are_key_where_they_are_largest() -> None:
    made = series()
    chosen = key_images(bands(made.volume), made.volume)
    largest = [int(np.argmax(s.mask.sum(axis=(1, 2)))) for s in bands(made.volume).segments]
    assert chosen == {largest[0]: ["bone"], largest[1]: ["spongy"]}


def test_another_library_reads_it_back() -> None:
    made = series()
    (document,) = selections(lesions(made.volume), made, "sr")
    again = KeyObjectSelectionDocument.from_dataset(document)
    found = [str(item.referenced_sop_instance_uid) for item in again.content.get_references()]
    assert found == [uid for _, uid, _ in references(document)]
    for uid in found:
        assert again.resolve_reference(uid)[0] == made.sources[0].StudyInstanceUID
