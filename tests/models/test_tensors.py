"""The matrix from voxel to patient agrees with every slice's own position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.tensors import affine
from tests.models import given


def test_affine_reaches_every_slice_and_pixel_of_a_tilted_stack() -> None:
    start, step = np.array([-100.0, -80.0, 30.0]), np.array([0.0, 1.5, 4.8])
    positions = start + np.arange(6)[:, None] * step
    volume = given.volume(
        np.zeros((6, 4, 5)), spacing_mm=(4.8, 0.5, 0.7), positions=positions, gantry_tilt_degrees=17.4
    )
    matrix = affine(volume)
    for z in range(6):
        assert matrix @ [z, 0, 0, 1] == pytest.approx([*positions[z], 1])
    assert matrix @ [0, 2, 3, 1] == pytest.approx([-97.9, -79.0, 30.0, 1])


def test_affine_of_one_slice_steps_along_the_normal() -> None:
    volume = given.volume(np.zeros((1, 4, 5)), spacing_mm=(3.0, 0.5, 0.7))
    assert affine(volume)[:3, 0] == pytest.approx([0, 0, 3])
    assert volume.voxel_volume_mm3 == pytest.approx(3.0 * 0.5 * 0.7)


def test_a_volume_of_wrong_shape_or_type_is_a_programmers_error() -> None:
    good = np.zeros((2, 3, 4))
    with pytest.raises(AssertionError, match="positions"):
        given.volume(good, positions=np.zeros((3, 3)))
    with pytest.raises(AssertionError, match="float32"):
        replace(given.volume(good), voxels=good.astype(np.float64))
    with pytest.raises(AssertionError, match="valid has the shape"):
        given.volume(good, valid=np.ones((2, 3, 3), dtype=np.bool_))
