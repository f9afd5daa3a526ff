from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models.importing.axes import with_reversed_axes
from models.importing.graph import Graph, read_model
from tests.models.importing import networks


@pytest.mark.parametrize("given", [networks.SOLID, ("n", 1, 9, 5)])
def test_only_the_order_of_axes_changes(given: networks.Axes, tmp_path: Path) -> None:
    graph = read_model(networks.uneven(given))
    turned = with_reversed_axes(graph)
    sides = [int(side) for side in given[2:]]
    image = np.random.default_rng(1).normal(size=(2, 1, *sides)).astype(np.float32)

    onnx.checker.check_model(turned.model, full_check=True)
    assert turned.inputs[0].shape == ("n", 1, *reversed(sides))
    assert turned.outputs[0].shape == ("n", 1, *reversed(sides))
    np.testing.assert_array_equal(_run(turned, _turn(image)), _turn(_run(graph, image)))


def test_an_answer_without_space_stays(tmp_path: Path) -> None:
    turned = with_reversed_axes(read_model(networks.scores()))

    assert turned.inputs[0].shape == ("n", 1, 12, 16)
    assert turned.outputs[0].shape == ("n", 2)
    assert turned.last_operators == {"pred": "MatMul"}


def _turn(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 1, *reversed(range(2, array.ndim))))


def _run(graph: Graph, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.written(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["pred"], {"image": image})[0])


def test_an_activation_in_the_network_stays_known() -> None:
    turned = with_reversed_axes(read_model(networks.two_classes(last="Softmax")))

    assert turned.last_operators == {"pred": "Softmax"}
