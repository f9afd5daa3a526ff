"""An attempt ends in a result that can be seen, whatever happens on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import sqlalchemy as sa

from appliance.assemble.gather import digest_of
from appliance.core.clock import HeldClock
from appliance.core.config import Config, parse
from appliance.core.limits import Limits
from appliance.core.packages import find_packages
from appliance.core.words import DeliveryState, JobState, Outcome, StudyState
from appliance.demo.study import MadeStudy
from appliance.disk.durable import NoSpace
from appliance.inference.choose import MAKERS
from appliance.ledger import counts, custody, deliveries, jobs, results, studies, tables
from appliance.ledger.engine import Ledger
from appliance.spool import retain
from appliance.spool.keeper import Row, instance_of, write_rows
from appliance.spool.record import Record
from appliance.spool.retain import purge_old_results, remove_unrecorded
from appliance.spool.store import Spool
from appliance.worker import attempt as attempt_module
from appliance.worker.attempt import Attempter
from appliance.worker.beforehand import Beforehand
from appliance.worker.engines import EngineShelf
from appliance.worker.run import AnalysisFailed, NotEligible, analyse_series
from dicom_node.limits import Limits as WireLimits
from dicom_node.preflight import inspect, scan

LIMITS = Limits(attempts_max=2, kills_max=3, retry_seconds=10)
PACKAGE = find_packages(())[0]["ct-tissue-bands"]


def made_study() -> MadeStudy:
    random = np.random.default_rng(1)
    hu = random.integers(-1000, 1200, size=(4, 16, 16)).astype(np.int16)
    hu[:, 4:10, 4:10] = 700
    return MadeStudy(hu=hu, spacing_mm=(2.0, 1.0, 1.0), number=7)


def site(root: Path, *, outputs=("sr", "seg"), mode="release") -> Config:
    return parse(
        {
            "site": {"name": "Test"},
            "storage": {"root": str(root)},
            "peers": [
                {
                    "name": "pacs",
                    "ae_title": "PACS",
                    "host": "127.0.0.1",
                    "port": 104,
                    "outputs": list(outputs),
                }
            ],
            "routes": [
                {"name": "r", "when": "true", "model": "ct-tissue-bands", "send_to": ["pacs"], "mode": mode}
            ],
        }
    )


class Bench:
    """A box without a wire: a kept study and a worker."""

    def __init__(
        self, ledger: Ledger, root: Path, config: Config, *, beforehand: Beforehand | None = None
    ) -> None:
        self.ledger, self.study, self.config = ledger, made_study(), config
        self.kept = Spool(root)
        # In this process: what a child of its own can do to a job is in test_engines.
        self.engines = EngineShelf(ledger, config, makers=MAKERS)
        self.attempter = Attempter(
            ledger, config, owner="worker:1", limits=LIMITS, engines=self.engines, beforehand=beforehand
        )
        for item in self.study.instances():
            self.keep(item)

    def keep(self, item, *, at: float = 0.0) -> None:
        with self.kept.begin() as writing:
            writing.write(item.data)
            digest = writing.digest
            location = writing.commit(
                Record(
                    sop_class_uid=item.sop_class_uid,
                    sop_instance_uid=item.sop_instance_uid,
                    transfer_syntax_uid=item.transfer_syntax_uid,
                    calling_ae="PACS",
                    received_at=0.0,
                    length=len(item.data),
                    digest=digest,
                )
            )
        header = inspect(
            item.data,
            scan(item.data, item.transfer_syntax_uid, WireLimits()),
            sop_class_uid=item.sop_class_uid,
            sop_instance_uid=item.sop_instance_uid,
        )
        row = Row(instance=instance_of(header, location, digest), calling_ae="PACS", received_at=at)
        write_rows(self.ledger, self.kept, [row])

    def job(self, *, refusal: str | None = None, model_digest: str = PACKAGE.digest) -> int:
        with self.ledger.write() as tx:
            found = studies.instances_of(tx, self.study.study_uid)
            work = jobs.Work(
                study_uid=self.study.study_uid,
                series_uid=self.study.series_uid,
                route="r",
                mode="release",
                model_name="ct-tissue-bands",
                model_version="1.0.0",
                model_digest=model_digest,
                input_digest=digest_of(found),
                priority=5,
                refusal=refusal,
            )
            return jobs.open_job(tx, work, at=self.ledger.clock.now())

    def seen(self, job_id: int):
        """Return the job, its result, the result's objects and their deliveries."""
        with self.ledger.read() as tx:
            job, result = jobs.find(tx, job_id), results.find_of_job(tx, job_id)
            objects = [] if result is None else results.objects_of(tx, result.id)
            ids = {item.id for item in objects}
            sent = [d for d in deliveries.of_study(tx, self.study.study_uid) if d.object_id in ids]
            assert counts.count(tx).balance == 0
        return job, result, objects, sent


