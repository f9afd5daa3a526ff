"""Each verdict a reader can give by standard means, from documents made as workstations make them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes

from appliance.assemble.document import read_document
from appliance.assemble.verdict import Own, Said, Unclear, judge
from appliance.ledger.assessments import Judgement
from tests.appliance.assemble import papers
from tests.appliance.results import given

EXPLICIT = "1.2.840.10008.1.2.1"
ACCEPTED, MODIFIED, REJECTED = Judgement.ACCEPTED, Judgement.MODIFIED, Judgement.REJECTED


@pytest.fixture(scope="module")
def made():
    return papers.two_lesions()


@pytest.fixture
def report(made) -> Dataset:
    return papers.report_of(made)


@pytest.fixture
def own(made) -> list[Own]:
    return owned(made)


def owned(made, result_id: int = 7) -> list[Own]:
    """The objects of a result as the box knows them."""
    return [
        Own(
            result_id=result_id,
            sop_instance_uid=item.sop_instance_uid,
            document=read_document(item.data, EXPLICIT) if ".88." in item.sop_class_uid else None,
        )
        for item in made
    ]


def said(paper: Dataset, own: list[Own]) -> list[Said]:
    return judge(read_document(papers.encoded(paper), EXPLICIT), own)


def test_a_verified_successor_that_changes_nothing_accepts_the_result(report, own):
    assert said(papers.reviewed(report), own) == [Said(result_id=7, judgement=ACCEPTED)]


def test_a_changed_number_modifies_the_result_and_that_finding_alone(report, own):
    root = papers.content_of(report)
    first, second = papers.groups(root)
    papers.change_a_number(first)
    found = said(papers.reviewed(report, root), own)
    assert found[0] == Said(result_id=7, judgement=MODIFIED)
    assert {entry.tracking_uid: entry.judgement for entry in found[1:]} == {
        papers.tracking_uid(first): MODIFIED,
        papers.tracking_uid(second): ACCEPTED,
    }


def test_a_removed_finding_modifies_the_result_and_rejects_that_finding(report, own):
    root = papers.content_of(report)
    first, second = papers.groups(root)
    papers.keep_groups(root, [second])
    found = said(papers.reviewed(report, root), own)
    assert found[0] == Said(result_id=7, judgement=MODIFIED)
    assert {entry.tracking_uid: entry.judgement for entry in found[1:]} == {
        papers.tracking_uid(first): REJECTED,
        papers.tracking_uid(second): ACCEPTED,
    }


def test_a_finding_that_the_reader_added_modifies_the_result(report, own):
    root = papers.content_of(report)
    added = papers.groups(papers.content_of(report))[0]
    next(item for item in added.ContentSequence if papers.code_of(item) == "112040").UID = "2.25.99"
    papers.keep_groups(root, [*papers.groups(root), added])
    found = said(papers.reviewed(report, root), own)
    assert found[0].judgement is MODIFIED
    assert {entry.judgement for entry in found[1:]} == {ACCEPTED}


@pytest.mark.parametrize("part", ["place", "finding"])
def test_a_moved_outline_and_another_finding_are_changes_too(report, own, part):
    root = papers.content_of(report)
    group = papers.groups(root)[0]
    if part == "place":
        number = next(item for item in group.ContentSequence if item.ValueType == "NUM")
        shape = next(item for item in number.ContentSequence if item.ValueType == "SCOORD")
        shape.GraphicData = [value + 1.0 for value in shape.GraphicData]
    else:
        finding = next(item for item in group.ContentSequence if papers.code_of(item) == "121071")
        finding.ConceptCodeSequence = [CodedConcept("19227008", "SCT", "Foreign body")]
    found = said(papers.reviewed(report, root), own)
    assert [entry.judgement for entry in found].count(MODIFIED) == 2


def test_numbers_and_places_that_a_workstation_wrote_anew_are_no_change(report, own):
    root = papers.content_of(report)
    for group in papers.groups(root):
        papers.change_a_number(group, factor=1 + 1e-8)
        for number in (item for item in group.ContentSequence if item.ValueType == "NUM"):
            for shape in (item for item in number.ContentSequence if item.ValueType == "SCOORD"):
                shape.GraphicData = [round(value + 0.004, 3) for value in shape.GraphicData]
    assert said(papers.reviewed(report, root), own) == [Said(result_id=7, judgement=ACCEPTED)]


def test_a_document_that_nobody_verified_is_no_verdict(report, own):
    with pytest.raises(Unclear, match="verified"):
        said(papers.reviewed(report, verified=False), own)


def test_a_flag_of_verification_without_a_verifying_observer_is_no_verdict(report, own):
    paper = papers.reviewed(report)
    del paper.VerifyingObserverSequence
    with pytest.raises(Unclear, match="verified"):
        said(paper, own)


def test_a_verified_report_that_repeats_one_finding_judges_that_finding_alone(report, own):
    root = papers.content_of(report)
    second = papers.groups(root)[1]
    papers.keep_groups(root, [second])
    found = said(papers.reviewed(report, root, follows=False), own)
    assert found == [Said(result_id=7, judgement=ACCEPTED, tracking_uid=papers.tracking_uid(second))]
    papers.change_a_number(second)
    (changed,) = said(papers.reviewed(report, root, follows=False), own)
    assert changed.judgement is MODIFIED


def test_a_verified_report_that_only_cites_the_result_is_no_verdict(report, own):
    root = papers.content_of(report)
    papers.keep_groups(root, [])
    cited = papers.header(str(report.SOPInstanceUID), str(report.SOPClassUID), report=report)
    with pytest.raises(Unclear, match="neither follows"):
        said(papers.reviewed(report, root, follows=False, cites=[cited]), own)


def test_a_document_about_something_else_says_nothing(report):
    assert said(papers.reviewed(report), owned(papers.our_result(given.context(run=2)))) == []


@pytest.mark.parametrize(
    "title", [codes.DCM.RejectedForQualityReasons, codes.DCM.RejectedForPatientSafetyReasons]
)
def test_a_rejection_note_rejects_the_result(report, own, title):
    assert said(papers.selection(report, title), own) == [Said(result_id=7, judgement=REJECTED)]


@pytest.mark.parametrize(
    "title",
    [codes.DCM.OfInterest, codes.DCM.DataRetentionPolicyExpired, codes.DCM.IncorrectModalityWorklistEntry],
)
def test_a_selection_for_another_reason_says_nothing_of_the_result(report, own, title):
    assert said(papers.selection(report, title), own) == []


def test_a_selection_with_a_title_that_is_not_known_is_no_verdict(report, own):
    paper = papers.selection(report)
    paper.ConceptNameCodeSequence = [CodedConcept("bad", "99SITE", "Bad result")]
    with pytest.raises(Unclear, match="title"):
        said(paper, own)


def _coded(report: Dataset, *values: str) -> Dataset:
    """An assessment with a coded verdict, as one open implementation of the profile writes it."""
    paper = papers.reviewed(report, verified=False, follows=False)
    paper.ConceptNameCodeSequence = [CodedConcept("AIRA-001", "99PACS", "AI Result Assessment")]
    paper.ContentSequence = []
    for value in values:
        item = Dataset()
        item.RelationshipType, item.ValueType = "CONTAINS", "CODE"
        item.ConceptNameCodeSequence = [CodedConcept("AIRA-010", "99PACS", "Assessment Decision")]
        item.ConceptCodeSequence = [CodedConcept(value, "99PACS", "Decision")]
        paper.ContentSequence.append(item)
    reference = Dataset()
    reference.ReferencedSOPClassUID = report.SOPClassUID
    reference.ReferencedSOPInstanceUID = report.SOPInstanceUID
    paper.ReferencedSOPSequence = [reference]
    return paper


@pytest.mark.parametrize(
    ("value", "judgement"),
    [("AIRA-ACCEPT", ACCEPTED), ("AIRA-MODIFY", MODIFIED), ("AIRA-REJECT", REJECTED)],
)
def test_a_coded_verdict_is_taken_at_its_word(report, own, value, judgement):
    assert said(_coded(report, value), own) == [Said(result_id=7, judgement=judgement)]


def test_two_coded_verdicts_are_none(report, own):
    with pytest.raises(Unclear, match="more than one"):
        said(_coded(report, "AIRA-ACCEPT", "AIRA-REJECT"), own)


def test_a_verified_successor_of_a_text_page_is_compared_word_by_word():
    pages = papers.our_result(findings=lambda _volume: given.nothing(), outputs=("sr", "text-sr"))
    page = given.read(given.only(pages, "text-sr")[0])
    own = [entry for entry in owned(pages) if entry.sop_instance_uid == page.SOPInstanceUID]
    assert said(papers.reviewed(page), own) == [Said(result_id=7, judgement=ACCEPTED)]
    root = papers.content_of(page)
    texts = [item for item in papers.walk(root) if item.get("ValueType") == "TEXT"]
    text = next(item for item in texts if item.RelationshipType == "CONTAINS")
    text.TextValue = "There is a lesion."
    assert said(papers.reviewed(page, root), own) == [Said(result_id=7, judgement=MODIFIED)]


def test_a_successor_of_a_report_that_cannot_be_compared_is_no_verdict(report, own):
    lost = [replace(entry, document=None) for entry in own]
    with pytest.raises(Unclear, match="cannot be compared"):
        said(papers.reviewed(report), lost)
