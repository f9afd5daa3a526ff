"""Instances and locations are values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from appliance.core.instance import Location


def test_a_location_is_a_value():
    here = Location(file="in/a", offset=400, length=2)
    assert here == Location(file="in/a", offset=400, length=2)
    assert here != Location(file="in/a", offset=401, length=2)
    with pytest.raises(FrozenInstanceError):
        here.offset = 0  # type: ignore[misc]
