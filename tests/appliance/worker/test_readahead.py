"""What is done ahead of a job changes nothing of its result, stops for any other job, and is let go of."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog.testing

from appliance.assemble.gather import series_facts
from appliance.core.clock import HeldClock
from appliance.core.config import Config, ConfigError, parse
from appliance.core.words import JobState, StudyState
from appliance.demo.study import MadeStudy
from appliance.disk.identity import device_uid
from appliance.ledger import studies
from appliance.ledger.engine import Ledger, open_ledger
from appliance.worker import readahead as module
from appliance.worker.beforehand import Asked, Beforehand, Foreseen
from appliance.worker.interest import Interest
from appliance.worker.limits import AheadLimits
from appliance.worker.prepared import prepare
from appliance.worker.readahead import ReadAhead
from appliance.worker.run import AnalysisFailed, analyse_series
from tests.appliance.worker.test_attempt import LIMITS, PACKAGE, Bench, site

SECONDS_MAX = 30.0
NOW = 100.0


class Box:
    """A box without a wire whose worker works ahead, turn by turn."""

    def __init__(
        self, ledger: Ledger, root: Path, config: Config | None = None, limits: AheadLimits | None = None
    ) -> None:
        self.beforehand = Beforehand(limits)
        self.bench = Bench(ledger, root, config or site(root), beforehand=self.beforehand)
        self.ledger = ledger
        facts_of = partial(series_facts, spool=self.bench.kept)
        self.ahead = ReadAhead(
            ledger, self.bench.config, self.beforehand, self.bench.engines, facts_of, limits=LIMITS
        )
        self.ahead._interest = Interest(ledger, self.bench.config)

    @property
    def instances(self):
        with self.ledger.read() as tx:
            return studies.instances_of(tx, self.bench.study.study_uid)

    @property
    def prepared(self) -> int:
        return len(self.beforehand.slices.of(self.instances))

    @property
    def asked(self) -> Asked:
        return Asked.of(self.instances, PACKAGE.digest, maps=False)

    def longer(self) -> MadeStudy:
        """The study with one slice more."""
        study = self.bench.study
        return replace(study, hu=np.concatenate([study.hu, study.hu[:1]]))

    def arrive(self, numbers: Iterable[int], *, at: float) -> None:
        """Keep more slices of the study, which has 24, in some order."""
        study = self.bench.study
        random = np.random.default_rng(2)
        more = random.integers(-1000, 1200, size=(20, *study.hu.shape[1:])).astype(np.int16)
        items = list(replace(study, hu=np.concatenate([study.hu, more])).instances())
        for number in numbers:
            self.bench.keep(items[number], at=at)

    def turns(self) -> None:
        """Take the turns of a while in which nothing comes."""
        for _ in range(3):
            self.ahead.turn()
            self.ledger.clock.advance(1.0)  # type: ignore[attr-defined]

    def warm(self) -> None:
        self.bench.attempter.warm_up()

    def close(self) -> None:
        self.ahead.stop()
        self.bench.attempter.close()


@pytest.fixture
def box(ledger: Ledger, tmp_path: Path) -> Iterator[Box]:
    made = Box(ledger, tmp_path / "root")
    yield made
    made.close()


def decided(box: Box) -> int:
    """Open the study's job, as the conductor does once it is complete."""
    job_id = box.bench.job()
    with box.ledger.write() as tx:
        study = studies.find(tx, box.bench.study.study_uid)
        assert study is not None
        assert studies.ready(tx, study, content_digest="sha256:0", instance_count=4, reason="quiet", at=NOW)
        studies.move(tx, study.study_uid, StudyState.READY, StudyState.DECIDED)
    return job_id


def test_slices_of_a_series_that_a_route_wants_are_prepared_while_it_gathers(box: Box):
    box.ahead.turn()
    assert box.prepared == 4


def test_a_series_that_no_route_wants_is_left(ledger: Ledger, tmp_path: Path):
    wants = site(tmp_path / "root").model_dump()
    wants["routes"][0]["when"] = "slices >= 5"
    wants["storage"]["root"] = str(tmp_path / "root")
    box = Box(ledger, tmp_path / "root", parse(wants))
    box.ahead.turn()
    assert box.prepared == 0
    assert [seen.instances for seen in box.ahead._seen.values()] == [()], "nor held in memory"
    box.close()


