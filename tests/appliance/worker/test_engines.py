"""The worker's engines: in children that may die, within a budget, and following what is activated."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.core.config import Config, parse
from appliance.core.words import JobState, Outcome
from appliance.inference.choose import MAKERS
from appliance.inference.engine import Engine, InferenceError
from appliance.inference.settings import EngineSettings
from appliance.ledger.engine import Ledger
from appliance.worker.attempt import Attempter
from appliance.worker.engines import EngineShelf, ModelGone, _budget
from models.catalogue import shipped
from models.package import Package, open_package
from tests.appliance.packages import activate, bands, put
from tests.appliance.worker.test_attempt import LIMITS, PACKAGE, Bench, site

SECONDS_MAX = 30.0
LESION = open_package(next(path for path in shipped() if path.name == "ct-phantom-lesion"))
SLICE = {"image": np.full((1, 1, 4, 4), 700, np.float32)}


def with_inference(config: Config, **section: Any) -> Config:
    """The same site with another [inference]."""
    tree = config.model_dump(mode="json")
    tree["inference"] = tree["inference"] | section
    return parse(tree)


@pytest.fixture
def shelf(ledger: Ledger, tmp_path: Path) -> Iterator[Callable[..., EngineShelf]]:
    made: list[EngineShelf] = []

    def make(makers: Any = MAKERS, **section: Any) -> EngineShelf:
        config = with_inference(site(tmp_path / "root"), **section)
        made.append(EngineShelf(ledger, config, makers=makers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def until(condition: Callable[[], bool]) -> None:
    late = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < late, "in time"
        time.sleep(0.02)


def inner(engine: Engine) -> Any:
    """The engine behind a seat."""
    return engine.inner  # type: ignore[attr-defined]


def served(shelf: EngineShelf, package: Package) -> Any:
    with shelf.serve(package.manifest.name, package.digest) as serving:
        return inner(serving.engine)


def test_each_model_has_a_process_of_its_own_that_ends_with_the_worker(shelf):
    one = shelf(makers=None)
    with one.serve(PACKAGE.manifest.name, PACKAGE.digest) as serving:
        pid = inner(serving.engine).pid
        assert pid not in (None, os.getpid())
        answer = serving.engine.infer(SLICE, deadline_seconds=SECONDS_MAX)
        assert (answer["labels"] == 5).all()
        assert serving.engine_text.startswith("ONNX Runtime")
    one.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_job_whose_engine_is_killed_is_tried_again_visibly_and_the_worker_lives(
    ledger: Ledger, tmp_path: Path, clock, monkeypatch
):
    bench = Bench(ledger, tmp_path / "root", site(tmp_path / "root"))
    config = site(tmp_path / "root")
    shelf = EngineShelf(ledger, config)
    attempter = Attempter(ledger, config, owner="worker:1", limits=LIMITS, engines=shelf)
    with shelf.serve(PACKAGE.manifest.name, PACKAGE.digest) as serving:
        engine = inner(serving.engine)
    job_id = bench.job()
    kills = 0
    run = type(engine).infer

    def killed(self: Any, batch: Any, *, deadline_seconds: float) -> Any:
        nonlocal kills
        kills += 1
        # It is stopped first, so that the call is under way when it dies.
        os.kill(self.pid, signal.SIGSTOP)
        threading.Timer(0.2, os.kill, (self.pid, signal.SIGKILL)).start()
        return run(self, batch, deadline_seconds=deadline_seconds)

    with monkeypatch.context() as once:
        once.setattr(type(engine), "infer", killed)
        assert attempter.attempt(job_id)
    job, result, _, _ = bench.seen(job_id)
    assert kills == 1
    assert (job.state, job.word, result) == (JobState.WAITING, "inference.crashed", None)
    assert "SIGKILL" in job.reason
    clock.advance(LIMITS.retry_seconds)
    assert attempter.attempt(job_id)
    job, result, _, _ = bench.seen(job_id)
    assert (job.state, result.outcome, job.attempts) == (JobState.DONE, Outcome.MEASURED, 2)
    attempter.close()
    bench.attempter.close()


def test_a_model_larger_than_the_budget_is_refused_with_numbers(shelf):
    one = shelf(memory_gib=0.5)
    with pytest.raises(InferenceError) as caught:
        served(one, LESION)
    assert caught.value.word == "inference.memory"
    assert "needs 1024 MiB; models may hold 512 MiB" in caught.value.sentence
    assert served(one, PACKAGE).name == "cpu"


def test_what_a_remote_server_holds_needs_no_room_here():
    room = _budget(["kserve"], EngineSettings(memory_bytes_max=1)).room_bytes(0, 0)
    assert room is None
    assert _budget(["kserve", "cpu"], EngineSettings(memory_bytes_max=1)).room_bytes(0, 0) == 1


def test_a_model_that_is_not_on_this_box_is_gone(shelf):
    with pytest.raises(ModelGone, match="no longer on this box"), shelf().serve("other", "sha256:other"):
        pass


def test_an_activated_version_is_loaded_without_being_asked_for(shelf, ledger, tmp_path):
    one = shelf()
    one.refresh()
    newer = activate(ledger, put(ledger, tmp_path / "root", bands(tmp_path)))
    one.refresh()
    until(lambda: newer.digest in one._pool.loaded())
    assert one.package(newer.digest) is not None
    with one.serve(newer.name, newer.digest) as serving:
        assert serving.package.manifest.version == newer.version
    # A job that was decided before goes on with what it was decided for.
    assert served(one, PACKAGE).name == "cpu"


def test_files_that_were_changed_after_they_were_installed_are_not_loaded(shelf, ledger, tmp_path):
    newer = activate(ledger, put(ledger, tmp_path / "root", bands(tmp_path)))
    one = shelf()
    package = one.package(newer.digest)
    assert package is not None
    card = package.root / "MODEL_CARD.md"
    card.chmod(0o600)
    card.write_text(card.read_text() + "more", encoding="utf-8")
    with pytest.raises(ModelGone, match="cannot be used"), one.serve(newer.name, newer.digest):
        pass
