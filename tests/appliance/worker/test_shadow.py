"""A version that runs beside another is measured, and nothing of it is ever a result."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.assemble.gather import digest_of, series_facts
from appliance.core.clock import HeldClock
from appliance.core.crash import SHADOW_POINTS
from appliance.core.limits import Limits
from appliance.core.words import JobState, Outcome
from appliance.disk.durable import NoSpace
from appliance.inference.engine import InferenceError
from appliance.ledger import (
    agreements,
    comparisons,
    counts,
    custody,
    deliveries,
    jobs,
    results,
    shadows,
    studies,
)
from appliance.ledger.agreements import Agreement
from appliance.ledger.comparisons import Standing, Word
from appliance.ledger.engine import Ledger
from appliance.ledger.shadows import Shadow
from appliance.worker import shadow as shadow_module
from appliance.worker import shadow_folder
from appliance.worker.attempt import Attempter
from appliance.worker.beforehand import Asked, Beforehand
from appliance.worker.limits import ShadowLimits
from appliance.worker.run import AnalysisFailed, analyse_series
from appliance.worker.shadow import ShadowThread
from appliance.worker.shadow_desk import ShadowDesk
from tests.appliance import packages
from tests.appliance.worker.test_attempt import PACKAGE, Bench, site

LIMITS = Limits(shadow_answers_waiting_max=3, shadow_starts_max=2, shadow_kills_max=2, shadow_deaths_max=3)


class Beside(Bench):
    """A box whose worker also has a shadow thread, which takes a turn when the test says so."""

    def __init__(self, ledger: Ledger, folder: Path, clock: HeldClock) -> None:
        config = site(folder / "root", outputs=("sr",))
        roomy = config.storage.model_copy(update={"floor_gib": 0.01})
        config = config.model_copy(update={"storage": roomy})
        self.beforehand, self.desk, self.clock = Beforehand(), ShadowDesk(), clock
        super().__init__(ledger, folder / "root", config, beforehand=self.beforehand)
        self.attempter = Attempter(
            ledger,
            config,
            owner="worker:1",
            limits=LIMITS,
            engines=self.engines,
            beforehand=self.beforehand,
            desk=self.desk,
        )
        self.thread = self.worker_thread()
        self.measure()
        self.version = packages.put(ledger, folder / "root", packages.bands(folder, "1.1.0"))
        self.answers = folder / "root" / "shadow"

    def measure(self) -> None:
        """Let the series fall quiet, as the conductor does."""
        with self.ledger.write() as tx:
            found = studies.instances_of(tx, self.study.study_uid)
            (series,) = studies.series_of(tx, self.study.study_uid)
            facts = series_facts(found, self.kept)
            assert studies.complete_series(tx, series, facts=facts, at=self.clock.now())

    def worker_thread(self, *, owner: str = "worker:1", **bounds: Any) -> ShadowThread:
        return ShadowThread(
            self.ledger,
            self.config,
            engines=self.engines,
            beforehand=self.beforehand,
            desk=self.desk,
            owner=owner,
            limits=LIMITS,
            bounds=ShadowLimits(**bounds),
        )

    def begin(self) -> Shadow:
        with self.ledger.write() as tx:
            row = self.version
            made = shadows.begin(tx, row.name, row.version, row.digest, by="jo", at=self.clock.now())
        self.thread.turn()
        return made

    def answered(self, **job: Any) -> int:
        """Let the version that serves answer a job, and leave the desk as it is then."""
        job_id = self.job(**job)
        assert self.attempter.attempt(job_id)
        return job_id

    def row(self, job_id: int) -> comparisons.Comparison:
        with self.ledger.read() as tx:
            (shadow,) = shadows.latest(tx, limit=1)
            (found,) = (one for one in comparisons.of_shadow(tx, shadow.id, limit=99) if one.job_id == job_id)
        return found

    def word(self, job_id: int) -> str | None:
        row = self.row(job_id)
        assert row.state in (Standing.DONE, Standing.ENDED), row
        return row.word

    def agreement(self) -> Agreement:
        with self.ledger.read() as tx:
            (found,) = agreements.everything(tx, limit=9)
        return found

    def row_of(self, job_id: int) -> Standing | None:
        """Return where a job's comparison stands, if it has one."""
        with self.ledger.read() as tx:
            (shadow,) = shadows.latest(tx, limit=1)
            rows = comparisons.of_shadow(tx, shadow.id, limit=99)
        return next((one.state for one in rows if one.job_id == job_id), None)

    def job_of(self, route: str, *, refusal: str | None = None) -> int:
        """Return a job of another route on the same series."""
        with self.ledger.write() as tx:
            work = jobs.Work(
                study_uid=self.study.study_uid,
                series_uid=self.study.series_uid,
                route=route,
                mode="release",
                model_name=packages.NAME,
                model_version="1.0.0",
                model_digest=PACKAGE.digest,
                input_digest=digest_of(studies.instances_of(tx, self.study.study_uid)),
                priority=5,
                refusal=refusal,
            )
            return jobs.open_job(tx, work, at=self.clock.now())

    def settle(self) -> None:
        """Let the time pass after which a job without a row is counted."""
        self.clock.advance(LIMITS.shadow_settle_seconds + LIMITS.shadow_sweep_seconds + 1)

    def balanced(self) -> None:
        with self.ledger.read() as tx:
            counted = counts.count(tx)
        assert counted.balance == 0, counted.faults


