"""Models come and go within their budget, and nobody waits for a model that is not his."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.inference.choose import Opened
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.memory import Budget
from appliance.inference.pool import Pool
from appliance.inference.settings import EngineSettings
from models.package import Package
from tests.appliance.inference import echo
from tests.appliance.inference.given import bands, doubling, package_of

SECONDS_MAX = 30.0
MIB = 1 << 20


class Loaded(echo.Echo):
    """An engine in this process that knows whether it is loaded, and holds as much as a test says."""

    def __init__(self, held_mib: int = 1) -> None:
        super().__init__(EngineSettings())
        self.unloaded = False
        self.held_mib = held_mib
        self.shapes: list[tuple[int, ...]] = []
        self.crashes = False

    def infer(self, batch: Any, *, deadline_seconds: float) -> dict[str, Any]:
        assert not self.unloaded
        image = batch["image"]
        self.shapes.append(image.shape)
        if self.crashes or (image == echo.DIE).any():
            raise InferenceError("inference.crashed", "It died of it.")
        return {"labels": 2 * image}

    def memory_bytes(self) -> int:
        return self.held_mib * MIB

    def unload(self) -> None:
        self.unloaded = True


class Site:
    """A pool, and what it opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[tuple[str, Loaded]] = []
        self.held_mib: dict[str, int] = {}
        self.free: dict[str, threading.Event] = {}
        self.entered = threading.Semaphore(0)
        self.upgrade: Any = None
        self.pool: Pool

    def package(self, name: str, *, mib: int = 10, **changes: Any) -> Package:
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
        made = package_of(folder, doubling())
        manifest = made.manifest.model_copy(
            update={
                "name": name,
                "resources": made.manifest.resources.model_copy(update={"memory_mib": mib}),
                "input": made.manifest.input.model_copy(update=changes),
            }
        )
        return replace(made, manifest=manifest, digest=f"sha256:{name}")

    def open(self, package: Package) -> Opened:
        name = package.manifest.name
        self.entered.release()
        if name in self.free:
            assert self.free[name].wait(SECONDS_MAX)
        engine = Loaded(self.held_mib.get(name, package.manifest.resources.memory_mib))
        self.opened.append((name, engine))
        return Opened(engine=engine, stepped_down=f"{name} stepped down", upgrade=self.upgrade)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.opened]

    @property
    def alive(self) -> list[str]:
        return [name for name, engine in self.opened if not engine.unloaded]

    def use(self, package: Package) -> None:
        with self.pool.seat(package) as seat:
            given = np.ones((1, 1, 2, 2), np.float32)
            answer = seat.infer({"image": given}, deadline_seconds=SECONDS_MAX)
            assert np.array_equal(answer["labels"], 2 * given)


def until(condition: Callable[[], bool]) -> None:
    late = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < late, "in time"
        time.sleep(0.01)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def one(
        *, mib: int | None = 25, available: int | None = None, pinned: tuple[str, ...] = (), **limits: Any
    ) -> Site:
        site = Site(tmp_path)
        budget = Budget(
            bytes_max=None if mib is None else mib * MIB, reserve_bytes=MIB, available=lambda: available
        )
        site.pool = Pool(site.open, limits=InferenceLimits(**limits), budget=budget, pinned=pinned)
        sites.append(site)
        return site

    yield one
    for site in sites:
        site.pool.close()
        assert site.alive == []


def test_a_model_is_opened_once_and_kept(make):
    site = make()
    one = site.package("one")
    for _ in range(3):
        site.use(one)
    assert site.names == ["one"]
    assert site.pool.loaded() == {"sha256:one": 10 * MIB}


def test_the_model_that_was_used_longest_ago_makes_room(make):
    site = make()
    one, two, three = (site.package(name) for name in ("one", "two", "three"))
    for package in (one, two, one, three):
        site.use(package)
    assert site.alive == ["one", "three"]
    assert list(site.pool.loaded()) == ["sha256:one", "sha256:three"]


def test_a_pinned_model_stays(make):
    site = make(pinned=("one",))
    for name in ("one", "two", "three", "four"):
        site.use(site.package(name))
    assert site.alive == ["one", "four"]


def test_a_model_in_use_stays_and_the_next_waits_for_it(make):
    site = make(mib=15)
    one, two = site.package("one"), site.package("two")
    waiting = threading.Thread(target=site.use, args=(two,))
    with site.pool.seat(one) as seat:
        waiting.start()
        given = np.ones((1, 1, 2, 2), np.float32)
        seat.infer({"image": given}, deadline_seconds=SECONDS_MAX)
        assert site.alive == ["one"]
    waiting.join(SECONDS_MAX)
    assert site.alive == ["two"]


