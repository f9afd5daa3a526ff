"""Numbers out of values as data sets hold them."""

from __future__ import annotations

import pytest
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from appliance.core.numbers import first_number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (DSfloat("40"), 40.0),
        (MultiValue(float, [1.5, 2.5]), 1.5),
        ("-7", -7.0),
        (MultiValue(float, []), None),
        (None, None),
        ("", None),
        ("forty", None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_the_first_number_or_none(value: object, number: float | None):
    assert first_number(value) == number
