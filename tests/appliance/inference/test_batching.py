"""Calls are joined, and whatever happens an answer goes to who asked and every call ends."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from appliance.inference.batching import Batcher, Caller
from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits

SECONDS_MAX = 30.0
LIMITS = InferenceLimits(queue_calls_max=8)
POISON = -1.0


class Echo:
    """Answers three times its input, remembers its calls, and can be held up."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Semaphore(0)

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        image = batch["image"]
        self.seen.append(image.copy())
        self.entered.release()
        assert self.free.wait(SECONDS_MAX)
        if (image == POISON).any():
            raise InferenceError("inference.crashed", "It died of it.")
        return {"labels": 3 * image, "sums": image.reshape(len(image), -1).sum(axis=1)}

    @property
    def rows(self) -> list[int]:
        return [len(image) for image in self.seen]


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def batcher(echo: Echo) -> Iterator[Batcher]:
    made = Batcher(echo, rows_max=4, limits=LIMITS, wait_seconds=SECONDS_MAX)
    yield made
    echo.free.set()
    made.close()


def image(value: float, rows: int = 1, side: int = 3) -> dict[str, np.ndarray]:
    return {"image": np.full((rows, 1, side, side), value, np.float32)}


def held_up(echo: Echo, batcher: Batcher):
    """Let a first call into the engine and keep it there, so that others must queue."""
    echo.free.clear()
    call = batcher.submit(image(99, rows=4), deadline_seconds=SECONDS_MAX)
    assert echo.entered.acquire(timeout=SECONDS_MAX)
    return call


def value(call: Any) -> float:
    answer = call.result()
    assert len({float(v) for v in answer["labels"].flat}) == 1
    return float(answer["labels"].flat[0]) / 3


def test_a_job_that_is_alone_waits_for_nobody(echo: Echo, batcher: Batcher):
    with batcher.calling(), batcher.calling() as caller:
        for n in range(3):
            answer = caller.infer(image(n), deadline_seconds=SECONDS_MAX / 2)
            assert np.array_equal(answer["labels"], 3 * image(n)["image"])