def test_a_guest_puts_nobody_away_and_makes_way_itself(make):
    site = make()
    first, second, guest = site.package("first"), site.package("second"), site.package("guest")
    site.use(first)
    with site.pool.seat(guest, guest=True):
        assert site.alive == ["first", "guest"]
    assert site.pool.has_room(second), "a guest that nobody sits at takes no room"
    site.use(second)
    assert site.alive == ["first", "second"]
    with pytest.raises(InferenceError, match="no room beside"), site.pool.seat(guest, guest=True):
        pass
    assert sorted(site.alive) == ["first", "second"], "what serves is where it was"


def test_a_guest_that_begins_to_serve_is_pinned_like_any_other(make):
    site = make(pinned=("guest",))
    guest = site.package("guest")
    with site.pool.seat(guest, guest=True):
        pass
    site.use(guest)
    site.use(site.package("second"))
    site.use(site.package("third"))
    assert sorted(site.alive) == ["guest", "third"]


def test_the_wait_for_room_has_an_end_and_numbers(make):
    site = make(mib=15, memory_wait_seconds_max=0.05)
    with site.pool.seat(site.package("one")), pytest.raises(InferenceError) as caught:
        site.use(site.package("two"))
    assert caught.value.word == "inference.memory"
    assert "needs 10 MiB and 5 MiB are free" in caught.value.sentence


def test_a_model_that_never_fits_is_refused_at_once_and_evicts_nobody(make):
    site = make()
    site.use(site.package("one"))
    with pytest.raises(InferenceError) as caught, site.pool.seat(site.package("large", mib=26)):
        pass
    assert caught.value.word == "inference.memory"
    assert "needs 26 MiB" in caught.value.sentence
    assert "may hold 25 MiB" in caught.value.sentence
    assert site.alive == ["one"]


def test_what_is_pinned_is_not_counted_as_room(make):
    site = make(pinned=("one",))
    site.use(site.package("one"))
    with pytest.raises(InferenceError, match=r"15 MiB .* beside the 10 MiB"):
        site.use(site.package("two", mib=16))


def test_what_a_model_really_holds_counts(make):
    site = make()
    site.held_mib = {"one": 2}
    for name in ("one", "two", "three"):
        site.use(site.package(name))
    assert site.alive == ["one", "two", "three"]


def test_a_model_that_holds_more_than_it_said_takes_the_room_of_others_or_goes(make):
    site = make()
    site.held_mib = {"two": 20, "three": 30}
    site.use(site.package("one"))
    site.use(site.package("two"))
    assert site.alive == ["two"]
    with pytest.raises(InferenceError, match="needs 30 MiB"):
        site.use(site.package("three"))
    assert "three" not in site.alive


def test_without_a_configured_bound_what_the_machine_has_left_counts(make):
    site = make(mib=None, available=11 * MIB)
    site.use(site.package("one"))
    with pytest.raises(InferenceError, match="needs 30 MiB"):
        site.use(site.package("large", mib=30))
    assert site.alive == ["one"]


def test_where_nobody_knows_what_is_left_nothing_is_refused(make):
    site = make(mib=None, available=None)
    site.use(site.package("large", mib=1_000_000))


def test_nobody_waits_for_a_model_that_somebody_else_loads(make):
    site = make()
    one, slow = site.package("one"), site.package("slow")
    site.use(one)
    site.free["slow"] = threading.Event()
    loading = threading.Thread(target=site.use, args=(slow,))
    loading.start()
    assert site.entered.acquire(timeout=SECONDS_MAX)
    assert site.entered.acquire(timeout=SECONDS_MAX)
    site.use(one)
    assert site.alive == ["one"]
    site.free["slow"].set()
    loading.join(SECONDS_MAX)
    assert site.alive == ["one", "slow"]


