"""Memory for a volume: one holder at a time, kept within a bound, and never a refusal."""

from __future__ import annotations

import gc
import mmap

import numpy as np

from appliance.worker.space import VolumeSpace

MIB = 1 << 20


def space(*, most: int = 8 * MIB, kept: int = 4 * MIB) -> VolumeSpace:
    return VolumeSpace(bytes_max=most, kept_bytes_max=kept)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_what_one_holds_nobody_else_gets():
    made = space()
    first, second = made.empty((4, 8, 8)), made.empty((4, 8, 8))
    first[:], second[:] = 1.0, 2.0
    assert (first == 1.0).all()
    assert not np.shares_memory(first, second)


def test_the_same_memory_comes_back_when_the_last_view_is_gone():
    made = space()
    array = made.empty((4, 8, 8))
    where, view = address(array), array[2:, ::2].T
    view[...] = 7.0
    del array
    gc.collect()
    other = made.empty((4, 8, 8))
    assert address(other) != where
    other[:] = 0.0
    assert (view == 7.0).all()
    del view
    assert address(made.empty((2, 8, 8))) == where


def test_what_is_too_large_gets_memory_of_its_own():
    made = space()
    array = made.empty((9, 512, 512))
    array[:] = 3.0
    assert array.shape == (9, 512, 512)
    assert array.flags.owndata


def test_memory_is_taken_ahead_within_the_bound_and_not_under_a_holder():
    made = space()
    made.touch(3 * MIB)
    assert made.touched_bytes == 3 * MIB
    made.touch(100 * MIB)
    assert made.touched_bytes == 4 * MIB
    array = made.empty((4, 512, 512))
    array[:] = 5.0
    made.touch(4 * MIB)
    assert (array == 5.0).all()


def test_taking_ahead_stops_when_told():
    made = space(most=64 * MIB, kept=64 * MIB)
    answers = iter([True, False])
    made.touch(64 * MIB, go_on=lambda: next(answers))
    assert made.touched_bytes == 16 * MIB


def test_no_more_than_the_bound_is_kept():
    made = space()
    array = made.empty((7, 512, 512))
    array[:] = 9.0
    del array
    assert made.touched_bytes == 4 * MIB
    again = made.empty((7, 512, 512))
    assert (again[4:] == 0.0).all()
    assert (again[:4] == 9.0).all()


def test_a_kernel_that_gives_no_addresses_is_no_reason_to_refuse(monkeypatch):
    real, asked = mmap.mmap, []

    def stingy(number: int, size: int, **named: int) -> mmap.mmap:
        asked.append(size)
        if size > mmap.PAGESIZE:
            raise OSError(12, "no memory")
        return real(number, size, **named)

    monkeypatch.setattr("appliance.worker.space.mmap.mmap", stingy)
    made = space()
    made.touch(MIB)
    assert made.empty((4, 8, 8)).flags.owndata
    assert asked == [8 * MIB, mmap.PAGESIZE]
