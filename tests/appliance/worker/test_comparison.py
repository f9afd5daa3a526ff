"""A job that is compared with an earlier result says so, the same way however often it is worked on."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from appliance.core.clock import HeldClock, as_datetime
from appliance.ledger import jobs, priors
from appliance.ledger.engine import Ledger
from appliance.ledger.priors import Answer, Choice
from appliance.worker import ending
from appliance.worker.freeze import freeze
from tests.appliance.results.sr_rules import children, faults, groups, numbers
from tests.appliance.worker.test_attempt import Bench, site

EARLIER = "1.2.826.0.1.3680043.10.7.7"


@pytest.fixture
def bench(ledger: Ledger, tmp_path: Path):
    made = Bench(ledger, tmp_path / "root", site(tmp_path / "root", outputs=("sr", "seg", "text-sr")))
    yield made
    made.attempter.close()


def earlier_result(bench: Bench) -> int:
    """Analyse the study as it is, and call that an earlier one; return its result."""
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    _, result, _, _ = bench.seen(job_id)
    assert result is not None
    return int(result.id)


def compared_job(bench: Bench, *used: int, word: str = priors.DONE, lacking: bool = False) -> int:
    """Open another run of the same work that waited, and what came of it."""
    at = bench.ledger.clock.now()
    with bench.ledger.write() as tx:
        former = jobs.of_study(tx, bench.study.study_uid)[-1]
        job_id = jobs.again(tx, former, at=at)
        named = {"study_uid": bench.study.study_uid, "route": "r"}
        assert priors.open_ask(tx, job_id, **named, wait_seconds=60.0, at=at)
        ask = priors.of_job(tx, job_id)
        assert ask is not None
        if used or lacking:
            choices = [Choice(study_uid=f"{EARLIER}.{n}", peer=None, only=False) for n in used or [0]]
            priors.choose(tx, ask, choices, Answer(found=1, fitting=1, silent=0), at=at)
            for prior, result_id in zip(priors.of_ask(tx, ask.id), used, strict=False):
                priors.use(tx, prior, result_id, at=at)
        priors.end(tx, ask, word, at=at)
    return job_id


def report_of(bench: Bench, job_id: int, output: str = "sr") -> Dataset:
    _, _, objects, _ = bench.seen(job_id)
    (item,) = [item for item in objects if item.output == output]
    read: Dataset = dcmread(BytesIO(bench.kept.read(item.location)), force=True)
    return read


def texts(item: Dataset) -> str:
    return "\n".join(str(e.value) for e in item.iterall() if e.keyword == "TextValue")


def values(groups_of: list[Dataset]) -> list[Any]:
    return [[float(n.MeasuredValueSequence[0].NumericValue) for n in numbers(group)] for group in groups_of]


def test_a_result_quotes_the_earlier_one_with_its_date(bench: Bench):
    former = earlier_result(bench)
    job_id = compared_job(bench, former)
    assert bench.attempter.attempt(job_id)
    report = report_of(bench, job_id)
    (section,) = children(report, "121068")
    assert children(section, "111060")[0].Date == "20261121"
    study_uid = f"{EARLIER}.{former}"
    assert [named.UID for named in children(section, "121018")] == [study_uid]
    # It is compared with itself: every number is there twice.
    assert values(children(section, "125007")) == values(groups(report))
    assert faults(report) == []
    assert "Compared with the study of 2026-11-21, analysed by the same version of this model." in texts(
        report
    )
    assert "On 2026-11-21, bone: " in texts(report_of(bench, job_id, "text-sr"))


def test_an_attempt_that_was_killed_is_done_again_to_the_same_bytes(
    bench: Bench, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
):
    job_id = compared_job(bench, earlier_result(bench))
    made: list[list[bytes]] = []
    whole = freeze

    def killed(spool, objects, **more):
        made.append([item.data for item in objects])
        if len(made) == 1:
            raise OSError(5, "the worker dies here")
        return whole(spool, objects, **more)

    monkeypatch.setattr(ending, "freeze", killed)
    held = clock.seconds
    assert bench.attempter.attempt(job_id)
    clock.advance(60.0)
    # The one clock that gets into objects stands still: all else has to be the same by itself.
    monkeypatch.setattr(ending, "as_datetime", lambda _seconds: as_datetime(held))
    assert bench.attempter.attempt(job_id)
    assert len(made) == 2
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("word", "lacking", "said"),
    [
        ("priors.none", False, "Not compared with an earlier study: none that fits was found."),
        (priors.LATE, True, "what was found could not be used, or not in time."),
        ("priors.no_answer", False, "it could not be found out whether there is one."),
    ],
)
def test_a_result_without_comparison_says_so_where_one_was_wanted(bench: Bench, word, lacking, said):
    earlier_result(bench)
    job_id = compared_job(bench, word=word, lacking=lacking)
    assert bench.attempter.attempt(job_id)
    for output in ("sr", "text-sr"):
        assert said in texts(report_of(bench, job_id, output))
    assert children(report_of(bench, job_id), "121068") == []


def test_where_none_was_wanted_nothing_is_said(bench: Bench):
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    assert "ompared with" not in texts(report_of(bench, job_id))


def test_a_job_to_compare_with_is_sent_to_nobody(bench: Bench):
    job_id = bench.job()
    with bench.ledger.write() as tx:
        tx.exec_driver_sql(f"UPDATE jobs SET mode = 'prior' WHERE id = {job_id}")
    assert bench.attempter.attempt(job_id)
    _, result, objects, sent = bench.seen(job_id)
    assert result is not None
    assert {item.output for item in objects} >= {"sr"}
    assert sent == []


def test_a_job_that_begins_settles_what_it_is_compared_with(bench: Bench):
    earlier_result(bench)
    at = bench.ledger.clock.now()
    with bench.ledger.write() as tx:
        job_id = jobs.again(tx, jobs.of_study(tx, bench.study.study_uid)[-1], at=at)
        named = {"study_uid": bench.study.study_uid, "route": "r"}
        priors.open_ask(tx, job_id, **named, wait_seconds=60.0, at=at)
    assert not bench.attempter.attempt(job_id), "it waits"
    bench.ledger.clock.advance(60)  # type: ignore[attr-defined]
    assert bench.attempter.attempt(job_id)
    with bench.ledger.read() as tx:
        ask = priors.of_job(tx, job_id)
    assert ask is not None
    assert (ask.word, ask.ended_at) == (priors.LATE, at + 60)
