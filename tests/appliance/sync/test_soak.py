"""By what a release is sent back: bounds on its jobs, and those of the version before; never by few."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.words import JobState
from appliance.ledger.passages import Passage
from appliance.ledger.performance import Ended, Record
from appliance.sync.limits import SoakLimits
from appliance.sync.phase import Phase
from appliance.sync.refusal import RETURNED, Word
from appliance.sync.soak import is_over, judge

LIMITS = SoakLimits()
DAY = 86_400.0
SOAKS = Passage(
    digest="sha256:1", name="bands", version="1.1.0", phase=Phase.SOAK, word="", sentence="",
    assigned_at=0.0, phase_at=0.0, drain_upto=None, drain_at=None, activated_at=0.0, ended_at=None,
)  # fmt: skip


def done(study: int, seconds: float = 1.0) -> Ended:
    return Ended(
        study_uid=f"1.{study}", state=JobState.DONE, word="job.done", seconds=seconds, finished_at=study
    )


def failed(study: int, word: str = "inference.answer", state: JobState = JobState.FAILED) -> Ended:
    return Ended(study_uid=f"1.{study}", state=state, word=word, seconds=None, finished_at=study)


def word(ended: list[Ended], before: list[Ended] | None = None, deaths: int = 0) -> Word | None:
    now = Record(ended=ended, deaths=[float(n) for n in range(deaths)])
    found = judge(now, Record(ended=before or []), limits=LIMITS)
    return None if found is None else found.word


GOOD = [done(n) for n in range(30)]


def test_studies_that_fail_in_a_row_speak_against_it():
    assert word([*GOOD, failed(90), failed(91)]) is None
    assert word([*GOOD, failed(90), failed(91), failed(92)]) is Word.FAILING_JOBS
    assert word([failed(90), failed(91), failed(92)]) is Word.FAILING_JOBS, "however few ran before"
    assert word([failed(90), failed(91), done(1), failed(92)]) is None
    assert word([failed(90)] * 9) is None, "one odd study that is tried again and again"
    held = failed(92, "job.held", JobState.HELD)
    assert word([failed(90), failed(91), held]) is Word.FAILING_JOBS


@pytest.mark.parametrize("fault", ["disk.digest_mismatch", "disk.unreadable", "worker.memory"])
def test_what_the_machine_did_is_not_held_against_it(fault: str):
    assert word([failed(n, fault) for n in range(50)]) is None
    assert word([failed(90), failed(91), failed(1, fault), failed(92)]) is Word.FAILING_JOBS


def test_a_study_that_does_not_fit_is_neither_good_nor_bad():
    refused = Ended(
        study_uid="1.5", state=JobState.DONE, word="job.not_eligible", seconds=None, finished_at=5
    )
    assert word([failed(90), failed(91), refused, failed(92)]) is Word.FAILING_JOBS
    assert word([refused] * 50) is None


def test_workers_that_die_of_it_speak_against_it():
    assert word(GOOD, deaths=LIMITS.deaths_max - 1) is None
    assert word(GOOD, deaths=LIMITS.deaths_max) is Word.WORKER_DEATHS


def test_the_share_of_failures_is_held_against_the_version_before():
    mixed = [failed(n) if n % 5 == 0 else done(n) for n in range(40)]
    assert word(mixed, GOOD) is Word.FAILURE_RATIO
    assert word(mixed, mixed) is None, "it is no worse"
    assert word(mixed[: LIMITS.jobs_for_ratio_min - 1], GOOD) is None, "too few to make a share of"


def test_a_slower_version_goes_back_where_both_were_measured_often_enough():
    slow = [done(n, 3.5) for n in range(30)]
    assert word(slow, GOOD) is Word.SLOWER
    assert word(slow, GOOD[: LIMITS.jobs_for_latency_min - 1]) is None
    assert word(slow[: LIMITS.jobs_for_latency_min - 1], GOOD) is None
    assert word([done(n, 2.9) for n in range(30)], GOOD) is None, "within the factor and the slack"
    assert word([done(n, 60.0 if n == 0 else 1.0) for n in range(30)], GOOD) is None, "one that took long"


@given(
    st.lists(st.builds(done, st.integers(0, 50), st.floats(0.1, 10.0)), max_size=60),
    st.lists(st.builds(done, st.integers(0, 50), st.floats(0.1, 10.0)), max_size=60),
)
def test_without_failures_only_time_can_speak_against_it(now: list[Ended], before: list[Ended]):
    found = word(now, before)
    assert found in (None, Word.SLOWER)
    if min(len(now), len(before)) < LIMITS.jobs_for_latency_min:
        assert found is None


@given(
    st.lists(st.one_of(st.builds(done, st.integers(0, 9)), st.builds(failed, st.integers(0, 9))), max_size=60)
)
def test_it_is_a_word_of_a_return_and_the_same_jobs_before_speak_for_it(ended: list[Ended]):
    found = word(ended)
    assert found is None or found in RETURNED
    assert word(ended, ended) in (None, Word.FAILING_JOBS)


def test_it_stays_after_a_day_with_studies_or_a_week_without():
    enough, few = Record(ended=GOOD), Record(ended=GOOD[:3])
    assert not is_over(SOAKS, enough, at=LIMITS.seconds_min - 1)
    assert is_over(SOAKS, enough, at=LIMITS.seconds_min)
    assert not is_over(SOAKS, few, at=6 * DAY)
    assert is_over(SOAKS, few, at=LIMITS.seconds_max)
    later = replace(SOAKS, activated_at=5 * DAY)
    assert not is_over(later, enough, at=5.5 * DAY)