def test_a_silent_series_is_analysed_and_its_job_takes_that(box: Box, monkeypatch):
    box.warm()
    box.turns()
    assert box.beforehand.has(box.asked)
    job_id = decided(box)
    monkeypatch.setattr("appliance.worker.attempt.analyse_series", lambda *_a, **_k: 1 / 0)
    assert box.bench.attempter.attempt(job_id)
    job, result, _, _ = box.bench.seen(job_id)
    assert job.state is JobState.DONE
    assert len(result.evidence) == 4
    assert not box.beforehand.has(box.asked)
    # What it was made of is let go of with the next look.
    box.ahead.turn()
    assert box.prepared == 0


def test_a_series_that_still_arrives_is_not_analysed(box: Box, clock: HeldClock):
    box.warm()
    assert 0 < box.ahead.turn() < 0.25
    assert 0 < box.ahead.turn() <= 0.25
    assert not box.beforehand.has(box.asked)
    clock.advance(0.3)
    *_, late = box.longer().instances()
    box.bench.keep(late, at=1.0)
    box.ahead.turn()
    box.ahead.turn()
    assert not box.beforehand.has(box.asked)
    assert box.prepared == 5
    clock.advance(0.3)
    box.ahead.turn()
    assert box.beforehand.has(box.asked)


def test_a_model_that_is_not_loaded_is_not_loaded_for_a_guess(box: Box):
    box.ahead.turn()
    assert not box.beforehand.has(box.asked)
    assert box.prepared == 4


def test_memory_for_a_volume_is_taken_last_and_not_while_more_comes(box: Box, monkeypatch):
    asked = []

    def touch(size_bytes: int, *, go_on: Callable[[], bool]) -> None:
        asked.append((box.prepared, box.beforehand.has(box.asked), go_on()))

    monkeypatch.setattr(box.beforehand.space, "touch", touch)
    box.warm()
    box.turns()
    assert (4, True, True) in asked
    assert all(prepared == 4 for prepared, _, _ in asked)
    box.ahead.wake()
    box.ahead.turn()
    assert asked[-1] == (4, True, False)


def frozen(box: Box, job_id: int) -> list[tuple[str, str]]:
    job, result, objects, _ = box.bench.seen(job_id)
    assert job.state is JobState.DONE
    assert result is not None
    return [(item.output, item.digest) for item in objects]


@pytest.mark.parametrize("done", ["analysed", "prepared", "partly prepared"])
def test_the_objects_are_the_same_bytes_with_and_without(tmp_path: Path, newest_schema: Path, done: str):
    made = []
    for name in ("with", "without"):
        root = tmp_path / name / "root"
        device_uid(root)
        (root / "device_uid").write_text("2.25.1\n", encoding="ascii")
        shutil.copyfile(newest_schema, tmp_path / name / "ledger.sqlite3")
        ledger = open_ledger(f"sqlite:///{tmp_path / name / 'ledger.sqlite3'}", clock=HeldClock())
        small = AheadLimits(slices_bytes_max=1500 if done == "partly prepared" else 1 << 20)
        box = Box(ledger, root, limits=small)
        if done == "analysed":
            box.warm()
        if name == "with":
            box.turns()
            assert box.prepared == (1 if done == "partly prepared" else 4)
            assert box.beforehand.has(box.asked) == (done == "analysed")
        # What is written tells when it was.
        ledger.clock.advance(1_800_000_000.0 - ledger.clock.now())  # type: ignore[attr-defined]
        job_id = decided(box)
        assert box.bench.attempter.attempt(job_id)
        made.append(frozen(box, job_id))
        box.close()
        ledger.close()
    assert made[0] == made[1]
    assert {output for output, _ in made[0]} >= {"sr", "seg"}