@pytest.fixture
def bench(ledger: Ledger, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(ledger, tmp_path / "root", site(tmp_path / "root"))
    yield made
    made.attempter.close()


def failing(monkeypatch, error: Exception) -> None:
    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(attempt_module, "analyse_series", fail)


def hold(bench: Bench, job_id: int, clock: HeldClock) -> None:
    """Let three workers die of a job."""
    for _ in range(3):
        with bench.ledger.write() as tx:
            assert jobs.lease(tx, job_id, owner="worker:0", at=clock.now(), seconds=30)
        clock.advance(31)
        with bench.ledger.write() as tx:
            jobs.release_dead(tx, at=clock.now(), limits=LIMITS)


def test_a_job_ends_with_a_result_frozen_objects_and_what_goes_where(bench: Bench):
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    job, result, objects, sent = bench.seen(job_id)
    assert (job.state, result.outcome) == (JobState.DONE, Outcome.MEASURED)
    assert len(result.evidence) == 4
    assert {d.output for d in sent} == {"sr", "seg"}
    for item in objects:
        data = bench.kept.read(item.location)
        assert item.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    bone = [m for m in result.measurements if m["segment"] == "bone" and m["unit"] == "mL"]
    assert bone[0]["value"] == pytest.approx((bench.study.hu >= 300).sum() * 2.0 / 1000)
    assert result.seconds["inference"] > 0


def test_a_job_is_worked_on_once(bench: Bench):
    job_id = bench.job()
    assert bench.attempter.attempt(job_id)
    assert not bench.attempter.attempt(job_id)


def test_the_same_work_gives_the_same_uids_and_a_second_run_others(bench: Bench, tmp_path: Path):
    first = bench.job()
    bench.attempter.attempt(first)
    with bench.ledger.write() as tx:
        job = jobs.find(tx, first)
        assert job is not None
        second = jobs.again(tx, job, at=1.0)
    bench.attempter.attempt(second)
    _, old, old_objects, _ = bench.seen(first)
    _, new, new_objects, _ = bench.seen(second)
    assert new.supersedes_id == old.id
    assert not {o.sop_instance_uid for o in old_objects} & {o.sop_instance_uid for o in new_objects}


def test_what_the_model_may_not_take_is_said_and_sent_even_to_a_peer_that_wants_no_text(
    ledger: Ledger, tmp_path: Path
):
    bench = Bench(ledger, tmp_path / "root", site(tmp_path / "root", outputs=("seg",)))
    job_id = bench.job(refusal="The slices are not evenly spaced.")
    bench.attempter.attempt(job_id)
    job, result, _, sent = bench.seen(job_id)
    assert (job.state, result.outcome) == (JobState.DONE, Outcome.NOT_ELIGIBLE)
    assert result.statement == "The slices are not evenly spaced."
    assert {d.output for d in sent} == {"text-sr"}


@pytest.mark.parametrize(
    ("error", "state", "outcome", "says"),
    [
        (NotEligible(["Two positions are doubled."]), JobState.DONE, Outcome.NOT_ELIGIBLE, "doubled"),
        (AnalysisFailed("decode.shape", "Pixels are short."), JobState.FAILED, Outcome.FAILED, "short"),
    ],
)
def test_a_failure_that_will_not_pass_ends_the_job_at_once(bench, monkeypatch, error, state, outcome, says):
    failing(monkeypatch, error)
    job_id = bench.job()
    bench.attempter.attempt(job_id)
    job, result, _, sent = bench.seen(job_id)
    assert (job.state, result.outcome, job.attempts) == (state, outcome, 1)
    assert says in result.statement
    assert sent


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MemoryError(), ZeroDivisionError("patient P1")]
)
def test_a_failure_that_may_pass_is_tried_again_and_then_ends_visibly(bench, monkeypatch, clock, error):
    failing(monkeypatch, error)
    job_id = bench.job()
    bench.attempter.attempt(job_id)
    job, result, _, _ = bench.seen(job_id)
    assert (job.state, result) == (JobState.WAITING, None)
    assert not bench.attempter.attempt(job_id), "not before it is due"
    clock.advance(LIMITS.retry_seconds)
    bench.attempter.attempt(job_id)
    job, result, _, sent = bench.seen(job_id)
    assert (job.state, result.outcome) == (JobState.FAILED, Outcome.FAILED)
    assert "P1" not in result.statement
    assert sent


