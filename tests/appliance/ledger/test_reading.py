"""What people look at, the same on both databases."""

from __future__ import annotations

import pytest

from appliance.core.words import DeliveryState, InstanceState, JobState, Outcome, StudyState
from appliance.ledger import events, jobs, reading
from tests.appliance.console import filling
from tests.appliance.console.filling import FAILED, GATHERING, HELD, LATE, NORMAL


@pytest.fixture
def tx(ledger, clock, tmp_path):
    filling.fill(ledger, tmp_path, clock)
    with ledger.read() as opened:
        yield opened


def test_lines_are_newest_first_and_filtered(tx):
    assert [line.study.study_uid for line in reading.lines(tx, 9)] == [GATHERING, HELD, FAILED, NORMAL, LATE]
    assert [line.study.study_uid for line in reading.lines(tx, 2, offset=3)] == [NORMAL, LATE]
    assert [line.study.study_uid for line in reading.lines(tx, 9, state=StudyState.HELD)] == [HELD]
    assert {line.study.study_uid for line in reading.lines(tx, 9, attention=True)} == {HELD, FAILED}
    assert (reading.count_lines(tx), reading.count_lines(tx, attention=True)) == (5, 2)


def test_a_line_tells_of_the_newest_work(tx):
    failed, late = reading.named(tx, [FAILED, LATE]).values()
    assert failed.instances == {InstanceState.STUDY: 12}
    assert failed.deliveries == {DeliveryState.DEAD: 2}
    assert [(r.state, r.outcome) for r in failed.routes] == [(JobState.FAILED, Outcome.FAILED)]
    assert [(r.state, r.outcome) for r in late.routes] == [(JobState.WAITING, None)]
    assert {head["SeriesNumber"] for head in late.heads} == {1, 2, 3}
    assert reading.line(tx, "9.9") is None
    assert reading.named(tx, []) == {}


def test_series(tx):
    assert reading.series_counts(tx, LATE) == {f"{LATE}.1": 2, f"{LATE}.2": 6, f"{LATE}.3": 5}
    assert reading.series_heads(tx, LATE)[f"{LATE}.1"]["SeriesDescription"] == "Scout"


def test_what_waits(tx, clock):
    now = clock.now()
    assert [(w.peer, w.count) for w in reading.waiting_deliveries(tx, before=now - 3600)] == [("pacs", 2)]
    assert reading.waiting_deliveries(tx, before=now - 9000) == []
    assert reading.oldest_waiting_job_at(tx) == pytest.approx(now - 8000 + 701)


def test_failing_jobs_until_a_later_job_or_a_persons_word(tx, ledger, clock):
    failing = reading.failing_jobs(tx, limit=9)
    assert [job.study_uid for job in failing] == [FAILED]
    with ledger.write() as writing:
        events.add(writing, reading.SEEN, at=clock.now(), study_uid=FAILED, by="amina")
    with ledger.read() as later:
        assert reading.failing_jobs(later, limit=9) == []
    with ledger.write() as writing:
        jobs.again(writing, failing[0], at=clock.now())
    with ledger.read() as later:
        assert [line.study.study_uid for line in reading.lines(later, 9, attention=True)] == [HELD, FAILED]


def test_totals_models_and_events(tx):
    assert reading.results_by_outcome(tx) == {Outcome.MEASURED: 2, Outcome.FAILED: 1, Outcome.NOT_ELIGIBLE: 1}
    (used,) = reading.models_used(tx, limit=9)
    assert (used.name, used.jobs, used.engine) == ("ct-tissue-bands", 5, "ONNX Runtime 1.31.1 CPU")
    newest = reading.recent_events(tx, 3, without=["route.decided"])
    assert len(newest) == 3
    assert all(event.word != "route.decided" for event in newest)
