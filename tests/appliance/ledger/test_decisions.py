"""Decisions: one row for each content and route, recorded once, with the jobs they open."""

from __future__ import annotations

import pytest

from appliance.core.words import JobState, StudyState, Verdict
from appliance.ledger import counts, decisions, events, jobs, studies
from tests.appliance.ledger import given


def test_every_route_leaves_a_row_and_only_matches_open_jobs(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, 2)
        study = given.ready(tx)
        opened = decisions.record(
            tx, study, [given.decision("sha256:c"), given.no_match("lesion")], at=given.NOW
        )
        assert opened is not None
        (job_id,) = opened
        bands, lesion = decisions.of_study(tx, given.STUDY)
        assert (bands.route, bands.verdict, bands.job_id) == ("bands", Verdict.RUN, job_id)
        assert (lesion.route, lesion.verdict, lesion.job_id) == ("lesion", Verdict.NO_MATCH, None)
        assert lesion.reason == "no series matches"
        assert bands.series == given.decision("sha256:c").series
        assert bands.content_digest == study.content_digest
        assert given.study(tx).state is StudyState.DECIDED
        assert counts.count(tx).balance == 0
        told = [event.detail for event in events.of_study(tx, given.STUDY) if event.word == "route.decided"]
    assert [detail["route"] for detail in told] == ["bands", "lesion"]


def test_decisions_are_recorded_once(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        study = given.ready(tx)
        assert decisions.record(tx, study, [given.decision("sha256:c")], at=given.NOW) is not None
    with ledger.write() as tx:
        assert decisions.record(tx, study, [given.decision("sha256:c")], at=given.NOW) is None
        assert len(decisions.of_study(tx, given.STUDY)) == 1
        assert len(jobs.of_study(tx, given.STUDY)) == 1


def test_a_study_that_was_reopened_meanwhile_is_not_decided(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        study = given.ready(tx)
        given.kept(tx, 2, at=given.NOW + 1)
        assert decisions.record(tx, study, [given.decision("sha256:c")], at=given.NOW) is None
        assert decisions.of_study(tx, given.STUDY) == []
        assert jobs.of_study(tx, given.STUDY) == []


def test_a_study_without_content_cannot_be_decided(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        with pytest.raises(AssertionError, match="after it became ready"):
            decisions.record(tx, given.study(tx), [], at=given.NOW)


def test_no_route_at_all_is_a_decision_too(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        assert decisions.record(tx, given.ready(tx), [], at=given.NOW) == []
        assert given.study(tx).state is StudyState.DECIDED
        assert counts.count(tx).balance == 0


def test_new_content_gets_new_decisions_and_the_old_ones_stay(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        (first,) = given.decided(tx)
        given.kept(tx, 2, at=given.NOW + 1)
        (second,) = given.decided(tx, at=given.NOW + 2)
        assert [d.job_id for d in decisions.of_study(tx, given.STUDY)] == [first, second]
        assert counts.count(tx).balance == 0


def test_late_images_of_another_series_do_not_repeat_the_work(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        (first,) = (
            decisions.record(tx, given.ready(tx), [given.decision("sha256:same input")], at=given.NOW) or []
        )
        given.kept(tx, 1, series="1.2.3.7", at=given.NOW + 1)
        (second,) = (
            decisions.record(tx, given.ready(tx), [given.decision("sha256:same input")], at=given.NOW) or []
        )
        assert second == first
        assert [job.state for job in jobs.of_study(tx, given.STUDY)] == [JobState.WAITING]
        assert len(decisions.of_study(tx, given.STUDY)) == 2


def test_a_refused_series_still_opens_a_job_that_will_say_so(ledger):
    refused = given.decision("sha256:c", refusal="12 slices, 20 are needed")
    with ledger.write() as tx:
        given.kept(tx, 1)
        (job_id,) = decisions.record(tx, given.ready(tx), [refused], at=given.NOW) or []
        job = jobs.find(tx, job_id)
        assert job is not None
        assert job.refusal == "12 slices, 20 are needed"
        assert studies.find(tx, given.STUDY) is not None
