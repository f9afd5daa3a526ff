"""Shared memory holds what is put into it; what a child says of it is believed only as far as it fits."""

from __future__ import annotations

import os

import numpy as np
import pytest

from appliance.inference.shared import Arena, SlipError, bytes_of

MIB = 1 << 20


@pytest.fixture
def arena():
    made = Arena.of(1)
    yield made
    made.close()


def slip(**changes: object) -> dict[str, object]:
    return {"name": "a", "dtype": "<f4", "shape": [2, 3], "offset": 64, **changes}


def test_tensors_lie_behind_one_another_and_come_out_as_copies(arena: Arena):
    given: dict[str, np.ndarray] = {
        "a": np.arange(5, dtype=np.int8),
        "b": np.ones((2, 3), np.float32),
        "c": np.array(7, np.float16),
    }
    slips = arena.put(given)
    taken = arena.copies(slips)
    arena.put({name: np.zeros_like(tensor) for name, tensor in given.items()})
    assert taken.keys() == given.keys()
    for name, tensor in given.items():
        assert taken[name].dtype == tensor.dtype
        assert np.array_equal(taken[name], tensor)
    assert bytes_of(list(given.values())) == 3 * 64


def test_both_sides_see_the_same_memory(arena: Arena):
    other = Arena(os.dup(arena.fd))
    (slip_a,) = arena.put({"a": np.arange(4)})
    assert np.array_equal(other.view(slip_a), np.arange(4))
    other.close()


def test_it_grows_in_steps_and_nobody_can_change_its_size(arena: Arena):
    assert arena.size_bytes == MIB
    for size in (0, MIB // 2, 2 * MIB):
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, size)


def test_what_does_not_fit_is_not_put(arena: Arena):
    with pytest.raises(SlipError):
        arena.put({"a": np.zeros(MIB + 1, np.uint8)})


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "|O"},
        {"dtype": "<U4"},
        {"dtype": None},
        {"shape": None},
        {"shape": [-1]},
        {"shape": [2.0]},
        {"shape": [True]},
        {"shape": [1] * 9},
        {"shape": [1 << 40, 1 << 40]},
        {"shape": [MIB // 4, 2]},
        {"offset": -64},
        {"offset": 1},
        {"offset": MIB},
        {"offset": "0"},
        {"offset": None},
    ],
)
def test_a_slip_that_lies_is_refused(arena: Arena, changes: dict[str, object]):
    assert arena.view(slip()).shape == (2, 3)
    with pytest.raises(SlipError):
        arena.copies([slip(**changes)])


@pytest.mark.parametrize("said", [None, {}, "a", [1], [[]]])
def test_what_is_no_list_of_slips_is_refused(arena: Arena, said: object):
    with pytest.raises(SlipError):
        arena.copies(said)


def test_closing_takes_nothing_from_a_view_that_is_still_held():
    arena = Arena.of(1)
    view = arena.view(slip())
    view[...] = 3
    arena.close()
    arena.close()
    assert (view == 3).all()