def test_many_who_want_the_same_model_open_it_once(make):
    site = make()
    one = site.package("one")
    site.free["one"] = threading.Event()
    threads = [threading.Thread(target=site.use, args=(one,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert site.entered.acquire(timeout=SECONDS_MAX)
    site.free["one"].set()
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert site.names == ["one"]


def test_a_model_that_cannot_be_opened_is_tried_again_for_the_next_job(make):
    site = make()
    one = site.package("one")
    opens = site.pool._open

    def fails(package: Package) -> Opened:
        raise InferenceError("inference.no_engine", "No engine.")

    site.pool._open = fails
    with pytest.raises(InferenceError, match="No engine"):
        site.use(one)
    site.pool._open = opens
    site.use(one)
    assert site.pool.loaded() == {"sha256:one": 10 * MIB}


def test_an_engine_that_crashed_is_opened_anew_for_the_next_job(make):
    site = make()
    one = site.package("one")
    with pytest.raises(InferenceError, match="died"), site.pool.seat(one) as seat:
        seat.infer({"image": np.full((1, 1, 2, 2), echo.DIE, np.float32)}, deadline_seconds=SECONDS_MAX)
    site.use(one)
    assert site.names == ["one", "one"]
    assert site.alive == ["one"]


def test_it_is_warm_in_its_real_shapes_before_it_is_ready(make):
    site = make()
    with site.pool.seat(site.package("one", batch=8)):
        pass
    shapes = site.opened[0][1].shapes
    assert set(shapes) == {(1, 1, 512, 512), (8, 1, 512, 512)}
    assert len(shapes) >= 4, "each until it is steady"


def test_calls_of_two_jobs_are_joined(make):
    site = make()
    one = site.package("one", batch=4)
    site.pool._batch_wait_seconds = SECONDS_MAX
    with site.pool.seat(one) as first, site.pool.seat(one, priority=9) as second:
        engine = site.opened[0][1]
        first.infer(calls(1), deadline_seconds=SECONDS_MAX)
        before = len(engine.shapes)
        # The first just had an answer, so the second waits for it.
        answers: list[Any] = []
        waiting = threading.Thread(
            target=lambda: answers.append(second.infer(calls(2), deadline_seconds=SECONDS_MAX))
        )
        waiting.start()
        until(lambda: second.caller.last is not None)
        mine = first.infer(calls(1), deadline_seconds=SECONDS_MAX)
        waiting.join(SECONDS_MAX)
    assert (float(mine["labels"].flat[0]), float(answers[0]["labels"].flat[0])) == (2, 4)
    assert engine.shapes[before:] == [(4, 1, 2, 2)]


def calls(value: float) -> dict[str, np.ndarray]:
    return {"image": np.full((2, 1, 2, 2), value, np.float32)}


def test_a_better_engine_takes_over_when_it_is_ready_and_running_jobs_end_on_the_old(make):
    site = make()
    one = site.package("one")
    go, better = threading.Event(), Loaded()

    def upgrade() -> tuple[Loaded, None]:
        assert go.wait(SECONDS_MAX)
        site.opened.append(("better", better))
        return better, None

    site.upgrade = upgrade
    with site.pool.seat(one) as seat:
        go.set()
        until(lambda: next(iter(site.pool.loaded().values())) == MIB)
        seat.infer({"image": np.ones((1, 1, 2, 2), np.float32)}, deadline_seconds=SECONDS_MAX)
        assert seat.stepped_down == "one stepped down"
        with site.pool.seat(one) as newer:
            assert newer.inner is better
            assert newer.stepped_down is None
    assert site.alive == ["better"]


@pytest.mark.parametrize("held_mib", [1, 30])
def test_a_better_engine_that_may_not_serve_is_put_away_and_the_old_one_goes_on(make, held_mib: int):
    site = make()
    one = site.package("one")
    better = Loaded(held_mib)
    better.crashes = held_mib == 1
    site.upgrade = lambda: (better, None)
    site.use(one)
    until(lambda: better.unloaded)
    with site.pool.seat(one) as seat:
        assert seat.inner is site.opened[0][1]


def test_why_no_better_engine_came_is_told_from_then_on(make):
    site = make()
    one = site.package("one")
    go = threading.Event()

    def upgrade() -> tuple[None, str]:
        assert go.wait(SECONDS_MAX)
        return None, "it could not be built"

    site.upgrade = upgrade

    def said() -> str | None:
        with site.pool.seat(one) as seat:
            told: str | None = seat.stepped_down
        return told

    assert said() == "one stepped down"
    go.set()
    until(lambda: said() == "it could not be built")


def test_an_upgrade_that_fails_in_a_way_nobody_foresaw_leaves_the_old_one(make):
    site = make()

    def upgrade() -> tuple[None, str]:
        raise OSError(28, "no room")

    site.upgrade = upgrade
    site.use(site.package("one"))
    until(lambda: not any(thread.name == "upgrade" for thread in threading.enumerate()))
    site.use(site.package("one"))
    assert site.names == ["one"]


def test_a_pool_that_is_closed_loads_nothing_and_says_so(make):
    site = make()
    site.use(site.package("one"))
    site.pool.close()
    assert site.alive == []
    with pytest.raises(InferenceError) as caught:
        site.use(site.package("one"))
    assert caught.value.word == "inference.closed"


def test_bands_fit_into_any_machine_this_runs_on(make):
    site = make(mib=bands().manifest.resources.memory_mib)
    with site.pool.seat(bands()) as seat:
        assert seat.probe().ok
