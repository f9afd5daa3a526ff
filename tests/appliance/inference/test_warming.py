"""A model is called in the shapes it will see, and joined only where its network and manifest let it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.settings import EngineSettings
from appliance.inference.warming import Footprint, footprint_of, warm
from models.catalogue import shipped
from models.package import Package, open_package
from tests.appliance.inference import echo
from tests.appliance.inference.given import network, package_of

LIMITS = InferenceLimits(warm_up_calls_max=4)


def with_batch(folder: Path, batch: int, shape: Sequence[int | str]) -> Package:
    add = helper.make_node("Add", ["image", "image"], ["labels"])
    made = package_of(folder, network([add], shape=shape))
    given = made.manifest.input.model_copy(update={"batch": batch})
    return replace(made, manifest=made.manifest.model_copy(update={"input": given}))


@pytest.mark.parametrize(
    ("batch", "shape", "rows", "shapes"),
    [
        (8, ("n", 1, 20, 30), 8, [(1, 1, 20, 30), (8, 1, 20, 30)]),
        (1, ("n", 1, 20, 30), 1, [(1, 1, 20, 30)]),
        (4, (4, 1, 20, 30), 1, [(4, 1, 20, 30)]),
        (2, ("n", 1, "y", "x"), 2, [(1, 1, 512, 512), (2, 1, 512, 512)]),
    ],
)
def test_shapes_and_rows_come_from_manifest_and_graph(tmp_path: Path, batch, shape, rows, shapes):
    footprint = footprint_of(with_batch(tmp_path, batch, shape), LIMITS)
    assert footprint.rows_max == rows
    assert [given["image"].shape for given in footprint.batches] == shapes
    assert all(given["image"].dtype == np.float32 for given in footprint.batches)


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_every_package_that_ships_can_be_warmed(path: Path):
    package = open_package(path)
    footprint = footprint_of(package, LIMITS)
    assert footprint.rows_max in (1, package.manifest.input.batch)
    assert [len(next(iter(batch.values()))) for batch in footprint.batches] in (
        [1],
        [1, package.manifest.input.batch],
    )


class Told(echo.Echo):
    """An engine that remembers what it was asked and may refuse a shape."""

    def __init__(self, refuses: str = "") -> None:
        super().__init__(EngineSettings())
        self.rows: list[int] = []
        self.refuses = refuses

    def infer(self, batch: Any, *, deadline_seconds: float) -> dict[str, Any]:
        self.rows.append(len(batch["image"]))
        if self.refuses and len(batch["image"]) == 1:
            raise InferenceError(self.refuses, "It does not take it.")
        return super().infer(batch, deadline_seconds=deadline_seconds)


FOOTPRINT = Footprint(
    batches=({"image": np.ones((1, 1, 2, 2), np.float32)}, {"image": np.ones((2, 1, 2, 2), np.float32)}),
    rows_max=2,
)


def test_each_shape_is_called_more_than_once_and_not_for_ever():
    engine = Told()
    warm(engine, FOOTPRINT, LIMITS)
    assert engine.rows == sorted(engine.rows)
    assert 2 <= engine.rows.count(1) <= 4
    assert 2 <= engine.rows.count(2) <= 4


def test_a_slow_model_is_called_once_in_each_shape():
    engine = Told()
    warm(engine, FOOTPRINT, InferenceLimits(warm_up_seconds=0.0))
    assert engine.rows == [1, 2]


def test_a_shape_that_is_not_taken_is_no_reason_to_refuse_a_model():
    engine = Told(refuses="inference.failed")
    warm(engine, FOOTPRINT, LIMITS)
    assert engine.rows[:2] == [1, 2]


@pytest.mark.parametrize("word", ["inference.crashed", "inference.deadline", "inference.memory"])
def test_an_engine_that_dies_of_its_real_shape_does_not_serve(word: str):
    with pytest.raises(InferenceError) as caught:
        warm(Told(refuses=word), FOOTPRINT, LIMITS)
    assert caught.value.word == word