def test_a_full_disk_is_waited_for_however_long_and_then_the_result_comes(bench, monkeypatch, clock):
    job_id = bench.job()
    with monkeypatch.context() as full:
        full.setattr(Spool, "begin", lambda _spool: (_ for _ in ()).throw(NoSpace("no room")))
        for _ in range(LIMITS.attempts_max + 3):
            assert bench.attempter.attempt(job_id)
            job, result, _, _ = bench.seen(job_id)
            assert (job.state, job.word, result) == (JobState.WAITING, "disk.full", None)
            clock.advance(LIMITS.retry_seconds)
    bench.attempter.attempt(job_id)
    assert bench.seen(job_id)[1].outcome is Outcome.MEASURED


def test_a_held_job_is_explained_once_there_is_room(bench, monkeypatch, clock):
    job_id = bench.job()
    hold(bench, job_id, clock)
    with monkeypatch.context() as full:
        full.setattr(Spool, "begin", lambda _spool: (_ for _ in ()).throw(NoSpace("no room")))
        for _ in range(LIMITS.notice_attempts_max + 2):
            assert bench.attempter.attempt(job_id)
            clock.advance(LIMITS.retry_seconds + 1)
    assert bench.attempter.attempt(job_id)
    assert bench.seen(job_id)[1].outcome is Outcome.NOT_RUN


def test_a_model_that_left_the_box_is_a_failure_that_says_so(bench: Bench):
    job_id = bench.job(model_digest="sha256:gone")
    bench.attempter.attempt(job_id)
    job, result, _, sent = bench.seen(job_id)
    assert job.state is JobState.FAILED
    assert "no longer on this box" in result.statement
    assert sent


def test_damaged_images_are_quarantined_and_nothing_is_made_of_them(bench: Bench):
    job_id = bench.job()
    name = next(iter(bench.kept.names()))
    path = bench.kept.root / name
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    bench.attempter.attempt(job_id)
    job, result, _, _ = bench.seen(job_id)
    assert (job.state, job.word) == (JobState.FAILED, "disk.digest_mismatch")
    assert result.outcome is Outcome.FAILED
    with bench.ledger.read() as tx:
        assert counts.count(tx).quarantined == 1
        assert len(studies.instances_of(tx, bench.study.study_uid)) == 3


def test_a_job_that_kills_its_worker_is_held_and_explained_once(bench: Bench, clock: HeldClock):
    job_id = bench.job()
    hold(bench, job_id, clock)
    with bench.ledger.read() as tx:
        assert jobs.unexplained(tx, at=clock.now(), limits=LIMITS) == [job_id]
    assert bench.attempter.attempt(job_id)
    job, result, _, sent = bench.seen(job_id)
    assert (job.state, result.outcome) == (JobState.HELD, Outcome.NOT_RUN)
    assert "died 3 times" in result.statement
    assert {d.output for d in sent} == {"text-sr"}
    with bench.ledger.read() as tx:
        assert jobs.unexplained(tx, at=clock.now() + 100, limits=LIMITS) == []
    assert not bench.attempter.attempt(job_id)


