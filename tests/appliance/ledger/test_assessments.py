"""What people said of results: the same rows however often, and counts by model version."""

from __future__ import annotations

from dataclasses import replace

from appliance.core.instance import Instance
from appliance.ledger import arrivals, assessments, decisions, events, results
from appliance.ledger.assessments import Assessment, Judgement, Paper
from tests.appliance.ledger import given

SR, KOS = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.59"
ACCEPTED, MODIFIED, REJECTED = Judgement.ACCEPTED, Judgement.MODIFIED, Judgement.REJECTED


def a_result(ledger, *, route="bands", study=given.STUDY, **work) -> int:
    """A result of one study and route."""
    with ledger.write() as tx:
        given.kept(tx, 1, study=study, series=f"{study}.1")
        held = given.ready(tx, study)
        assert held.content_digest is not None
        taken = given.decision(held.content_digest, route=route, uid=study, **work)
        opened = decisions.record(tx, held, [taken], at=given.NOW)
        assert opened is not None
        (job_id,) = opened
        results.end(tx, given.leased(tx, job_id), given.ending(job_id, send_to={}), at=given.NOW)
        found = results.find_of_job(tx, job_id)
        assert found is not None
        return found.id


def said(result_id, judgement, *, paper="1.9.1", tracking="", at=given.NOW, study=given.STUDY) -> Assessment:
    return Assessment(
        result_id=result_id,
        study_uid=study,
        sop_instance_uid=paper,
        judgement=judgement,
        tracking_uid=tracking,
        calling_ae="WS",
        assessed_at=at,
    )


def record(ledger, *made) -> int:
    with ledger.write() as tx:
        return assessments.record(tx, made, at=given.NOW + 5)


def document(number: int, *, sop_class_uid: str = SR, study: str = given.STUDY) -> Instance:
    base = given.instance(number, series="1.9", study=study, facts={"Modality": "SR"})
    return replace(base, sop_class_uid=sop_class_uid)


def test_the_same_document_read_twice_is_the_same_rows_and_one_line(ledger):
    result_id = a_result(ledger)
    rows = [said(result_id, MODIFIED), said(result_id, REJECTED, tracking="2.25.1")]
    assert record(ledger, *rows) == 2
    assert record(ledger, *rows) == 0
    with ledger.read() as tx:
        assert assessments.of_study(tx, given.STUDY) == rows
        assert assessments.of_result(tx, result_id) == rows
        lines = [e for e in events.of_study(tx, given.STUDY) if e.word == assessments.READ]
    assert [line.detail for line in lines] == [
        {"result": result_id, "verdict": "modified, 1 finding rejected"}
    ]


def test_each_result_counts_once_for_its_version_by_what_was_said_last(ledger):
    first = a_result(ledger)
    second = a_result(ledger, study="1.2.4", model_version="2.0.0", model_digest="sha256:22")
    record(ledger, said(first, ACCEPTED))
    record(ledger, said(first, REJECTED, paper="1.9.2", at=given.NOW + 60))
    record(ledger, said(second, MODIFIED, paper="1.9.3", study="1.2.4"))
    record(ledger, said(second, ACCEPTED, paper="1.9.3", tracking="2.25.1", study="1.2.4"))
    record(ledger, said(second, REJECTED, paper="1.9.3", tracking="2.25.2", study="1.2.4"))
    with ledger.read() as tx:
        one, two = assessments.by_version(tx)
    nothing = {"accepted": 0, "modified": 0, "rejected": 0}
    assert (one.model_name, one.model_version) == ("ct-tissue-bands", "1.0.0")
    assert one.as_dict() == nothing | {"rejected": 1, "findings": nothing}
    assert two.model_version == "2.0.0"
    assert two.as_dict() == nothing | {"modified": 1, "findings": nothing | {"accepted": 1, "rejected": 1}}


def test_an_earlier_document_that_is_read_late_does_not_outweigh_a_newer_one(ledger):
    result_id = a_result(ledger)
    record(ledger, said(result_id, REJECTED, paper="1.9.2", at=given.NOW + 60))
    record(ledger, said(result_id, ACCEPTED, at=given.NOW))
    with ledger.read() as tx:
        (only,) = assessments.by_version(tx)
    assert only.results[REJECTED] == 1


def test_what_is_read_are_documents_of_studies_with_results_that_gave_no_row_yet(ledger):
    result_id = a_result(ledger)
    with ledger.write() as tx:
        for number, sop_class_uid in ((1, SR), (2, KOS), (3, "1.2.840.10008.5.1.4.1.1.104.1")):
            arrivals.add(tx, document(number, sop_class_uid=sop_class_uid), calling_ae="WS", at=given.NOW)
        arrivals.add(tx, document(4, study="7.7"), calling_ae="WS", at=given.NOW)
        own = results.objects_of(tx, result_id)[0]
        back = replace(document(5), sop_instance_uid=own.sop_instance_uid, digest=own.digest)
        arrivals.add(tx, back, calling_ae="PACS", at=given.NOW)
    record(ledger, said(result_id, ACCEPTED, paper="1.9.1"))
    with ledger.read() as tx:
        last = assessments.newest(tx)
        found = assessments.unread(tx, after=assessments.oldest_readable(tx), until=last, limit=10)
        assert [paper.instance.sop_instance_uid for paper in found] == ["1.9.2"]
        assert found[0].calling_ae == "WS"
        assert assessments.unread(tx, after=last, until=last, limit=10) == []


def test_why_a_document_gave_no_verdict_is_said_once(ledger):
    a_result(ledger)
    paper = Paper(id=12, instance=document(1), calling_ae="WS", received_at=given.NOW)
    with ledger.write() as tx:
        assert assessments.set_aside(tx, assessments.UNCLEAR, paper, reason="it is vague", at=given.NOW)
        assert not assessments.set_aside(tx, assessments.UNCLEAR, paper, reason="it is vague", at=given.NOW)
        other = replace(paper, id=13)
        assert assessments.set_aside(tx, assessments.UNCLEAR, other, reason="it is vague", at=given.NOW)


def test_a_ledger_without_assessments_counts_nothing(ledger):
    with ledger.read() as tx:
        assert assessments.by_version(tx) == []
        assert (assessments.newest(tx), assessments.oldest_readable(tx)) == (0, 0)