@pytest.fixture
def box(ledger: Ledger, tmp_path: Path, clock: HeldClock) -> Iterator[Beside]:
    made = Beside(ledger, tmp_path, clock)
    yield made
    made.attempter.close()
    made.balanced()


def of_box(box: Beside) -> tuple[list[Any], list[Any], list[Any]]:
    """Return everything that could reach a reader: results, objects, deliveries."""
    with box.ledger.read() as tx:
        made = results.of_study(tx, box.study.study_uid)
        objects = [item for result in made for item in results.objects_of(tx, result.id)]
        return made, objects, deliveries.of_study(tx, box.study.study_uid)


def test_a_study_is_compared_once_and_what_reaches_readers_stays_as_it_was(box: Beside):
    box.begin()
    job_id = box.answered()
    before = of_box(box)
    assert box.thread.turn() == 0.0
    assert box.word(job_id) == Word.COMPARED
    found = box.agreement()
    tally = found.tally
    assert (tally.studies, tally.agree) == (1, 1)
    assert all(cells[-1] == 1 for cells in tally.dice.values()), "the same network marks the same voxels"
    assert tally.dice
    assert all(moments.mean == 0.0 for moments in tally.numbers.values())
    assert tally.time_ratio is not None
    assert (found.between.old_version, found.between.new_version) == ("1.0.0", "1.1.0")
    assert of_box(box) == before
    assert list(box.answers.iterdir()) == [], "the old answer is needed no more"
    assert box.thread.turn() > 0
    assert box.agreement().tally.studies == 1


def test_what_was_decided_before_a_shadow_began_is_not_its_affair(box: Beside):
    job_id = box.job()
    box.begin()
    assert box.attempter.attempt(job_id)
    box.settle()
    box.thread.turn()
    with box.ledger.read() as tx:
        assert agreements.everything(tx, limit=9) == []


def test_nothing_begins_while_the_box_has_work_of_its_own(box: Beside, monkeypatch: pytest.MonkeyPatch):
    box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        assert box.thread.turn() > 0
    ahead = box.beforehand.begin(
        Asked(study_uid="1", series_uid="2", model_digest="x", maps=False, images=())
    )
    assert ahead is not None
    assert box.thread.turn() > 0, "work ahead is work of the box"
    box.beforehand.end(ahead, None)
    with box.ledger.write() as tx:
        job = jobs.find(tx, job_id)
        assert job is not None
        waiting = jobs.again(tx, job, at=box.clock.now())
    assert box.thread.turn() > 0, "a job waits"
    assert box.row(job_id).state is Standing.WAITING
    assert box.attempter.attempt(waiting)
    assert box.thread.turn() == 0.0
    assert box.word(job_id) == Word.COMPARED