def test_calls_that_had_to_queue_are_joined(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    calls = [batcher.submit(image(n), deadline_seconds=SECONDS_MAX) for n in (1, 2, 3)]
    echo.free.set()
    assert [value(call) for call in [first, *calls]] == [99, 1, 2, 3]
    assert echo.rows == [4, 3]


def test_a_call_waits_for_who_just_had_an_answer_and_only_until_he_calls(echo: Echo, batcher: Batcher):
    with batcher.calling() as one, batcher.calling() as two:
        assert value(one.submit(image(1), deadline_seconds=SECONDS_MAX / 2)) == 1
        calls = [
            caller.submit(image(n), deadline_seconds=SECONDS_MAX / 2) for n, caller in ((2, two), (3, one))
        ]
        assert [value(call) for call in calls] == [2, 3]
    assert echo.rows == [1, 2]


def test_jobs_that_take_turns_meet(echo: Echo, batcher: Batcher):
    with batcher.calling() as one, batcher.calling() as two:
        echo.free.clear()
        first = one.submit(image(1), deadline_seconds=SECONDS_MAX)
        assert echo.entered.acquire(timeout=SECONDS_MAX)
        second = two.submit(image(2), deadline_seconds=SECONDS_MAX)
        echo.free.set()
        assert value(first) == 1
        third = one.submit(image(3), deadline_seconds=SECONDS_MAX)
        assert (value(second), value(third)) == (2, 3)
    assert echo.rows == [1, 2]


def test_a_full_batch_waits_for_nobody(echo: Echo, batcher: Batcher):
    with batcher.calling() as one, batcher.calling() as two:
        assert value(one.submit(image(1), deadline_seconds=SECONDS_MAX / 2)) == 1
        assert value(two.submit(image(2, rows=4), deadline_seconds=SECONDS_MAX / 2)) == 2


def test_nobody_waits_for_a_job_that_ended(echo: Echo, batcher: Batcher):
    with batcher.calling() as one:
        with batcher.calling() as two:
            assert value(two.submit(image(2), deadline_seconds=SECONDS_MAX / 2)) == 2
            call = one.submit(image(1), deadline_seconds=SECONDS_MAX / 2)
        assert value(call) == 1


def test_the_wait_for_others_has_an_end(echo: Echo):
    batcher = Batcher(echo, rows_max=4, limits=LIMITS, wait_seconds=0.01)
    with batcher.calling() as one, batcher.calling() as two:
        for n in range(3):
            assert value(one.submit(image(n), deadline_seconds=SECONDS_MAX)) == n
            assert value(two.submit(image(n), deadline_seconds=SECONDS_MAX)) == n
    batcher.close()


def test_the_most_urgent_goes_first_and_equals_in_their_order(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    calls = [
        batcher.submit(image(n, rows=4), deadline_seconds=SECONDS_MAX, priority=priority)
        for n, priority in enumerate([5, 0, 9, 5, 9])
    ]
    echo.free.set()
    assert [value(call) for call in [first, *calls]] == [99, 0, 1, 2, 3, 4]
    assert [float(seen.flat[0]) for seen in echo.seen] == [99, 2, 4, 0, 3, 1]


def test_only_calls_of_one_kind_are_joined(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    given: tuple[dict[str, np.ndarray], ...] = (
        image(1),
        image(2, side=5),
        {"image": np.full((1, 1, 3, 3), 3, np.float16)},
        image(4, rows=3),
        {"image": np.array([5], np.float32)},
    )
    calls = [batcher.submit(one, deadline_seconds=SECONDS_MAX) for one in given]
    echo.free.set()
    assert [value(call) for call in [first, *calls]] == [99, 1, 2, 3, 4, 5]
    assert sorted(echo.rows) == [1, 1, 1, 4, 4]


def test_a_bad_call_fails_nobody_else(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    calls = [batcher.submit(image(n), deadline_seconds=SECONDS_MAX) for n in (1, POISON, 2)]
    echo.free.set()
    assert (value(first), value(calls[0]), value(calls[2])) == (99, 1, 2)
    with pytest.raises(InferenceError, match="died of it"):
        calls[1].result()
    assert echo.rows == [4, 3, 1, 1, 1]
    assert batcher.crashed


def test_a_full_queue_refuses_and_takes_calls_again(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    calls = [batcher.submit(image(n), deadline_seconds=SECONDS_MAX) for n in range(LIMITS.queue_calls_max)]
    with pytest.raises(InferenceError) as caught:
        batcher.submit(image(50), deadline_seconds=SECONDS_MAX)
    assert caught.value.word == "inference.busy"
    calls.pop().cancel()
    calls.append(batcher.submit(image(51), deadline_seconds=SECONDS_MAX))
    echo.free.set()
    assert [value(call) for call in [first, *calls]] == [99, 0, 1, 2, 3, 4, 5, 6, 51]


def test_a_call_that_is_late_ends_though_the_engine_does_not(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    late = batcher.submit(image(1), deadline_seconds=0.05)
    with pytest.raises(InferenceError) as caught:
        late.result()
    assert caught.value.word == "inference.deadline"
    echo.free.set()
    assert value(first) == 99
    assert value(batcher.submit(image(2), deadline_seconds=SECONDS_MAX)) == 2
    assert 1 not in [float(seen.flat[0]) for seen in echo.seen], "nobody wants its answer"


def test_outputs_that_have_nothing_to_do_with_rows_are_never_divided(echo: Echo):
    class Whole(Echo):
        def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
            super().infer(batch, deadline_seconds=deadline_seconds)
            return {"labels": 3 * batch["image"], "mean": np.array(batch["image"].mean())}

    whole = Whole()
    batcher = Batcher(whole, rows_max=4, limits=LIMITS, wait_seconds=SECONDS_MAX)
    for _ in range(2):
        held_up(whole, batcher)
        calls = [batcher.submit(image(n), deadline_seconds=SECONDS_MAX) for n in (1, 2)]
        whole.free.set()
        assert [float(call.result()["mean"]) for call in calls] == [1, 2]
    batcher.close()
    assert whole.rows == [4, 2, 1, 1, 4, 1, 1]


def test_an_error_nobody_foresaw_ends_the_call_and_not_the_queue(batcher: Batcher):
    with pytest.raises(InferenceError, match="KeyError"):
        batcher.submit({"other": np.zeros((1, 1))}, deadline_seconds=SECONDS_MAX).result()
    assert value(batcher.submit(image(1), deadline_seconds=SECONDS_MAX)) == 1


def test_what_waits_when_the_model_goes_is_told(echo: Echo, batcher: Batcher):
    first = held_up(echo, batcher)
    waiting = batcher.submit(image(1), deadline_seconds=SECONDS_MAX)
    batcher.close()
    with pytest.raises(InferenceError) as caught:
        waiting.result()
    assert caught.value.word == "inference.closed"
    with pytest.raises(InferenceError):
        batcher.submit(image(1), deadline_seconds=SECONDS_MAX)
    echo.free.set()
    assert value(first) == 99


class Odd(Echo):
    """Mixes nothing up itself, but fails, is slow and crashes as the numbers it is given say."""

    def infer(self, batch: Mapping[str, Any], *, deadline_seconds: float) -> dict[str, Any]:
        assert deadline_seconds > 0
        self.seen.append(batch["image"])
        kinds = set((batch["image"].reshape(len(batch["image"]), -1)[:, 0].astype(int) % 23).tolist())
        if 7 in kinds:
            raise InferenceError("inference.crashed", "It died of it.")
        if 11 in kinds:
            raise ZeroDivisionError
        if 13 in kinds:
            time.sleep(0.004)
        return {"labels": 3 * batch["image"] + 1, "count": batch["image"].sum(axis=(1, 2, 3))}


@pytest.mark.parametrize("seed", range(4))
def test_answers_never_cross_and_every_call_ends(seed: int):
    """Many threads, shapes, sizes, priorities, deadlines, cancellations and failures at once."""
    dice = random.Random(seed)
    odd = Odd()
    limits = InferenceLimits(queue_calls_max=dice.choice([10, 64]))
    batcher = Batcher(
        odd, rows_max=dice.choice([1, 4, 8]), limits=limits, wait_seconds=0.002, lanes=dice.choice([1, 3])
    )
    ends: dict[str, int] = {}
    wrong: list[object] = []

    def job(number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        with batcher.calling(priority=number % 10) as caller:
            for _ in range(60):
                end = one_call(dice, number, caller)
                ends[end] = ends.get(end, 0) + 1

    def one_call(dice: random.Random, number: int, caller: Caller) -> str:
        shape = (dice.randint(1, 5), 1, dice.choice([2, 3]), 4)
        given = np.full(shape, dice.randrange(10_000), np.float32) + np.arange(shape[0])[:, None, None, None]
        given = np.asarray(given + number / 64, np.float32)
        seconds = dice.choice([0.0, 0.003, SECONDS_MAX, SECONDS_MAX])
        try:
            call = caller.submit({"image": given}, deadline_seconds=seconds)
            if dice.random() < 0.1:
                call.cancel()
            answer = call.result()
        except InferenceError as error:
            return error.word
        same = np.array_equal(answer["labels"], 3 * given + 1)
        if not same or not np.array_equal(answer["count"], given.sum(axis=(1, 2, 3))):
            wrong.append((number, shape))
        return "answered"

    threads = [threading.Thread(target=job, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS_MAX)
    assert not any(thread.is_alive() for thread in threads)
    batcher.close()
    assert wrong == []
    assert sum(ends.values()) == 12 * 60
    assert ends["answered"] > 50
    assert {
        "inference.crashed",
        "inference.failed",
        "inference.deadline",
        "inference.cancelled",
    } <= ends.keys()
