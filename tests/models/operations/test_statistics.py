"""Steps that measure the series first: exact where they can be, never divided by nothing."""

from __future__ import annotations

import numpy as np
import pytest

from models.operations import statistics
from models.operations.intensity import Clip, Normalise, Scale, Window, apply_all
from models.operations.statistics import PercentileWindow, StatisticsStep, ZScore
from models.preparation import run, settled

VALUES = np.random.default_rng(8).normal(300.0, 40.0, size=(5, 12, 10)).astype(np.float32)
VALID = np.random.default_rng(9).random(VALUES.shape) > 0.2


def over_all(step: StatisticsStep, values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    steps = settled((step,), lambda: zip(values, valid, strict=True), values.size)
    assert not any(isinstance(one, StatisticsStep) for one in steps)
    return run(steps, values, valid)


def test_z_score_is_of_the_valid_voxels_of_all_slices() -> None:
    measured = VALUES[VALID].astype(np.float64)
    scored = over_all(ZScore(step="z-score"), VALUES, VALID)
    assert scored == pytest.approx((VALUES - measured.mean()) / measured.std(), abs=1e-4)


def test_zeros_may_be_left_out() -> None:
    values = np.where(VALUES > 300, VALUES, np.float32(0))
    some = values[VALID & (values != 0)].astype(np.float64)
    scored = over_all(ZScore(step="z-score", over="nonzero"), values, VALID)
    assert scored[VALID][0] == pytest.approx((values[VALID][0] - some.mean()) / some.std(), abs=1e-4)


@pytest.mark.parametrize("step", [ZScore(step="z-score"), PercentileWindow(step="percentile-window")])
@pytest.mark.parametrize("value", [0.0, 5.0, -70000.0])
def test_one_value_alone_comes_out_as_zeros(step: StatisticsStep, value: float) -> None:
    plain = np.full((2, 4, 4), value, dtype=np.float32)
    for valid in (np.ones(plain.shape, dtype=np.bool_), np.zeros(plain.shape, dtype=np.bool_)):
        found = over_all(step, plain, valid)
        assert np.isfinite(found).all()
        if valid.any():
            assert found == pytest.approx(0.0, abs=1e-5)


def test_percentiles_become_a_window() -> None:
    step = PercentileWindow(step="percentile-window", low=5, high=95, to=(-1, 1))
    low, high = np.percentile(VALUES[VALID], (5, 95))
    expected = np.clip((VALUES - low) / (high - low) * 2 - 1, -1, 1)
    assert over_all(step, VALUES, VALID) == pytest.approx(expected, abs=1e-4)
    loose = PercentileWindow(step="percentile-window", low=5, high=95, clip=False)
    assert over_all(loose, VALUES, VALID).max() > 1


def test_a_very_large_series_is_measured_from_an_even_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = over_all(PercentileWindow(step="percentile-window"), VALUES, VALID)
    monkeypatch.setattr(statistics, "VALUES_MAX", 200)
    part = over_all(PercentileWindow(step="percentile-window"), VALUES, VALID)
    assert not np.array_equal(part, whole)
    assert np.abs(part - whole).mean() < 0.1
    again = over_all(PercentileWindow(step="percentile-window"), VALUES, VALID)
    assert np.array_equal(part, again)


def test_a_step_measures_what_the_steps_before_it_left() -> None:
    clip, score = Clip(step="clip", low=290, high=310), ZScore(step="z-score")
    steps = settled((clip, score), lambda: zip(VALUES, VALID, strict=True), VALUES.size)
    clipped = np.clip(VALUES, 290, 310)
    expected = (clipped - clipped[VALID].mean()) / clipped[VALID].std()
    assert run(steps, VALUES, VALID) == pytest.approx(expected, abs=1e-3)


def test_each_slice_by_itself() -> None:
    scored = run((ZScore(step="z-score", per="slice"),), VALUES, VALID)
    for plane, valid in zip(scored, VALID, strict=True):
        assert plane[valid].mean() == pytest.approx(0.0, abs=1e-4)
        assert plane[valid].std() == pytest.approx(1.0, abs=1e-4)


def test_windows_and_fixed_numbers() -> None:
    values = np.array([[[0.0, 40.0, 80.0, 200.0]]], dtype=np.float32)
    valid = np.ones(values.shape, dtype=np.bool_)
    window = Window(step="window", centre=40, width=80)
    assert apply_all((window,), values, valid)[0, 0].tolist() == [0.0, 0.5, 1.0, 1.0]
    fixed = Normalise(step="normalise", mean=40, deviation=20)
    assert apply_all((fixed,), values, valid)[0, 0].tolist() == [-2.0, 0.0, 2.0, 8.0]
    scale = Scale(step="scale", low=0, high=80, to=(-1, 1))
    assert apply_all((scale,), values, valid)[0, 0].tolist() == [-1.0, 0.0, 1.0, 4.0]
