"""Findings are values that agree with themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models import codes
from models.findings import Findings, Lesion, Measurement, Outcome


def lesion() -> Lesion:
    component = np.array([[[True, False]], [[True, True]]])
    return Lesion(
        label="1",
        segment="lesion",
        finding=codes.VOLUME,
        probability=0.9,
        origin=(3, 1, 2),
        component=component,
        slice_index=4,
    )


def test_a_lesion_is_drawn_where_it_lies() -> None:
    expected = np.zeros((3, 5), dtype=np.bool_)
    expected[1, 2:4] = True
    assert np.array_equal(lesion().plane(4, rows=3, columns=5), expected)
    assert not lesion().plane(2, rows=3, columns=5).any()
    assert list(lesion().slice_range) == [3, 4]


def test_no_finding_cannot_list_a_lesion() -> None:
    with pytest.raises(AssertionError, match="lesions and boxes belong"):
        Findings(outcome=Outcome.NO_FINDING, statement="", lesions=(lesion(),))


def test_a_measurement_is_finite() -> None:
    with pytest.raises(AssertionError, match="finite"):
        Measurement(name=codes.VOLUME, value=math.nan, unit=codes.MILLILITRE)
