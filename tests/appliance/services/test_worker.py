"""Jobs side by side: each once, the most urgent first, and every one that was begun is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import parse
from appliance.core.limits import Limits
from appliance.core.words import JobState
from appliance.ledger import jobs
from appliance.ledger.engine import Ledger
from appliance.queue.bell import BellCord
from appliance.queue.hub import Hub
from appliance.queue.tickets import Bell, Ticket
from appliance.services.stage import Stage
from appliance.services.worker import _work
from tests.appliance.ledger.given import kept, work

SECONDS_MAX = 30.0


class Works:
    """Leases jobs as an attempter does, and keeps each for as long as a test wants."""

    def __init__(self, ledger: Ledger, stage: Stage) -> None:
        self._ledger, self._stage = ledger, stage
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.refreshed = 0
        self.let_go = threading.Event()
        self.arrivals = threading.Event()
        self.together = 0
        self.fails_at: int | None = None
        self._under_way: set[int] = set()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        self.refreshed += 1

    def attempt(self, job_id: int) -> bool:
        now = self._ledger.clock.now()
        with self._ledger.write() as tx:
            job = jobs.lease(tx, job_id, owner="worker:1", at=now, seconds=30)
        if job is None:
            return False
        with self._lock:
            self.begun.append(job_id)
            self._under_way.add(job_id)
            self.together = max(self.together, len(self._under_way))
        if job_id == self.fails_at:
            raise ZeroDivisionError
        assert self.let_go.wait(SECONDS_MAX)
        with self._ledger.write() as tx:
            assert jobs.finish(tx, job, JobState.DONE, word="job.done", reason=None, at=now)
        with self._lock:
            self._under_way.remove(job_id)
            self.ended.append(job_id)
        return True


@pytest.fixture
def at_work(ledger: Ledger, tmp_path: Path) -> Callable[..., Any]:
    """Start a worker of so many lanes on jobs of these priorities."""

    def start(
        lanes: int, priorities: list[int]
    ) -> tuple[Stage, Works, list[int], threading.Thread, list[Any]]:
        config = parse(
            {
                "site": {"name": "x"},
                "storage": {"root": str(tmp_path / "box")},
                "inference": {"jobs_at_once": lanes},
            }
        )
        (tmp_path / "box" / "run").mkdir(parents=True, exist_ok=True)
        stage = Stage("worker", config, ledger, Limits(poll_seconds=0.05))
        with ledger.write() as tx:
            kept(tx, 1, 2)
            ids = [
                jobs.open_job(tx, work(f"sha256:{n}", priority=priority), at=0.0)
                for n, priority in enumerate(priorities)
            ]
        works, errors = Works(ledger, stage), []

        def run() -> None:
            try:
                _work(stage, works, works.arrivals.set)  # type: ignore[arg-type]
            except ZeroDivisionError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return stage, works, ids, thread, errors

    return start


def until(condition: Callable[[], bool]) -> None:
    late = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < late, "in time"
        time.sleep(0.01)


def stopped(stage: Stage, thread: threading.Thread) -> None:
    stage.stop()
    thread.join(SECONDS_MAX)
    assert not thread.is_alive()


def test_jobs_go_side_by_side_each_once(at_work):
    stage, works, ids, thread, _ = at_work(3, [5] * 7)
    until(lambda: works.together == 3)
    works.let_go.set()
    until(lambda: len(works.ended) == len(ids))
    stopped(stage, thread)
    assert sorted(works.begun) == sorted(ids)
    assert works.together == 3


def test_one_lane_works_on_one_job(at_work):
    stage, works, ids, thread, _ = at_work(1, [5] * 3)
    works.let_go.set()
    until(lambda: len(works.ended) == len(ids))
    stopped(stage, thread)
    assert (works.together, works.begun) == (1, ids)
    assert works.refreshed > 0


def test_the_most_urgent_are_begun_first(at_work):
    stage, works, ids, thread, _ = at_work(2, [0, 5, 9, 5, 9])
    until(lambda: works.together == 2)
    assert sorted(works.begun) == [ids[2], ids[4]]
    works.let_go.set()
    until(lambda: len(works.ended) == len(ids))
    stopped(stage, thread)
    # Two lanes may tell of what they took in another order than they took it.
    assert works.begun.index(ids[0]) >= 3


def test_what_was_begun_is_ended_when_the_service_stops(at_work):
    stage, works, _, thread, _ = at_work(2, [5] * 5)
    until(lambda: works.together == 2)
    stage.stop()
    thread.join(0.1)
    assert thread.is_alive(), "it waits for what it holds"
    works.let_go.set()
    thread.join(SECONDS_MAX)
    assert not thread.is_alive()
    assert sorted(works.ended) == sorted(works.begun)
    assert len(works.ended) == 2
    assert stage.exit_code == 0


def test_what_ends_one_lane_ends_the_service_and_the_others_finish(at_work):
    stage, works, ids, thread, errors = at_work(2, [5])
    until(lambda: works.begun == ids)
    with stage.ledger.write() as tx:
        works.fails_at = jobs.open_job(tx, work("sha256:bad"), at=0.0)
    until(stage.stopping.is_set)
    works.let_go.set()
    thread.join(SECONDS_MAX)
    assert works.ended == ids
    assert len(errors) == 1
    assert stage.exit_code != 0


def test_a_bell_of_arrivals_reaches_who_works_ahead(at_work, tmp_path: Path):
    with closing(Hub(tmp_path / "box" / "run")) as hub, closing(BellCord(tmp_path / "box" / "run")) as cord:
        stage, works, _, thread, _ = at_work(1, [])
        late = time.monotonic() + SECONDS_MAX
        while not works.arrivals.is_set() and time.monotonic() < late:
            cord.ring(Ticket(Bell.ARRIVED))
            hub.listen(0.05)
        stopped(stage, thread)
        assert works.arrivals.is_set()