ARRIVALS: dict[str, list[Iterable[int]]] = {
    "upwards": [range(4, 12), range(12, 20), range(20, 24)],
    "downwards": [range(23, 15, -1), range(15, 7, -1), range(7, 3, -1)],
    "one too late": [[*range(4, 6), *range(7, 16)], range(16, 24), [6]],
    "shuffled": [[21, 5, 9, 17, 11, 4, 20, 7], [23, 6, 13, 15, 8, 22, 10, 12], [14, 16, 18, 19]],
    "in front of the first": [range(8, 20), range(20, 24), range(4, 8)],
}
# How many batches of eight slices the network had answered before the last slice came.
ASKED = {"upwards": 2, "downwards": 0, "one too late": 0, "shuffled": 1, "in front of the first": 0}


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_a_network_is_asked_about_slices_that_settled_and_the_objects_are_the_same_bytes(
    tmp_path: Path, newest_schema: Path, arrival: str
):
    made, asked = [], []
    for name in ("with", "without"):
        root = tmp_path / name / "root"
        device_uid(root)
        (root / "device_uid").write_text("2.25.1\n", encoding="ascii")
        shutil.copyfile(newest_schema, tmp_path / name / "ledger.sqlite3")
        ledger = open_ledger(f"sqlite:///{tmp_path / name / 'ledger.sqlite3'}", clock=HeldClock())
        box = Box(ledger, root, limits=AheadLimits(idle_share_min=0.0))
        box.warm()
        for at, numbers in enumerate(ARRIVALS[arrival], start=1):
            box.arrive(numbers, at=float(at))
            if name == "with":
                box.ahead.turn()
        with structlog.testing.capture_logs() as logs:
            if name == "with":
                asked = [len(one) for one in box.beforehand.answers._held.values()]
                box.turns()
                assert box.beforehand.has(box.asked)
                assert box.beforehand._made[box.asked].analysis.ahead == ASKED[arrival]
            ledger.clock.advance(1_800_000_000.0 - ledger.clock.now())  # type: ignore[attr-defined]
            job_id = decided(box)
            assert box.bench.attempter.attempt(job_id)
        used = [one for one in logs if one["event"] == "readahead.used"]
        assert [one["batches"] for one in used] == ([ASKED[arrival]] if name == "with" else [])
        made.append(frozen(box, job_id))
        box.close()
        ledger.close()
    assert made[0] == made[1]
    if arrival in ("one too late", "in front of the first"):
        assert asked, "some batches were asked about in vain"


def test_cores_that_are_busy_are_left_to_who_receives(ledger: Ledger, tmp_path: Path, monkeypatch):
    box = Box(ledger, tmp_path / "root")
    monkeypatch.setattr(module, "idle_share", lambda: 0.49)
    box.warm()
    for at, numbers in enumerate(ARRIVALS["upwards"], start=1):
        box.arrive(numbers, at=float(at))
        box.ahead.turn()
    assert not box.beforehand.answers._held
    box.close()


def test_a_job_is_not_kept_waiting_by_slices_that_were_not_asked_about(
    ledger: Ledger, tmp_path: Path, monkeypatch
):
    box = Box(ledger, tmp_path / "root", limits=AheadLimits(idle_share_min=0.0))
    box.warm()
    real, calls = box.ahead._early.ask, []

    def ask_and_interrupt(*given: Any) -> bool:
        calls.append(1)
        box.beforehand._jobs = 1
        return real(*given)

    monkeypatch.setattr(box.ahead._early, "ask", ask_and_interrupt)
    for at, numbers in enumerate(ARRIVALS["upwards"], start=1):
        box.arrive(numbers, at=float(at))
        box.ahead.turn()
    assert len(calls) == 1
    box.close()


def test_a_network_that_fails_early_is_not_asked_again_about_that_stack(
    ledger: Ledger, tmp_path: Path, monkeypatch
):
    box = Box(ledger, tmp_path / "root", limits=AheadLimits(idle_share_min=0.0))
    box.warm()
    calls = []

    def fail(*_given: Any) -> bool:
        calls.append(1)
        raise AnalysisFailed("inference.answer", "The model gave no usable answer.")

    monkeypatch.setattr(box.ahead._early, "ask", fail)
    for at, numbers in enumerate(ARRIVALS["upwards"], start=1):
        box.arrive(numbers, at=float(at))
        box.ahead.turn()
    assert len(calls) == 1
    box.turns()
    assert box.beforehand.has(box.asked)
    box.close()


