"""The question of how many images there are is asked in time, and its answer wakes the conductor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.core.clock import HeldClock
from appliance.core.limits import DEFAULT
from appliance.queue.hub import Hub
from appliance.services import confirming as module

SECONDS_MAX = 20.0


@pytest.fixture
def stage() -> Iterator[Any]:
    faults: list[int] = []
    made = SimpleNamespace(
        ledger=SimpleNamespace(clock=HeldClock()),
        limits=DEFAULT,
        stopping=threading.Event(),
        fault=lambda: faults.append(1),
        faults=faults,
    )
    yield made
    made.stopping.set()


def site(run_dir: Path) -> Any:
    return SimpleNamespace(run_dir=run_dir, assembly=SimpleNamespace(confirm_settle_seconds=0.05))


def test_an_answer_wakes_the_conductor(stage: Any, tmp_path: Path):
    confirmer: Any = SimpleNamespace(next_due_at=0.0, turn=lambda: 1)
    with closing(Hub(tmp_path)) as hub:
        thread = threading.Thread(target=module._confirm, args=(stage, site(tmp_path), confirmer))
        thread.start()
        assert hub.listen(SECONDS_MAX)
        stage.stopping.set()
        thread.join(SECONDS_MAX)
    assert not thread.is_alive()
    assert not stage.faults


def test_a_thread_that_fails_starts_the_service_anew(stage: Any, tmp_path: Path):
    confirmer: Any = SimpleNamespace(next_due_at=0.0, turn=lambda: 1 // 0)
    module._confirm(stage, site(tmp_path), confirmer)
    assert stage.faults


@pytest.mark.parametrize(
    ("due_in", "pause"),
    [(-5.0, 0.02), (0.03, 0.03), (9.0, 0.05), (float("inf"), 0.05), (float("-inf"), 0.05)],
)
def test_it_looks_when_a_study_is_due_and_no_later_than_a_new_one_could_be(
    stage: Any, tmp_path: Path, due_in: float, pause: float
):
    confirmer: Any = SimpleNamespace(next_due_at=stage.ledger.clock.now() + due_in)
    assert module._pause_seconds(stage, site(tmp_path), confirmer) == pytest.approx(pause)
