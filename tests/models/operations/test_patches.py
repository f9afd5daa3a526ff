"""Sliding covers everything, weighs fairly and hides no patch border."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from models.operations.patches import Sliding, Window, gaussian, slide, windows_over

SLIDING = Sliding(patch=(8, 16, 16), overlap=0.25, batch=3, pad_value=-1.0)


@pytest.mark.parametrize("shape", [(8, 16, 16), (3, 40, 17), (21, 50, 33)])
def test_a_network_that_changes_nothing_gives_the_field_back(shape: tuple[int, int, int]) -> None:
    field = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    both = slide(
        field, SLIDING, lambda batch, group: {"a": np.concatenate([batch, -batch], axis=1), "b": batch * 2}
    )
    answer = both["a"]
    assert both["b"][0] == pytest.approx(2 * field, abs=1e-5)
    assert answer.shape == (2, *shape)
    assert answer[0] == pytest.approx(field, abs=1e-5)
    assert answer[1] == pytest.approx(-field, abs=1e-5)


def test_patches_have_their_shape_and_the_pad_value_beyond_the_edge() -> None:
    shapes: list[tuple[int, ...]] = []
    lowest: list[float] = []

    def infer(batch: np.ndarray, group: Sequence[Window]) -> dict[str, np.ndarray]:
        shapes.append(batch.shape)
        lowest.append(float(batch.min()))
        return {"answer": batch}

    slide(np.zeros((5, 40, 16), dtype=np.float32), SLIDING, infer)
    assert shapes == [(3, 1, 8, 16, 16)]
    assert lowest == [-1.0]


def test_windows_overlap_enough_and_reach_both_ends() -> None:
    windows = list(windows_over((8, 50, 16), (8, 16, 16), 0.25))
    starts = [window[1].start for window in windows]
    assert starts[0] == 0
    assert windows[-1][1].stop == 50
    assert max(np.diff(starts)) <= 12


def test_the_bell_is_high_in_the_middle_and_never_zero() -> None:
    bell = gaussian((9, 9, 9))
    assert bell[4, 4, 4] == 1.0
    assert bell.argmax() == bell.size // 2
    assert bell.min() > 0


def test_progress_counts_patches() -> None:
    seen: list[tuple[int, int]] = []
    slide(
        np.zeros((8, 50, 16), dtype=np.float32),
        SLIDING,
        lambda batch, group: {"answer": batch},
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(3, 4), (4, 4)]


def test_the_network_is_called_by_the_caller_and_its_channels_are_made_of_the_grid() -> None:
    callers: set[int] = set()

    def infer(batch: np.ndarray, group: Sequence[Window]) -> dict[str, np.ndarray]:
        callers.add(threading.get_ident())
        return {"sum": batch.sum(axis=1, keepdims=True)}

    field = np.random.default_rng(4).standard_normal((9, 30, 20)).astype(np.float32)
    answer = slide(field, SLIDING, infer, feed=lambda part: np.stack([part, part + 1, part * 2]))
    assert callers == {threading.get_ident()}
    assert answer["sum"][0] == pytest.approx(4 * field + 1, abs=1e-4)


def test_a_network_that_fails_ends_the_sliding() -> None:
    def infer(batch: np.ndarray, group: Sequence[Window]) -> dict[str, np.ndarray]:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        slide(np.zeros((8, 50, 16), dtype=np.float32), SLIDING, infer)


def test_answers_may_count_all_the_same() -> None:
    field = np.zeros((8, 16, 40), dtype=np.float32)
    given = iter(range(100))

    def infer(batch: np.ndarray, group: Sequence[Window]) -> dict[str, np.ndarray]:
        return {"answer": np.stack([np.full((1, *SLIDING.patch), next(given), np.float32) for _ in group])}

    mean = slide(field, replace(SLIDING, blend="mean"), infer)["answer"][0, 0, 0]
    windows = [window[2] for window in windows_over(field.shape, SLIDING.patch, SLIDING.overlap)]
    expected = [
        np.mean([number for number, window in enumerate(windows) if window.start <= x < window.stop])
        for x in range(40)
    ]
    assert mean == pytest.approx(expected)
