"""Earlier numbers in a report: quoted beside those of the study, under one tracking UID; judged by others."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pydicom import Dataset

from appliance.results.context import Earlier, EncodedObject, Reference, ResultContext
from appliance.results.earlier import lines, standing
from appliance.results.encode import encode
from models.findings import Findings
from tests.appliance.results.given import answers, bands, context, lesions, only, read, series, write
from tests.appliance.results.sr_rules import children, code, faults, groups, numbers
from tests.appliance.results.test_validators import run

STUDY, REPORT = "1.2.826.0.1.3680043.10.7.1", "1.2.826.0.1.3680043.10.7.2"
DAY = date(2025, 11, 2)
VALUES = {
    ("bone", "Volume", "mL"): 100.0 / 3,
    ("bone", "Mean Attenuation Coefficient", "[hnsf'U]"): 650.25,
    ("fat", "Volume", "mL"): 11.5,
    ("bone", "Volume", "mm3"): 1.0,
    ("lesion 1", "Volume", "mL"): 2.0,
    (None, "Volume", "mL"): 3.0,
}


def then(**changes: object) -> Earlier:
    base = Earlier(
        study_uid=STUDY,
        day=DAY,
        report=Reference(
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            sop_instance_uid=REPORT,
            series_uid="1.2.826.0.1.3680043.10.7.3",
            study_uid=STUDY,
        ),
        model_version="1.0.0",
        same_version=True,
        values=VALUES,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


COMPARED = context(earlier=(then(),))


def made(by: ResultContext, findings: Findings | None = None, *outputs: str) -> list[EncodedObject]:
    given = series()
    return encode(
        by,
        sources=given.sources,
        volume=given.volume,
        findings=findings or bands(given.volume),
        outputs=frozenset(outputs or ("sr",)),
    )


@pytest.fixture(scope="module")
def report() -> Dataset:
    return read(only(made(COMPARED, None, "sr", "seg"), "sr")[0])


def texts(item: Dataset) -> list[str]:
    return [str(e.value) for e in item.iterall() if e.keyword == "TextValue"]


def value(item: Dataset) -> tuple[str, float, str]:
    measured = item.MeasuredValueSequence[0]
    return code(item), float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue


def test_the_numbers_are_quoted_from_the_earlier_report_with_its_study_and_date(report: Dataset):
    (section,) = children(report, "121068")
    assert section.RelationshipType == "CONTAINS"
    head = {code(item): item for item in children(section) if item.RelationshipType == "HAS OBS CONTEXT"}
    assert head["121001"].ConceptCodeSequence[0].CodeValue == "121003"
    (source,) = head["121002"].ReferencedSOPSequence
    assert (source.ReferencedSOPInstanceUID, source.ReferencedSOPClassUID.name) == (
        REPORT,
        "Comprehensive 3D SR Storage",
    )
    assert (head["121018"].UID, head["111060"].Date) == (STUDY, "20251102")


def test_each_stands_under_the_tracking_uid_of_the_number_it_is_compared_with(report: Dataset):
    (section,) = children(report, "121068")
    now = {children(group, "112040")[0].UID: group for group in groups(report)}
    quoted = children(section, "125007")
    assert len(quoted) == 2
    for group in quoted:
        mine = now[children(group, "112040")[0].UID]
        assert children(group, "112039")[0].TextValue == children(mine, "112039")[0].TextValue
        assert children(group, "C2348792")[0].TextValue == "2025-11-02"
        names = [(value(number)[0], value(number)[2]) for number in numbers(mine)]
        assert [(value(number)[0], value(number)[2]) for number in numbers(group)] == names
    found = {value(number) for group in quoted for number in numbers(group)}
    assert found == {
        ("118565006", 33.33333333, "mL"),
        ("112031", 650.25, "[hnsf'U]"),
        ("118565006", 11.5, "mL"),
    }


def test_what_viewers_draw_is_what_it_was(report: Dataset):
    alone = read(only(made(context(), None, "sr", "seg"), "sr")[0])
    assert faults(report) == []
    assert len(groups(report)) == len(groups(alone))
    assert [list(map(value, numbers(g))) for g in groups(report)] == [
        list(map(value, numbers(g))) for g in groups(alone)
    ]
    assert children(alone, "121068") == []


def test_the_earlier_report_is_evidence_of_another_procedure_and_no_predecessor(report: Dataset):
    (study,) = report.PertinentOtherEvidenceSequence
    assert study.StudyInstanceUID == STUDY
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == REPORT
    assert "PredecessorDocumentsSequence" not in report
    current = [study.StudyInstanceUID for study in report.CurrentRequestedProcedureEvidenceSequence]
    assert STUDY not in current


def test_a_comparison_is_another_result_and_the_same_one_the_same_bytes():
    first, again = made(COMPARED, None, "sr", "text-sr"), made(COMPARED, None, "sr", "text-sr")
    assert [one.data for one in first] == [one.data for one in again]
    alone = made(context(), None, "sr", "text-sr")
    other = made(context(earlier=(then(report=replace(then().report, sop_instance_uid="1.2.9")),)))
    uids = {one.sop_instance_uid for one in (*first, *alone, *other)}
    assert len(uids) == 5


def test_the_readers_see_the_numbers_and_their_day():
    (page,) = only(made(COMPARED, None, "text-sr"), "text-sr")
    said = texts(read(page))
    assert any(line.startswith("On 2025-11-02, bone: Volume: 33.33 mL; Mean Attenuation") for line in said)
    (report,) = only(made(COMPARED), "sr")
    assert any(line.startswith("On 2025-11-02, fat: Volume: 11.50 mL") for line in texts(read(report)))


def test_another_version_says_so():
    other = context(earlier=(then(same_version=False, model_version="0.9.0"),))
    findings = bands(series().volume)
    assert standing(other, findings) == [
        "Compared with the study of 2025-11-02, analysed by version 0.9.0 of this model."
    ]
    assert all(line.startswith("On 2025-11-02 by version 0.9.0, ") for line in lines(other, findings))
    (section,) = children(read(only(made(other), "sr")[0]), "121068")
    versions = {children(group, "111003")[0].TextValue for group in children(section, "125007")}
    assert versions == {"0.9.0"}


def test_lesions_are_not_matched_by_their_rank():
    given = series()
    findings = lesions(given.volume)
    named = {("lesion 1", "Volume", "mL"): 2.0, (None, "Volume", "mL"): 2.0, ("lesion", "Volume", "mL"): 2.0}
    by = context(earlier=(then(values=named),))
    (report,) = only(made(by, findings), "sr")
    assert children(read(report), "121068") == []
    assert "PertinentOtherEvidenceSequence" not in read(report)
    assert standing(by, findings)[0].startswith("Nothing to compare with in the study of 2025-11-02")


def test_several_studies_are_quoted_one_after_the_other():
    older = then(
        study_uid="1.2.8", day=date(2024, 1, 9), report=replace(then().report, sop_instance_uid="1.2.8.9")
    )
    (report,) = only(made(context(earlier=(then(), older))), "sr")
    sections = children(read(report), "121068")
    assert [children(section, "111060")[0].Date for section in sections] == ["20251102", "20240109"]


@pytest.mark.parametrize("kind", ["bands", "answers"])
def test_others_find_no_error_in_it(tmp_path: Path, kind: str):
    given = series()
    findings = bands(given.volume) if kind == "bands" else answers()
    values = {(m.segment, m.name.meaning, m.unit.value): 0.5 for m in findings.measurements} | VALUES
    by = context(earlier=(then(values=values), then(study_uid="1.2.8", same_version=False)))
    for item in made(by, findings, "sr", "sr-cornerstone", "seg", "text-sr", "pdf", "sc"):
        path = write(item, tmp_path, item.output)
        judged = run("dciodvfy", "-new", str(path))
        assert [line for line in judged.stderr.splitlines() if line.startswith("Error")] == []
        if item.modality == "SR":
            shown = run("dsrdump", "-Ee", str(path))
            assert shown.returncode == 0, shown.stderr
            assert "E: " not in shown.stderr
