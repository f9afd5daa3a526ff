"""What may be asked of a worker soon."""

from __future__ import annotations

from appliance.core.words import JobState, StudyState
from appliance.ledger import foresight, jobs, studies
from tests.appliance.ledger import given


def test_series_of_gathering_studies_come_in_the_order_in_which_they_began(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1, at=given.NOW + 2, study="1.2.4", series="1.2.4.9")
        given.kept(tx, 1, at=given.NOW, series="1.2.3.2")
        given.kept(tx, 1, at=given.NOW + 1, series="1.2.3.1")
        given.kept(tx, 2, at=given.NOW + 3, series="1.2.3.2")
        found = foresight.gathering(tx)
    assert [(one.series_uid, one.last_at) for one in found] == [
        ("1.2.3.2", given.NOW + 3),
        ("1.2.3.1", given.NOW + 1),
        ("1.2.4.9", given.NOW + 2),
    ]


def test_a_study_is_expected_until_its_last_job_ended(ledger):
    with ledger.write() as tx:
        given.kept(tx, 1)
        assert foresight.expected(tx) == {given.STUDY}
        given.ready(tx)
        assert foresight.expected(tx) == {given.STUDY}
        assert foresight.gathering(tx) == []
        job_id = jobs.open_job(tx, given.work("sha256:1"), at=given.NOW)
        studies.move(tx, given.STUDY, StudyState.READY, StudyState.DECIDED)
        assert foresight.expected(tx) == {given.STUDY}
        job = jobs.lease(tx, job_id, owner="worker:1", at=given.NOW, seconds=30)
        assert job is not None
        assert foresight.expected(tx) == {given.STUDY}
        jobs.finish(tx, job, JobState.DONE, word="job.done", reason=None, at=given.NOW)
        assert foresight.expected(tx) == set()