def test_it_gives_way_in_the_middle_and_begins_again_so_often_and_no_more(
    box: Beside, monkeypatch: pytest.MonkeyPatch
):
    box.begin()
    job_id = box.answered()
    real, met = analyse_series, []

    def interrupted(*args: Any, **named: Any) -> Any:
        met.append(1)
        with box.beforehand.job():
            return real(*args, **named)

    monkeypatch.setattr(shadow_module, "analyse_series", interrupted)
    box.thread.turn()
    row = box.row(job_id)
    assert (row.state, row.starts) == (Standing.WAITING, 1)
    box.thread.turn()
    assert len(met) == LIMITS.shadow_starts_max
    assert box.word(job_id) == Word.NO_TIME
    assert box.agreement().words == {Word.NO_TIME: 1}


def test_a_job_is_done_while_a_comparison_is_under_way(box: Beside, monkeypatch: pytest.MonkeyPatch):
    box.begin()
    first = box.answered()
    begun, go = threading.Event(), threading.Event()

    def slow(*args: Any, **named: Any) -> Any:
        begun.set()
        assert go.wait(60)
        return analyse_series(*args, **named)

    monkeypatch.setattr(shadow_module, "analyse_series", slow)
    box.thread.start()
    assert begun.wait(60)
    second = box.job_of("second")
    assert box.attempter.attempt(second)
    with box.ledger.read() as tx:
        job = jobs.find(tx, second)
    assert job is not None
    assert job.state is JobState.DONE, "nothing of the comparison is waited for"
    assert box.row_of(first) is Standing.LEASED
    go.set()
    until = time.monotonic() + 60
    while box.row_of(second) is not Standing.DONE and time.monotonic() < until:
        time.sleep(0.05)
    box.thread.stop()
    box.thread.join(30)
    assert (box.word(first), box.word(second)) == (Word.COMPARED, Word.COMPARED)


def test_a_job_that_comes_to_another_worker_stops_it_too(box: Beside, monkeypatch: pytest.MonkeyPatch):
    box.begin()
    job_id = box.answered()
    real = analyse_series

    def meanwhile(*args: Any, **named: Any) -> Any:
        with box.ledger.write() as tx:
            job = jobs.find(tx, job_id)
            assert job is not None
            jobs.again(tx, job, at=box.clock.now())
        return real(*args, **named)

    monkeypatch.setattr(shadow_module, "analyse_series", meanwhile)
    box.thread.turn()
    assert box.row(job_id).state is Standing.WAITING


def test_when_the_service_stops_the_start_does_not_count(box: Beside, monkeypatch: pytest.MonkeyPatch):
    box.begin()
    job_id = box.answered()
    real = analyse_series

    def stopped(*args: Any, **named: Any) -> Any:
        box.thread.stop()
        return real(*args, **named)

    monkeypatch.setattr(shadow_module, "analyse_series", stopped)
    box.thread.turn()
    row = box.row(job_id)
    assert (row.state, row.starts) == (Standing.WAITING, 0)


@pytest.mark.parametrize(
    ("error", "word", "turns"),
    [
        (AnalysisFailed("inference.answer", "no usable answer"), Word.FAILED, 1),
        (InferenceError("inference.crashed", "gone"), Word.FAILED, 1),
        (InferenceError("inference.memory", "no room"), Word.NO_ROOM, LIMITS.shadow_starts_max),
        (MemoryError(), Word.NO_ROOM, LIMITS.shadow_starts_max),
        (ZeroDivisionError(), Word.FAILED, 1),
        (OSError(5, "bad disk"), Word.FAILED, 1),
    ],
)
def test_a_shadow_that_fails_is_counted_and_the_study_has_its_result(
    box: Beside, monkeypatch: pytest.MonkeyPatch, error: Exception, word: Word, turns: int
):
    def fails(*_: Any, **__: Any) -> Any:
        raise error

    box.begin()
    job_id = box.answered()
    before = of_box(box)
    monkeypatch.setattr(shadow_module, "analyse_series", fails)
    for _ in range(turns):
        box.thread.turn()
        box.clock.advance(ShadowLimits().room_again_seconds + 1)
    assert box.word(job_id) == word
    assert box.agreement().words == {word: 1}
    assert of_box(box) == before
    job, result, _, _ = box.seen(job_id)
    assert job is not None
    assert result is not None
    assert (job.state, result.outcome) == (JobState.DONE, Outcome.MEASURED)


