"""The text page is read by people first: answer, numbers, what is missing, who made it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom import Dataset

from appliance.results.context import Notice
from appliance.results.page import findings_page, notice_page
from tests.appliance.results.given import bands, context, ct_header, nothing, read, series

NOTICE = Notice(
    kind="not eligible",
    reason="The slice distance changes from 1.1 to 7.4 mm.",
    what_to_do="Send a reconstruction with one slice distance.",
)


def sections(document: Dataset) -> list[tuple[str, list[str]]]:
    boxes = [c for c in document.ContentSequence if c.ValueType == "CONTAINER"]
    return [
        (box.ConceptNameCodeSequence[0].CodeMeaning, [text.TextValue for text in box.ContentSequence])
        for box in boxes
    ]


def page(findings) -> Dataset:
    return read(findings_page(context(), sources=series().sources, findings=findings))


def test_it_is_a_text_type_report_that_no_viewer_takes_for_measurements():
    document = page(bands(series().volume))
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.22"
    assert document.ConceptNameCodeSequence[0].CodeValue == "18748-4"
    assert (document.PreliminaryFlag, document.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")


def test_the_answer_comes_first_then_numbers_then_origin():
    (first, conclusion), (second, found), (third, origin) = sections(page(bands(series().volume)))
    assert (first, second, third) == ("Conclusions", "Findings", "Current Procedure Descriptions")
    assert conclusion[0] == "MEASURED: Volumes of three tissue bands were measured."
    assert "bone: Volume: 123.5 mL; Mean Attenuation Coefficient: 700.5 HU." in found
    assert any(line.startswith("Not measured: air") for line in found)
    text = " ".join(origin)
    for part in ("Readside 0.1.0", "ct-tissue-bands 1.0.0", "ONNX Runtime", "6 of series", "NOT FOR PRIMARY"):
        assert part in text


def test_every_text_ends_with_a_stop_because_viewers_join_them():
    assert all(line.endswith(".") for _, lines in sections(page(bands(series().volume))) for line in lines)


def test_no_finding_says_so_and_has_no_empty_section():
    found = sections(page(nothing()))
    assert [heading for heading, _ in found] == ["Conclusions", "Current Procedure Descriptions"]
    assert found[0][1][0] == "NO FINDING: No dense lesion was marked."


@pytest.mark.parametrize("kind", ["not eligible", "failed", "not run"])
def test_a_notice_cannot_be_read_as_a_negative(kind):
    made = notice_page(context(), sources=[ct_header()], notice=replace(NOTICE, kind=kind))
    document = read(made)
    lines = sections(document)[0][1]
    assert lines[0] == f"NOT ANALYSED ({kind}). This is not a negative result."
    assert NOTICE.reason in lines[1]
    assert sections(document)[1][1] == [NOTICE.what_to_do]
    assert made.series_description.startswith("NOT ANALYSED")
    assert "NO FINDING" not in str(document)


def test_a_notice_can_be_about_objects_of_any_class():
    header = ct_header()
    header.SOPClassUID = "1.2.3.4.5.6"
    for keyword in ("PixelSpacing", "ImagePositionPatient", "FrameOfReferenceUID", "Modality", "Rows"):
        header.pop(keyword, None)
    document = read(notice_page(context(), sources=[header], notice=NOTICE))
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    instance = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert instance.ReferencedSOPClassUID == "1.2.3.4.5.6"


def test_a_slower_engine_is_told():
    who = replace(context().provenance, stepped_down="The GPU engine is not built.")
    document = read(
        findings_page(replace(context(), provenance=who), sources=series().sources, findings=nothing())
    )
    assert "Engine stepped down: The GPU engine is not built." in sections(document)[-1][1]
    assert "stepped down" in document.ContributingEquipmentSequence[0].ContributionDescription
