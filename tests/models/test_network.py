"""A network that is not what its manifest says is named before anything runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from models.manifest import load
from models.network import faults_of
from tests.models import given

BANDS = load(given.BANDS / "manifest.toml")
LESION = load(given.LESION / "manifest.toml")
Bend = Callable[[onnx.ModelProto], None]


def bent(tmp_path: Path, bend: Bend, source: Path = given.BANDS) -> Path:
    model = onnx.load(source / "model.onnx")
    bend(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_shipped_networks_have_no_fault() -> None:
    assert faults_of(given.BANDS / "model.onnx", BANDS) == []
    assert faults_of(given.LESION / "model.onnx", LESION) == []


def test_shipped_networks_hold_no_path_of_the_machine_they_were_made_on() -> None:
    for package in (given.BANDS, given.LESION):
        network = (package / "model.onnx").read_bytes()
        assert b"site-packages" not in network
        assert b".py" not in network


def _rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "picture"
    for node in model.graph.node:
        node.input[:] = ["picture" if name == "image" else name for name in node.input]


def _input_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _input_rank(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[0]


def _no_shape(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.ClearField("shape")


def _more_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [1]))


def _old(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 7


def _from_the_future(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 999


def _foreign(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def _broken(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "NoSuchOperator"


@pytest.mark.parametrize(
    ("bend", "words"),
    [
        (_rename_input, "has no input 'image'; it has: picture"),
        (_input_type, "input 'image' is float64; the manifest says float32"),
        (_input_rank, "input 'image' has 3 axes; its layout has 4"),
        (_no_shape, "output 'labels' has no shape"),
        (_more_inputs, "has the input 'age', which the manifest does not feed"),
        (_old, "is of opset 7"),
        (_from_the_future, "is of opset 999"),
        (_foreign, "uses operators of 'com.example'"),
        (_broken, "is not valid ONNX"),
    ],
)
def test_faults_are_named(tmp_path: Path, bend: Bend, words: str) -> None:
    assert any(f"model.onnx: {words}" in fault for fault in faults_of(bent(tmp_path, bend), BANDS))


def test_a_patch_of_another_shape_is_named(tmp_path: Path) -> None:
    def smaller(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32

    path = bent(tmp_path, smaller, given.LESION)
    assert any("takes patches of (32, 64, 64)" in fault for fault in faults_of(path, LESION))


def point_outside(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    place = tensor.external_data.add()
    place.key, place.value = "location", "../../etc/hostname"


def test_weights_in_another_file_are_refused_without_reading_it(tmp_path: Path) -> None:
    def outside(model: onnx.ModelProto) -> None:
        point_outside(model.graph.initializer[0])

    (fault,) = faults_of(bent(tmp_path, outside), BANDS)
    assert "keeps its weights in another file" in fault


def test_weights_outside_are_found_in_inner_graphs_too(tmp_path: Path) -> None:
    def inside_a_branch(model: onnx.ModelProto) -> None:
        tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.0])
        constant = helper.make_node("Constant", [], ["c"], value=tensor)
        point_outside(constant.attribute[0].t)
        branch = helper.make_graph([constant], "branch", [], [])
        model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))

    (fault,) = faults_of(bent(tmp_path, inside_a_branch), BANDS)
    assert "keeps its weights in another file" in fault


def test_not_onnx_and_absent(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "model.onnx", BANDS) == ["model.onnx: is missing"]
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    assert "is not an ONNX file" in faults_of(tmp_path / "model.onnx", BANDS)[0]