def test_a_late_slice_makes_another_analysis_and_the_old_one_is_not_taken(box: Box):
    box.warm()
    box.turns()
    old = box.asked
    *_, late = box.longer().instances()
    box.bench.keep(late, at=1.0)
    box.turns()
    assert box.asked != old
    assert box.beforehand.has(box.asked)
    assert not box.beforehand.has(old)


def test_nothing_is_begun_while_a_job_is_worked_on(box: Box):
    box.warm()
    with box.beforehand.job():
        box.ahead.turn()
        assert box.prepared == 0
    box.ahead.turn()
    assert box.prepared == 4


def test_a_job_that_comes_between_two_slices_is_not_waited_for(box: Box, monkeypatch):
    seen = []

    def prepare_and_interrupt(*given: Any) -> Any:
        seen.append(given)
        box.beforehand._jobs = 1
        return prepare(*given)

    monkeypatch.setattr(module, "prepare", prepare_and_interrupt)
    box.ahead.turn()
    assert (len(seen), box.prepared) == (1, 1)


def in_the_middle(box: Box, monkeypatch) -> tuple[threading.Thread, threading.Event]:
    """Begin an analysis ahead and hold it before its first slice is fed."""
    reached, go_on = threading.Event(), threading.Event()

    def held(*given: Any, progress: Callable[[str, int, int], None], **named: Any) -> Any:
        reached.set()
        assert go_on.wait(SECONDS_MAX)
        return analyse_series(*given, progress=progress, **named)

    monkeypatch.setattr(module, "analyse_series", held)
    box.warm()
    box.ahead.turn()
    box.ledger.clock.advance(1.0)  # type: ignore[attr-defined]
    thread = threading.Thread(target=box.ahead.turn, daemon=True)
    thread.start()
    assert reached.wait(SECONDS_MAX)
    return thread, go_on


def test_a_job_waits_for_its_own_analysis_under_way(box: Box, monkeypatch):
    thread, go_on = in_the_middle(box, monkeypatch)
    monkeypatch.setattr("appliance.worker.attempt.analyse_series", lambda *_a, **_k: 1 / 0)
    job_id = decided(box)
    job = threading.Thread(target=box.bench.attempter.attempt, args=(job_id,), daemon=True)
    job.start()
    while not (run := box.beforehand._run) or not run.claimed:
        assert job.is_alive()
    go_on.set()
    for one in (thread, job):
        one.join(SECONDS_MAX)
        assert not one.is_alive()
    assert frozen(box, job_id)


def test_any_other_job_stops_it(box: Box, monkeypatch):
    thread, go_on = in_the_middle(box, monkeypatch)
    asked = box.asked
    assert box.beforehand.take(replace(asked, model_digest="sha256:other")) is None
    go_on.set()
    thread.join(SECONDS_MAX)
    assert not box.beforehand.has(asked)
    # Its own job works by itself.
    assert box.beforehand.take(asked) is None


def test_more_of_its_series_stops_it_and_a_later_turn_makes_it_anew(box: Box, monkeypatch):
    thread, go_on = in_the_middle(box, monkeypatch)
    asked = box.asked
    *_, late = box.longer().instances()
    box.bench.keep(late, at=1.0)
    box.ahead.wake()
    go_on.set()
    thread.join(SECONDS_MAX)
    assert not box.beforehand.has(asked)
    box.turns()
    assert box.beforehand.has(box.asked)


def test_more_of_another_study_does_not_stop_it(box: Box, monkeypatch):
    thread, go_on = in_the_middle(box, monkeypatch)
    first, *_ = replace(box.bench.study, number=8).instances()
    box.bench.keep(first, at=1.0)
    box.ahead.wake()
    go_on.set()
    thread.join(SECONDS_MAX)
    assert box.beforehand.has(box.asked)