def test_a_full_disk_costs_a_comparison_and_is_counted(box: Beside, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise NoSpace("full")

    box.begin()
    job_id = box.answered()
    monkeypatch.setattr(shadow_folder, "write_file", full)
    box.thread.turn()
    assert box.word(job_id) == Word.NOT_KEPT


def test_an_answer_that_never_came_to_the_desk_is_counted(box: Beside):
    box.begin()
    job_id = box.answered()
    assert box.desk.take() is not None, "as if the worker had died right after its result"
    box.thread.turn()
    box.settle()
    box.thread.turn()
    assert box.word(job_id) == Word.NOT_KEPT


def test_a_job_without_an_answer_is_counted_as_one(box: Beside):
    box.begin()
    job_id = box.answered(model_digest="sha256:" + "0" * 64)
    box.settle()
    box.thread.turn()
    assert box.word(job_id) == Word.NO_ANSWER


def test_images_that_only_one_version_reads_are_counted(box: Beside, monkeypatch: pytest.MonkeyPatch):
    box.begin()
    monkeypatch.setattr(shadow_module, "_refuses", lambda *_: True)
    first = box.answered()
    box.thread.turn()
    assert box.word(first) == Word.ONLY_OLD
    monkeypatch.undo()
    second = box.job_of("second", refusal="too few")
    assert box.attempter.attempt(second)
    box.settle()
    box.thread.turn()
    assert box.word(second) == Word.ONLY_NEW
    monkeypatch.setattr(shadow_module, "_refuses", lambda *_: True)
    third = box.job_of("third", refusal="too few")
    assert box.attempter.attempt(third)
    box.settle()
    box.thread.turn()
    assert box.word(third) == Word.NEITHER


def test_more_answers_than_may_wait_are_counted(box: Beside):
    box.begin()
    with box.beforehand.job():
        for number in range(LIMITS.shadow_answers_waiting_max + 2):
            assert box.attempter.attempt(box.job_of(f"r{number}"))
            box.thread.turn()
    assert box.agreement().words == {Word.TOO_MANY: 2}
    assert len(list(box.answers.iterdir())) == LIMITS.shadow_answers_waiting_max


def test_a_desk_that_is_full_takes_no_more_and_the_jobs_are_counted(box: Beside):
    box.begin()
    many = ShadowLimits().answers_max + 1
    for number in range(many):
        assert box.attempter.attempt(box.job_of(f"r{number}"))
    for _ in range(many):
        box.thread.turn()
    box.settle()
    box.thread.turn()
    words = box.agreement().words
    assert words[Word.NOT_KEPT] == 1
    assert box.agreement().tally.studies + sum(words.values()) == many


def test_a_worker_that_died_over_it_is_followed_by_one_that_takes_it_back_but_not_for_ever(box: Beside):
    begun = box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        box.thread.turn()
    for kill in range(1, LIMITS.shadow_kills_max + 1):
        with box.ledger.write() as tx:
            row = comparisons.lease(tx, box.row(job_id).id, owner="worker:7", at=box.clock.now(), seconds=9)
        assert row is not None
        box.thread.take_back("worker")
        assert box.row(job_id).kills == min(kill, LIMITS.shadow_kills_max - 1)
    assert box.word(job_id) == Word.DIED
    with box.ledger.write() as tx:
        assert shadows.died(tx, begun) == LIMITS.shadow_deaths_max
    box.thread.turn()
    with box.ledger.read() as tx:
        assert shadows.running(tx) == {}
        assert shadows.latest(tx, limit=1)[0].word == "shadow.deaths"


def test_a_lease_that_ran_out_is_taken_back_from_a_worker_of_another_name(box: Beside):
    box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        box.thread.turn()
    with box.ledger.write() as tx:
        assert comparisons.lease(tx, box.row(job_id).id, owner="else:7", at=box.clock.now(), seconds=9)
    box.settle()
    box.thread.turn()
    assert box.word(job_id) == Word.COMPARED
    assert box.row(job_id).kills == 1


def test_a_version_that_begins_to_serve_is_a_shadow_no_more(box: Beside):
    box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        box.thread.turn()
    packages.activate(box.ledger, box.version, former=PACKAGE.digest)
    assert box.word(job_id) == Word.STOPPED
    with box.ledger.read() as tx:
        assert shadows.running(tx) == {}
    assert box.thread.turn() > 0


def test_images_that_were_removed_meanwhile_are_counted(box: Beside):
    box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        box.thread.turn()
    with box.ledger.write() as tx:
        custody.purge(tx, jobs.inputs_of(tx, job_id), at=box.clock.now())
    box.thread.turn()
    assert box.word(job_id) == Word.NO_IMAGES


def test_bytes_that_rotted_are_not_compared_and_stay_whose_affair_they_were(box: Beside):
    box.begin()
    job_id = box.answered()
    with box.ledger.read() as tx:
        first = jobs.inputs_of(tx, job_id)[0]
    path = box.config.storage.root / first.location.file
    data = bytearray(path.read_bytes())
    data[first.location.offset + first.location.length - 1] ^= 1
    path.write_bytes(bytes(data))
    box.thread.turn()
    assert box.word(job_id) == Word.NO_IMAGES
    with box.ledger.read() as tx:
        assert counts.count(tx).quarantined == 0


def test_a_series_too_large_for_the_room_beside_is_counted(box: Beside):
    box.begin()
    job_id = box.answered()
    box.worker_thread(volume_bytes_max=100).turn()
    assert box.word(job_id) == Word.TOO_LARGE


def test_an_answer_too_large_to_keep_is_counted(box: Beside):
    box.begin()
    job_id = box.answered()
    box.worker_thread(kept_bytes_max=100).turn()
    assert box.word(job_id) == Word.NOT_KEPT


def test_an_answer_that_rotted_is_counted(box: Beside):
    box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        box.thread.turn()
    (kept,) = box.answers.iterdir()
    kept.write_bytes(kept.read_bytes()[:-3])
    box.thread.turn()
    assert box.word(job_id) == Word.NOT_KEPT


def test_answers_that_nobody_asks_for_are_removed_once_they_are_old(box: Beside):
    box.begin()
    job_id = box.answered()
    with box.beforehand.job():
        box.thread.turn()
    (needed,) = box.answers.iterdir()
    for name, age in (("77", 7200), ("78", 0)):
        path = box.answers / f"{name}.answer"
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age, time.time() - age))
    os.utime(needed, (time.time() - 7200, time.time() - 7200))
    box.thread.take_back("worker")
    assert {path.stem for path in box.answers.iterdir()} == {str(job_id), "78"}


