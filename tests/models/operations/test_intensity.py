"""Voxel values are changed as named, and the source is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from models.operations.intensity import Clip, FillPadding, Scale, apply_all


def test_steps_run_in_order_and_do_not_touch_the_source() -> None:
    source = np.array([[-2000.0, -50.0, 60.0, 500.0]], dtype=np.float32)
    kept = source.copy()
    valid = source > -2000
    steps = (
        FillPadding(step="fill-padding", value=-1000.0),
        Clip(step="clip", low=-40.0, high=160.0),
        Scale(step="scale", low=-40.0, high=160.0),
    )
    answer = apply_all(steps, source, valid)
    assert answer.dtype == np.float32
    assert answer[0] == pytest.approx([0.0, 0.0, 0.5, 1.0])
    assert np.array_equal(source, kept)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_a_series_without_padding_is_filled_nowhere_and_not_copied(shape: tuple[int, ...]):
    values, step = np.ones(shape, np.float32), FillPadding(step="fill-padding", value=-1000.0)
    assert step.apply(values, np.broadcast_to(np.True_, shape)) is values
    assert (step.apply(values, np.broadcast_to(np.False_, shape)) == -1000.0).all()
    assert (step.apply(values, np.zeros(shape, np.bool_)) == -1000.0).all()
    one = np.ones(shape, np.bool_)
    one.flat[1] = False
    assert np.count_nonzero(step.apply(values, one) == -1000.0) == 1
