from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from models.importing.graph import GraphError, read_graph
from models.importing.limits import ImportLimits
from tests.models.importing import networks


def test_shapes_types_and_opset_are_read(tmp_path: Path) -> None:
    graph = read_graph(networks.saved(networks.two_classes(last="Softmax"), tmp_path / "a.onnx"))

    assert [one.text() for one in graph.inputs] == ["image float32 (n, 1, 8, 6, 4)"]
    assert [one.text() for one in graph.outputs] == ["pred float32 (n, 2, 8, 6, 4)"]
    assert graph.opset == 17
    assert graph.last_operators == {"pred": "Softmax"}
    assert graph.taken_in == ()


def test_weights_beside_the_network_are_taken_in(tmp_path: Path) -> None:
    whole = networks.two_classes()
    wanted = {one.name: onnx.numpy_helper.to_array(one) for one in whole.graph.initializer}
    path = networks.saved_apart(networks.two_classes(), tmp_path / "a.onnx", "a.onnx.data")

    graph = read_graph(path)

    assert graph.taken_in == ("a.onnx.data",)
    alone = onnx.load_from_string(graph.written())
    assert all(one.data_location == onnx.TensorProto.DEFAULT for one in alone.graph.initializer)
    for one in alone.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(one), wanted[one.name])


@pytest.mark.parametrize("location", ["../a.data", "/etc/hostname", "deep/../../a.data"])
def test_weights_outside_the_folder_are_refused_unread(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "a.data").write_bytes(bytes(64))
    path = _pointing(folder / "a.onnx", location)

    with pytest.raises(GraphError, match="outside the network's own folder"):
        read_graph(path)


def test_weights_behind_a_link_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "real.data").write_bytes(bytes(64))
    (folder / "a.data").symlink_to(folder / "real.data")

    with pytest.raises(GraphError, match="a link"):
        read_graph(_pointing(folder / "a.onnx", "a.data"))


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"'a\.data', which is not beside it"):
        read_graph(_pointing(tmp_path / "a.onnx", "a.data"))


def test_weights_in_an_inner_graph_are_found(tmp_path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(np.zeros(4, dtype=np.float32), "inner")
    onnx.external_data_helper.set_external_data(tensor, location="../a.data")
    tensor.ClearField("raw_data")
    body = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["out"])],
        "body",
        [],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [4])],
        [tensor],
    )
    model = networks.network(
        [helper.make_node("If", ["image"], ["pred"], then_branch=body, else_branch=body)]
    )

    with pytest.raises(GraphError, match="outside"):
        read_graph(networks.saved(model, tmp_path / "a.onnx"))


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(200)])
def test_what_is_no_network_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)

    with pytest.raises(GraphError, match=r"a\.onnx: is not an ONNX"):
        read_graph(tmp_path / "a.onnx")


def test_a_network_above_the_bound_is_refused(tmp_path: Path) -> None:
    path = networks.saved_apart(networks.two_classes(), tmp_path / "a.onnx", "a.onnx.data")
    alone = path.stat().st_size

    with pytest.raises(GraphError, match="one file may hold"):
        read_graph(path, ImportLimits(network_bytes_max=alone + 10))
    with pytest.raises(GraphError, match="more than"):
        read_graph(path, ImportLimits(network_bytes_max=alone - 1))


def _pointing(path: Path, location: str) -> Path:
    """A network whose weights are said to lie at `location`."""
    model = networks.two_classes()
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, location=location, offset=0, length=8)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    return networks.saved(model, path)