class Killed(BaseException):
    """What nothing in the worker catches, as a SIGKILL."""


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("point", SHADOW_POINTS["worker"])
def test_a_worker_killed_anywhere_loses_nothing_real_and_counts_once(
    box: Beside, monkeypatch: pytest.MonkeyPatch, point: str, times: int
):
    def dies(name: str) -> None:
        if name == point:
            raise Killed

    box.begin()
    job_id = box.answered()
    before = of_box(box)
    monkeypatch.setattr(shadow_module, "crash_here", dies)
    for _ in range(times):
        with contextlib.suppress(Killed):
            box.thread.turn()
        box.balanced()
        box.thread = box.worker_thread()
        box.thread.take_back("worker")
    monkeypatch.undo()
    for _ in range(3):
        box.settle()
        box.thread.turn()
        box.balanced()
    assert of_box(box) == before
    row, found = box.row(job_id), box.agreement()
    assert row.state in (Standing.DONE, Standing.ENDED)
    assert found.tally.studies + found.passed_over == 1
    deadly = point in ("shadow-leased", "shadow-unrecorded") and times >= LIMITS.shadow_kills_max
    lost = Word.NOT_KEPT if point == "shadow-kept" else Word.COMPARED
    assert row.word == (Word.DIED if deadly else lost)
    job, result, _, _ = box.seen(job_id)
    assert job is not None
    assert result is not None
    assert (job.state, result.outcome) == (JobState.DONE, Outcome.MEASURED)


def test_the_thread_ends_when_it_is_told_to(box: Beside):
    box.begin()
    job_id = box.answered()
    box.thread.start()
    until = time.monotonic() + 60
    while box.row_of(job_id) is not Standing.DONE and time.monotonic() < until:
        time.sleep(0.05)
    box.thread.stop()
    box.thread.join(30)
    assert not box.thread.is_alive()
    assert box.word(job_id) == Word.COMPARED
