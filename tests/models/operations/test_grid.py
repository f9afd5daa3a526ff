"""The way onto the network's grid and back keeps places, values and directions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.operations.grid import Grid, lay, turn_of, weights
from tests.models import given


@pytest.mark.parametrize("spacing_out", [0.4, 1.0, 2.5])
def test_weights_add_up_and_keep_a_straight_line(spacing_out: float) -> None:
    size_out = int(np.ceil(40 * 1.0 / spacing_out))
    matrix = weights(40, 1.0, size_out=size_out, spacing_out_mm=spacing_out, average=True)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(size_out), abs=1e-6)
    line = matrix @ (np.arange(40, dtype=np.float32) + 0.5)
    inner = slice(size_out // 4, -size_out // 4)
    assert line[inner] == pytest.approx(((np.arange(size_out) + 0.5) * spacing_out)[inner], abs=0.02)


def test_going_down_averages_what_lies_between() -> None:
    stripes = np.tile([0.0, 1.0], 20).astype(np.float32)
    matrix = weights(40, 1.0, size_out=10, spacing_out_mm=4.0, average=True)
    assert (matrix @ stripes)[1:-1] == pytest.approx(np.full(8, 0.5), abs=0.01)


@pytest.mark.parametrize(("orientation", "signs"), [("LPS", (1, 1, 1)), ("RAS", (1, -1, -1))])
def test_every_orientation_of_a_source_is_turned_the_same_way(
    orientation: str, signs: tuple[int, ...]
) -> None:
    for axes in itertools.permutations(range(3)):
        for way in itertools.product((1.0, -1.0), repeat=2):
            directions = np.eye(3)[list(axes)]
            volume = given.volume(
                np.arange(24).reshape(2, 3, 4),
                row_cosines=directions[0] * way[0],
                column_cosines=directions[1] * way[1],
                positions=np.outer(
                    np.arange(2), np.cross(directions[0] * way[0], directions[1] * way[1]) * 2.0
                ),
            )
            turn = turn_of(volume, "LPS" if orientation == "LPS" else "RAS")
            steps = [volume.normal, volume.column_cosines, volume.row_cosines]
            for row, patient in enumerate(((0, 0, 1), (0, 1, 0), (1, 0, 0))):
                step = steps[turn.axes[row]] * (-1 if turn.flips[row] else 1)
                assert step == pytest.approx(np.array(patient) * signs[row])
            assert np.array_equal(turn.undo(turn.apply(volume.voxels)), volume.voxels)


def test_without_a_spacing_the_grid_is_the_source() -> None:
    volume = given.volume(np.random.default_rng(1).standard_normal((5, 6, 7)), spacing_mm=(3.0, 0.5, 0.7))
    laid = lay(volume, orientation="source", spacing_mm=None)
    assert laid.shape == volume.shape
    assert laid.sample(lambda z: volume.voxels[z]) == pytest.approx(volume.voxels, abs=1e-6)


def _ball(laid: Grid) -> np.ndarray:
    axes = [
        (np.arange(size) + 0.5) * step
        for size, step in zip(laid.source_shape, laid.source_spacing_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray((z - 50) ** 2 + (y - 45) ** 2 + (x - 55) ** 2 < 20**2)


@pytest.mark.parametrize("spacing_mm", [(5.0, 0.9, 0.9), (1.0, 1.0, 1.0), (2.0, 3.0, 3.0)])
def test_a_ball_comes_back_where_it_was(spacing_mm: tuple[float, float, float]) -> None:
    shape = tuple(int(100 / step) for step in spacing_mm)
    volume = given.volume(np.zeros(shape), spacing_mm=spacing_mm)
    laid = lay(volume, orientation="LPS", spacing_mm=(2.0, 2.0, 2.0))
    ball = _ball(laid)
    field = laid.sample(lambda z: ball[z].astype(np.float32))
    everything = laid.covered((0, 0, 0), laid.shape)
    assert tuple(len(part) for part in everything) == shape
    back = laid.back(field, first=(0, 0, 0), box=everything) >= 0.5
    assert 2 * (back & ball).sum() / (back.sum() + ball.sum()) > 0.96


def test_a_crop_comes_back_as_it_does_within_the_whole() -> None:
    volume = given.volume(np.zeros((20, 40, 40)), spacing_mm=(5.0, 1.5, 1.5))
    laid = lay(volume, orientation="LPS", spacing_mm=(2.0, 2.0, 2.0))
    field = np.zeros(laid.shape, dtype=np.float32)
    field[20:30, 10:16, 8:20] = 1.0
    whole = laid.back(field, first=(0, 0, 0), box=laid.covered((0, 0, 0), laid.shape))
    reach = laid.covered((18, 8, 6), (14, 10, 16))
    part = laid.back(field[18:32, 8:18, 6:22], first=(18, 8, 6), box=reach)
    inside = tuple(slice(axis.start, axis.stop) for axis in reach)
    assert part == pytest.approx(whole[inside], abs=1e-6)
    assert whole.sum() == pytest.approx(part.sum())
