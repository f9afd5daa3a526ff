"""Stored cells become the numbers the standard says: bits, sign, rescale, padding, brightness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.pixels import PixelFormat
from appliance.worker.values import Meaning, Rescale, is_finite, padding_of, rescale_of

UNCHANGED = Rescale()


def pixels(
    *, allocated: int = 16, stored: int = 16, high: int | None = None, signed: bool = False
) -> PixelFormat:
    return PixelFormat.of(
        {
            "Rows": 1,
            "Columns": 4,
            "BitsAllocated": allocated,
            "BitsStored": stored,
            "HighBit": stored - 1 if high is None else high,
            "PixelRepresentation": int(signed),
            "PhotometricInterpretation": "MONOCHROME2",
        }
    )


def filled(
    cells: np.ndarray,
    form: PixelFormat,
    *,
    rescale: Rescale = UNCHANGED,
    padding: tuple[int, int] | None = None,
    turned_over: bool = False,
) -> tuple[Any, Any]:
    values, valid = np.empty(cells.shape, np.float32), np.ones(cells.shape, np.bool_)
    meaning = Meaning(pixels=form, rescale=rescale, padding=padding, turned_over=turned_over)
    meaning.fill(cells, values, valid)
    return values.tolist(), valid.tolist()


@given(value=st.integers(-2048, 2047), junk=st.integers(0, 15), big_endian=st.booleans())
def test_twelve_signed_bits_are_read_whatever_lies_above_them(value: int, junk: int, big_endian: bool):
    cells = np.array([(value & 0xFFF) | junk << 12], "u2").view("i2")
    cells = cells.astype(">i2" if big_endian else "<i2")
    assert filled(cells, pixels(stored=12, signed=True))[0] == [value]


@given(value=st.integers(0, 4095), junk=st.integers(0, 15))
def test_twelve_bits_at_the_top_of_a_cell(value: int, junk: int):
    cells = np.array([value << 4 | junk], "u2")
    assert filled(cells, pixels(stored=12, high=15))[0] == [value]


@given(
    cells=st.lists(st.integers(-32768, 32767), min_size=1, max_size=50),
    slope=st.floats(0.001, 100),
    intercept=st.floats(-5000, 5000),
)
def test_rescale_is_exact_to_the_last_bit_of_float32(cells: list[int], slope: float, intercept: float):
    stored = np.array(cells, "i2")
    wanted = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    assert filled(stored, pixels(signed=True), rescale=Rescale(slope=slope, intercept=intercept))[0] == (
        wanted.tolist()
    )


def test_whole_hounsfield_units_are_exact():
    stored = np.arange(65536, dtype="u2")
    got, _ = filled(stored, pixels(), rescale=Rescale(intercept=-1024.0))
    assert got == [float(value - 1024) for value in range(65536)]


def test_thirty_two_bits_go_through_float64():
    stored = np.array([2**31, 2**31 + 256], "u4")
    got, _ = filled(stored, pixels(allocated=32, stored=32), rescale=Rescale(slope=2.0**-8))
    assert got == [2.0**23, 2.0**23 + 1]


@given(value=st.integers(0, 4095), slope=st.floats(0.5, 4), intercept=st.floats(-100, 100))
def test_turning_over_before_or_after_rescaling_is_the_same(value: int, slope: float, intercept: float):
    rescale = Rescale(slope=slope, intercept=intercept)
    got, _ = filled(np.array([value], "u2"), pixels(stored=12), rescale=rescale, turned_over=True)
    assert got[0] == pytest.approx((4095 - value) * slope + intercept, abs=0.01)


def test_turning_over_signed_values():
    got, _ = filled(
        np.array([-128, 0, 127], "i1"), pixels(allocated=8, stored=8, signed=True), turned_over=True
    )
    assert got == [127.0, -1.0, -128.0]


def test_padding_is_judged_on_stored_values():
    cells = np.array([[-2000, -1999, 0, 5]], "i2")
    _, valid = filled(
        cells, pixels(signed=True), rescale=Rescale(slope=2.0, intercept=7.0), padding=(-2000, -2000)
    )
    assert valid == [[False, True, True, True]]
    _, valid = filled(cells, pixels(signed=True), padding=(-2000, -1999))
    assert valid == [[False, False, True, True]]


@pytest.mark.parametrize(
    ("facts", "form", "wanted"),
    [
        ({}, pixels(), None),
        ({"PixelPaddingValue": -2000}, pixels(signed=True), (-2000, -2000)),
        ({"PixelPaddingValue": 63536}, pixels(signed=True), (-2000, -2000)),
        ({"PixelPaddingValue": -2000}, pixels(), (63536, 63536)),
        ({"PixelPaddingValue": 10, "PixelPaddingRangeLimit": 3}, pixels(), (3, 10)),
        ({"PixelPaddingValue": 4096}, pixels(stored=12), (0, 0)),
        ({"PixelPaddingValue": "x"}, pixels(), None),
    ],
)
def test_padding_takes_the_sign_of_the_pixels(facts: dict[str, object], form: PixelFormat, wanted: object):
    assert padding_of(facts, form) == wanted


def test_absent_rescale_changes_nothing():
    assert rescale_of({}) == Rescale(slope=1.0, intercept=0.0)
    assert is_finite(Rescale())
    assert not is_finite(Rescale(slope=0.0))
    assert not is_finite(Rescale(intercept=float("nan")))