def test_the_service_s_end_stops_it(box: Box, monkeypatch):
    thread, go_on = in_the_middle(box, monkeypatch)
    box.ahead.stop()
    go_on.set()
    thread.join(SECONDS_MAX)
    assert not box.beforehand.has(box.asked)


def test_what_goes_wrong_ahead_is_left_to_the_job_and_not_tried_again(box: Box, monkeypatch):
    tries = []

    def fail(*_given: Any, **_named: Any) -> None:
        tries.append(1)
        raise AnalysisFailed("inference.answer", "The model gave no usable answer.")

    monkeypatch.setattr(module, "analyse_series", fail)
    box.warm()
    box.turns()
    box.turns()
    assert len(tries) == 1
    job_id = decided(box)
    assert box.bench.attempter.attempt(job_id)
    assert frozen(box, job_id)


def test_damaged_bytes_are_left_for_the_job_to_find(box: Box):
    first = box.instances[0]
    path = box.bench.kept.path(first.location)
    raw = bytearray(path.read_bytes())
    raw[first.location.offset + first.location.length - 1] ^= 1
    path.write_bytes(raw)
    box.warm()
    box.turns()
    assert box.prepared == 3
    assert not box.beforehand.has(box.asked)
    job_id = decided(box)
    box.bench.attempter.attempt(job_id)
    job, *_ = box.bench.seen(job_id)
    assert (job.state, job.word) == (JobState.FAILED, "disk.digest_mismatch")


def test_another_engine_than_the_one_that_made_it_makes_it_anew(box: Box, monkeypatch):
    box.warm()
    box.turns()
    made = box.beforehand._made[box.asked]
    box.beforehand._made[box.asked] = replace(made, engine_text="another engine")
    calls = []

    def told(*given: Any, **named: Any) -> Any:
        calls.append(1)
        return analyse_series(*given, **named)

    monkeypatch.setattr("appliance.worker.attempt.analyse_series", told)
    job_id = decided(box)
    assert box.bench.attempter.attempt(job_id)
    assert calls == [1]
    _, result, _, _ = box.bench.seen(job_id)
    assert result.engine != "another engine"


def test_no_more_analyses_are_held_than_the_bound(box: Box):
    box.warm()
    box.turns()
    made = box.beforehand._made[box.asked]
    assert isinstance(made, Foreseen)
    small = Beforehand(AheadLimits(analysis_bytes_max=made.bytes))
    for number in range(2):
        run = small.begin(replace(box.asked, study_uid=f"1.{number}"))
        assert run is not None
        small.end(run, made)
    assert small.has(replace(box.asked, study_uid="1.0"))
    assert not small.has(replace(box.asked, study_uid="1.1"))


def test_the_thread_takes_turns_when_it_is_woken_and_ends_when_told(box: Box):
    box.warm()
    box.ahead.start()
    box.ahead.wake()
    late = threading.Event()
    for _ in range(int(SECONDS_MAX / 0.02)):
        if box.prepared == 4:
            break
        late.wait(0.02)
    assert box.prepared == 4
    box.ahead.stop()
    box.ahead.join(SECONDS_MAX)
    assert not box.ahead.is_alive()


def test_routes_that_cannot_be_asked_end_the_thread_and_nothing_else(box: Box, monkeypatch):
    def refuse(*_given: Any) -> None:
        raise ConfigError(["routes.r.model: no package is called 'gone'"])

    monkeypatch.setattr(module, "Interest", refuse)
    box.ahead.start()
    box.ahead.join(SECONDS_MAX)
    assert not box.ahead.is_alive()
    job_id = decided(box)
    assert box.bench.attempter.attempt(job_id)
    assert frozen(box, job_id)


def test_what_nobody_foresaw_is_told_once_in_a_while_and_the_thread_goes_on(box: Box, monkeypatch):
    monkeypatch.setattr(box.ahead, "_look", lambda: 1 / 0)
    box.ahead._limits = replace(LIMITS, lease_seconds=0.01)
    with structlog.testing.capture_logs() as said:
        assert box.ahead._turn_or_pass() == LIMITS.poll_seconds
    assert [(line["event"], line["error"]) for line in said] == [("readahead.fault", "ZeroDivisionError")]
