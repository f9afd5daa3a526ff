"""A library's call is ended once, in time, and never after it was left."""

from __future__ import annotations

import threading

import pytest

from appliance.inference.deadline import Turn, ended_after, failed, too_late
from appliance.inference.engine import InferenceError


def test_a_call_that_outlives_its_deadline_is_ended_once():
    ended = threading.Event()
    calls: list[int] = []

    def end() -> None:
        calls.append(1)
        ended.set()

    with ended_after(0.01, end) as late:
        assert ended.wait(30)
        assert late.is_set()
    assert calls == [1]


def test_a_call_that_was_in_time_is_never_ended():
    calls: list[int] = []
    with ended_after(60, lambda: calls.append(1)) as late:
        pass
    assert not late.is_set()
    assert calls == []


def test_a_deadline_that_passed_already_is_none_to_wait_for():
    ended = threading.Event()
    with ended_after(-5, ended.set):
        assert ended.wait(30)


def test_two_calls_take_turns_and_waiting_counts():
    turn = Turn()
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with turn.taken(60):
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(InferenceError) as caught, turn.taken(0.05):
        pytest.fail("two calls at once")
    assert caught.value.word == "inference.deadline"
    leave.set()
    thread.join(30)
    with turn.taken(60) as seconds:
        assert 0 < seconds <= 60


def test_a_turn_is_given_back_after_a_failure():
    turn = Turn()
    with pytest.raises(ZeroDivisionError), turn.taken(1):
        raise ZeroDivisionError
    with turn.taken(0.0) as seconds:
        assert seconds == 0.0


def test_errors_name_no_path():
    assert too_late(3).sentence == "The network did not answer within 3 seconds."
    told = failed(ValueError("/secret/model.onnx"))
    assert (told.word, "secret" in told.sentence) == ("inference.failed", False)
