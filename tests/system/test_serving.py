"""Two jobs side by side on a running box while the process that holds their model's engine is killed.

No result is lost or doubled, the worker lives, what happened is told, and nothing outlives the box.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from appliance.core.words import JobState
from appliance.demo.box import Box
from appliance.demo.study import MadeStudy
from appliance.ledger import jobs
from tests.system.boxes import BANDS, PACS_AE, Pacs, make_box, running, service_pid, settled, store_all, words
from tests.system.images import made_up
from tests.system.waiting import until

pytestmark = pytest.mark.timeout(240)
SIDE_BY_SIDE = """
[inference]
jobs_at_once = 2
"""
# Then it is the jobs' own calls that the engine dies under.
NOT_AHEAD = "ahead = false\n"


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Box, Pacs]]:
    more = BANDS + SIDE_BY_SIDE + request.param
    pacs = Pacs(tmp_path / "pacs", PACS_AE, peers=["READSIDE"])
    box = make_box(tmp_path / "site", pacs_port=pacs.start(), more=more)
    try:
        with running(box):
            yield box, pacs
    finally:
        pacs.stop()


def serving(box: Box) -> list[int]:
    """The serving children of the box's worker."""
    worker = service_pid(box, "worker")
    found = []
    for entry in Path("/proc").iterdir():
        if worker is not None and entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if b"serving_child" in line and parent == worker:
                found.append(int(entry.name))
    return found


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def states(box: Box, studies: Sequence[MadeStudy]) -> list[jobs.Job]:
    with box.ledger.read() as tx:
        return [job for study in studies for job in jobs.of_study(tx, study.study_uid)]


def go(box: Box, pacs: Pacs) -> list[jobs.Job]:
    """Send two studies, kill the engine under their calls, and see both through; give their jobs."""
    (engine,) = serving(box)
    # Held still, so that the calls are under way when it dies.
    os.kill(engine, signal.SIGSTOP)
    both = [made_up((6, 64, 64)) for _ in range(2)]
    for study in both:
        store_all(box, list(study.instances()))
    until(
        lambda: [job.state for job in states(box, both)] == [JobState.LEASED] * 2,
        seconds=60,
        what="two jobs at once",
    )
    time.sleep(1.0)
    os.kill(engine, signal.SIGKILL)
    for study in both:
        settled(box, study.study_uid, seconds=120)
        sent = [one.sop_instance_uid for one in pacs.came_for(study.study_uid)]
        assert len(sent) == len(set(sent)) > 0
    return states(box, both)


@pytest.mark.parametrize("site", [""], indirect=True, ids=["ahead"])
def test_an_engine_that_is_killed_under_work_ahead_costs_nothing(site: tuple[Box, Pacs]) -> None:
    box, pacs = site
    until(lambda: words(box)["worker.ready"], seconds=60, what="a ready worker")
    worker = service_pid(box, "worker")
    ended = go(box, pacs)
    assert [job.state for job in ended] == [JobState.DONE] * 2
    assert all(job.kills == 0 for job in ended)
    assert service_pid(box, "worker") == worker, "the worker lived"


@pytest.mark.parametrize("site", [NOT_AHEAD], indirect=True, ids=["not ahead"])
def test_a_killed_engine_costs_a_try_and_nothing_else(site: tuple[Box, Pacs]) -> None:
    box, pacs = site
    until(lambda: words(box)["worker.ready"], seconds=60, what="a ready worker")
    worker = service_pid(box, "worker")
    for _ in range(3):
        ended = go(box, pacs)
        assert [job.state for job in ended] == [JobState.DONE] * 2
        assert all(job.kills == 0 for job in ended)
        assert service_pid(box, "worker") == worker, "the worker lived"
        if max(job.attempts for job in ended) == 2:
            assert words(box)["engine.crashed"]
            break
    else:
        pytest.fail("three kills came too early to tell anything")
    left = serving(box)
    assert left, "another engine serves"
    box.kill()
    until(lambda: all(gone(pid) for pid in left), seconds=30, what="no engine outlives the box")
