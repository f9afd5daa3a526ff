"""Assessments from the spool into the ledger: read once, read again, refused with a reason, never a crash."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from appliance.assemble import assessments as assessments_module
from appliance.assemble.assessments import Assessor
from appliance.assemble.limits import DEFAULT
from appliance.assemble.verdict import judge
from appliance.core.clock import HeldClock
from appliance.core.instance import Instance
from appliance.core.words import StudyState
from appliance.ledger import arrivals, assessments, counts, events, results, studies
from appliance.ledger.assessments import READ, UNCLEAR, UNREADABLE, Judgement
from appliance.ledger.engine import Ledger
from appliance.results.context import EncodedObject
from appliance.spool.store import Spool
from appliance.worker.freeze import freeze
from tests.appliance.assemble import papers
from tests.appliance.ledger import given

EXPLICIT = "1.2.840.10008.1.2.1"
RUBBISH = bytes(range(256)) * 4


class Bench:
    """A study whose result the box made and sent, and what comes back for it."""

    def __init__(self, ledger: Ledger, root: Path, clock: HeldClock) -> None:
        self.ledger, self.clock, self.root = ledger, clock, root
        self.kept, self.results = Spool(root), Spool(root, "results")
        self.assessor = Assessor(ledger, self.kept)
        made = papers.two_lesions()
        self.report = papers.report_of(made)
        self.study_uid = str(self.report.StudyInstanceUID)
        with ledger.write() as tx:
            arrivals.add(tx, given.instance(study=self.study_uid), calling_ae="CT1", at=given.NOW)
            (job_id,) = given.decided(tx, self.study_uid)
            job = given.leased(tx, job_id)
            frozen = freeze(self.results, made, ae_title="READSIDE", at=given.NOW)
            ending = replace(given.ending(job_id), objects=frozen, send_to={})
            assert results.end(tx, job, ending, at=given.NOW)
            result = results.find_of_job(tx, job_id)
        assert result is not None
        self.result_id = result.id

    def arrive(self, paper: Dataset, *, data: bytes | None = None) -> Instance:
        """Keep a document that a workstation sent now."""
        encoded = EncodedObject(
            output="sr",
            sop_class_uid=str(paper.SOPClassUID),
            sop_instance_uid=str(paper.SOPInstanceUID),
            series_uid=str(paper.SeriesInstanceUID),
            transfer_syntax_uid=EXPLICIT,
            series_description="",
            modality="SR",
            data=papers.encoded(paper) if data is None else data,
        )
        (item,) = freeze(self.kept, [encoded], ae_title="WS", at=self.clock.now())
        instance = Instance(
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
            study_uid=self.study_uid,
            series_uid=item.series_uid,
            transfer_syntax_uid=item.transfer_syntax_uid,
            location=item.location,
            digest=item.digest,
            pixel_offset=None,
            pixel_bytes=None,
            facts={"Modality": "SR"},
        )
        with self.ledger.write() as tx:
            arrivals.add(tx, instance, calling_ae="WS", at=self.clock.now())
        return instance

    def rows(self) -> list[tuple[int, Judgement, str]]:
        with self.ledger.read() as tx:
            found = assessments.of_study(tx, self.study_uid)
        return [(each.result_id, each.judgement, each.tracking_uid) for each in found]

    def events(self, *words: str) -> list[events.Event]:
        with self.ledger.read() as tx:
            return [event for event in events.of_study(tx, self.study_uid) if event.word in words]


@pytest.fixture
def bench(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Bench:
    return Bench(ledger, tmp_path / "root", clock)


def test_an_acceptance_is_read_once_and_told_in_one_line(bench):
    bench.arrive(papers.reviewed(bench.report))
    assert bench.assessor.turn() == 1
    assert bench.assessor.turn() == 0
    assert bench.rows() == [(bench.result_id, Judgement.ACCEPTED, "")]
    (line,) = bench.events(READ, UNCLEAR, UNREADABLE)
    assert line.detail == {"result": bench.result_id, "verdict": "accepted"}


def test_a_rejection_note_is_read_as_one(bench):
    bench.arrive(papers.selection(bench.report))
    assert bench.assessor.turn() == 1
    assert bench.rows() == [(bench.result_id, Judgement.REJECTED, "")]


def test_an_assessment_opens_no_round_and_no_job_and_the_result_stands(bench):
    with bench.ledger.read() as tx:
        before, was = given.study(tx, bench.study_uid), counts.count(tx)
    bench.arrive(papers.reviewed(bench.report))
    bench.assessor.turn()
    with bench.ledger.read() as tx:
        now = counts.count(tx)
        assert given.study(tx, bench.study_uid) == before
        assert before.state is StudyState.DECIDED
        assert (now.jobs, now.decisions, now.balance) == (was.jobs, was.decisions, 0)


def test_a_process_that_died_after_reading_reads_again_and_makes_the_same_rows(bench):
    root = papers.content_of(bench.report)
    papers.change_a_number(papers.groups(root)[0])
    bench.arrive(papers.reviewed(bench.report, root))
    bench.assessor.turn()
    once, told = bench.rows(), len(bench.events(READ))
    assert len(once) == 3
    again = Assessor(bench.ledger, bench.kept)
    assert again.turn() == 0
    assert (bench.rows(), len(bench.events(READ))) == (once, told)


def test_a_process_that_died_before_its_rows_were_there_loses_no_assessment(bench, monkeypatch):
    bench.arrive(papers.reviewed(bench.report))

    def dies(*_args, **_named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(assessments, "record", dies)
        with pytest.raises(KeyboardInterrupt):
            bench.assessor.turn()
    assert bench.rows() == []
    assert Assessor(bench.ledger, bench.kept).turn() == 1


def test_two_documents_about_one_result_are_two_rows(bench):
    bench.arrive(papers.reviewed(bench.report))
    bench.clock.advance(60)
    bench.arrive(papers.selection(bench.report))
    assert bench.assessor.turn() == 2
    assert [row[1] for row in bench.rows()] == [Judgement.ACCEPTED, Judgement.REJECTED]


@pytest.mark.parametrize(
    ("paper", "data", "word"),
    [
        (lambda report: papers.reviewed(report, verified=False), None, UNCLEAR),
        (lambda report: papers.reviewed(report), RUBBISH, UNREADABLE),
    ],
)
def test_what_cannot_be_told_is_one_line_however_often_it_is_read(bench, paper, data, word):
    bench.arrive(paper(bench.report), data=data)
    for _ in range(2):
        assert bench.assessor.turn() == 0
        bench.assessor = Assessor(bench.ledger, bench.kept)
    (line,) = bench.events(READ, UNCLEAR, UNREADABLE)
    assert line.word == word
    assert line.detail["reason"]
    assert bench.rows() == []


def test_a_document_whose_bytes_are_gone_is_one_line(bench):
    instance = bench.arrive(papers.reviewed(bench.report))
    bench.kept.path(instance.location).unlink()
    assert bench.assessor.turn() == 0
    assert [event.word for event in bench.events(READ, UNCLEAR, UNREADABLE)] == [UNREADABLE]


def test_a_fault_that_nobody_foresaw_stops_neither_the_turn_nor_the_next_document(bench, monkeypatch):
    bench.arrive(papers.reviewed(bench.report))
    bench.arrive(papers.selection(bench.report))
    real, calls = judge, []

    def odd(*args):
        calls.append(args)
        if len(calls) == 1:
            raise ZeroDivisionError
        return real(*args)

    monkeypatch.setattr(assessments_module, "judge", odd)
    assert bench.assessor.turn() == 1
    (line,) = bench.events(UNREADABLE)
    assert "ZeroDivisionError" in line.detail["reason"]


def test_own_objects_that_come_back_are_no_assessment(bench):
    bench.arrive(bench.report)
    assert bench.assessor.turn() == 0
    assert bench.events(READ, UNCLEAR, UNREADABLE) == []
    assert bench.events("result.returned", "result.returned_changed")


def test_many_documents_are_read_a_few_a_turn_and_all_in_the_end(bench):
    limits = replace(DEFAULT, documents_per_turn_max=2, rows_per_turn_max=5, rows_again=4)
    bench.assessor = Assessor(bench.ledger, bench.kept, limits=limits)
    for number in range(7):
        verified = number % 2 == 0
        bench.arrive(papers.reviewed(bench.report, verified=verified))
    turns = [bench.assessor.turn() for _ in range(8)]
    assert max(turns) <= 2
    assert len(bench.rows()) == 4
    assert len(bench.events(UNCLEAR)) == 3


def test_nothing_of_an_assessment_in_the_ledger_says_who_judged(bench):
    bench.arrive(papers.reviewed(bench.report))
    bench.assessor.turn()
    with bench.ledger.read() as tx:
        everything = repr(assessments.of_study(tx, bench.study_uid)) + repr(
            events.of_study(tx, bench.study_uid)
        )
        everything += repr([instance.facts for instance in studies.instances_of(tx, bench.study_uid)])
    for said in (*papers.READER.split("^"), papers.ORGANIZATION):
        assert said not in everything