def test_an_attempt_that_lost_its_lease_records_nothing_and_leaves_no_files(
    bench: Bench, monkeypatch, clock: HeldClock
):
    job_id = bench.job()

    def slow(*args, **kwargs):
        clock.advance(31)
        with bench.ledger.write() as tx:
            jobs.release_dead(tx, at=clock.now(), limits=LIMITS)
            assert jobs.lease(tx, job_id, owner="worker:2", at=clock.now(), seconds=30)
        return analyse_series(*args, **kwargs)

    monkeypatch.setattr(attempt_module, "analyse_series", slow)
    bench.attempter.attempt(job_id)
    job, result, _, _ = bench.seen(job_id)
    assert (job.state, job.owner, result) == (JobState.LEASED, "worker:2", None)
    results_spool = Spool(bench.kept.root, "results")
    assert list(results_spool.names()) == []


def test_a_job_that_newer_images_overtook_is_ended_and_sends_nothing(bench: Bench):
    old = bench.job()
    late = next(iter(made_study().instances()))
    later = MadeStudy(hu=bench.study.hu[:1] + 1, spacing_mm=(2.0, 1.0, 1.0), number=7)
    bench.keep(next(iter(later.instances())))
    new = bench.job()
    assert late.sop_instance_uid == f"{bench.study.series_uid}.1"
    assert new != old
    bench.attempter.attempt(old)
    job, result, objects, sent = bench.seen(old)
    assert (job.state, job.word, result.outcome) == (JobState.DONE, "job.overtaken", Outcome.NOT_RUN)
    assert (objects, sent) == ([], [])
    bench.attempter.attempt(new)
    assert bench.seen(new)[1].outcome is Outcome.MEASURED


def test_frozen_objects_that_a_crash_left_unrecorded_go_at_the_next_start(bench: Bench):
    job_id = bench.job()
    bench.attempter.attempt(job_id)
    spool = Spool(bench.kept.root, "results")
    recorded = set(spool.names())
    spool.keep_beside(b"picture", ".png")
    with spool.begin() as writing:
        writing.write(b"half")
        assert remove_unrecorded(bench.ledger, spool) == 1
    assert set(spool.names()) == recorded


def finished(bench: Bench) -> Spool:
    """A study whose result was made and taken everywhere."""
    bench.attempter.attempt(bench.job())
    with bench.ledger.write() as tx:
        tx.execute(sa.update(tables.deliveries).values(state=DeliveryState.ACCEPTED))
        tx.execute(sa.update(tables.studies).values(state=StudyState.DECIDED))
        assert custody.close_finished(tx) == 1
    return Spool(bench.kept.root, "results")


def test_results_of_a_finished_study_go_after_their_days(bench: Bench, clock: HeldClock):
    spool = finished(bench)
    made = len(list(spool.names()))
    clock.advance(9.9 * 86_400)
    assert purge_old_results(bench.ledger, spool, retain_days=10) == 0
    assert len(list(spool.names())) == made > 1
    clock.advance(0.2 * 86_400)
    assert purge_old_results(bench.ledger, spool, retain_days=10) > 0
    assert list(spool.names()) == []
    assert purge_old_results(bench.ledger, spool, retain_days=10) == 0


def test_bytes_that_a_crash_left_behind_their_row_go_when_a_worker_starts(
    bench: Bench, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
):
    spool = finished(bench)
    left = set(spool.names())
    clock.advance(11 * 86_400)
    with monkeypatch.context() as died, pytest.raises(InterruptedError):
        died.setattr(retain, "remove_file", Mock(side_effect=InterruptedError))
        purge_old_results(bench.ledger, spool, retain_days=10)
    assert set(spool.names()) == left
    assert remove_unrecorded(bench.ledger, spool) == len(left)
    assert list(spool.names()) == []


def test_a_shadow_route_sends_nothing(ledger: Ledger, tmp_path: Path):
    bench = Bench(ledger, tmp_path / "root", site(tmp_path / "root", mode="shadow"))
    job_id = bench.job()
    bench.attempter.attempt(job_id)
    _, result, objects, sent = bench.seen(job_id)
    assert result.outcome is Outcome.MEASURED
    assert objects
    assert sent == []
