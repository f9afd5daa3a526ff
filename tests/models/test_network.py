"""A network that is not what its manifest says is named before anything runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from models.manifest import load
from models.network import faults_of
from tests.models import given, kinds

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
    model.graph.node.append(helper.make_node("Magic", ["image"], ["spell"], domain="com.example"))


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
        (_foreign, "uses operators of 'com.example', which not every engine has: Magic"),
        (_broken, "is not valid ONNX"),
    ],
)
def test_faults_are_named(tmp_path: Path, bend: Bend, words: str) -> None:
    assert any(f"model.onnx: {words}" in fault for fault in faults_of(bent(tmp_path, bend), BANDS))


def test_a_patch_of_another_shape_is_named(tmp_path: Path) -> None:
    def smaller(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 32

    path = bent(tmp_path, smaller, given.LESION)
    assert any(
        "input 'image' is (any, 1, 32, 64, 64); the manifest says (any, 1, 64, 64, 64)" in fault
        for fault in faults_of(path, LESION)
    )


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


def test_several_faults_are_said_at_once_weights_outside_among_them(tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            point_outside(tensor)
        _old(model)
        _foreign(model)
        _more_inputs(model)
        _input_type(model)

    faults = faults_of(bent(tmp_path, spoil), BANDS)
    assert len(faults) == 5
    for words in ("keeps its weights", "is of opset 7", "com.example", "the input 'age'", "is float64"):
        assert any(words in fault for fault in faults), words


def test_an_import_that_nothing_uses_and_functions_of_its_own_are_no_fault(tmp_path: Path) -> None:
    def leftovers(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        node = helper.make_node("Identity", ["a"], ["b"])
        opsets = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("own", "Same", ["a"], ["b"], [node], opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.graph.node.append(helper.make_node("Same", ["image"], ["copy"], domain="own"))

    assert faults_of(bent(tmp_path, leftovers), BANDS) == []


def network(
    tmp_path: Path, fed: Sequence[str | int | None], **answers: tuple[int, Sequence[str | int | None]]
) -> Path:
    """A network of declarations: constants in the shape and type they declare."""
    nodes = [helper.make_node("Cast", ["x"], [name], to=element) for name, (element, _) in answers.items()]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "declared",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, fed)],
            [helper.make_tensor_value_info(name, *declared) for name, declared in answers.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


SCORED = kinds.manifest(
    "classification",
    kinds.ANY,
    kinds.IMAGE,
    kinds.output("scores", kinds.labels("a", "b")),
    kinds.step("classify"),
)
BOXED = kinds.manifest(
    "detection",
    kinds.ANY,
    kinds.IMAGE.replace("batch = 2", "batch = 1"),
    kinds.output(
        "boxes", 'coordinates = "yxyx"\nbox_scores = "s"\nbox_labels = "l"\n' + kinds.labels("a", "b")
    ),
    kinds.step("detect"),
)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.mark.parametrize(
    ("fed", "answer", "words"),
    [
        (["n", 1, 8, 12], (FLOAT, ["n", 2]), None),
        (["n", 1, "y", "x"], (FLOAT, ["n", "k"]), None),
        (
            ["n", 3, 8, 12],
            (FLOAT, ["n", 2]),
            "input 'x' is (any, 3, 8, 12); the manifest says (any, 1, 8, 12)",
        ),
        (["n", 1, 12, 8], (FLOAT, ["n", 2]), "input 'x' is (any, 1, 12, 8)"),
        ([1, 1, 8, 12], (FLOAT, [1, 2]), "input 'x' takes 1 at a time; the manifest feeds 2"),
        ([4, 1, 8, 12], (FLOAT, [4, 2]), "input 'x' takes exactly 4 at a time"),
        (["n", 1, 8, 12], (FLOAT, ["n", 5]), "output 'y' is (any, 5); the manifest says (any, 2)"),
        (["n", 1, 8, 12], (FLOAT, ["n", 2, 1]), "output 'y' has 3 axes; its layout has 2"),
        (["n", 1, 8, 12], (INT64, ["n", 2]), "output 'y' is int64; the manifest says float32"),
    ],
)
def test_sizes_a_network_fixes_are_held_against_the_manifest(
    tmp_path: Path,
    fed: Sequence[str | int | None],
    answer: tuple[int, Sequence[str | int | None]],
    words: str | None,
) -> None:
    faults = [
        fault for fault in faults_of(network(tmp_path, fed, y=answer), SCORED) if "valid ONNX" not in fault
    ]
    assert faults == [] if words is None else any(words in fault for fault in faults)


@pytest.mark.parametrize("front", [["n", "m"], ["m"]])
def test_boxes_come_with_or_without_a_batch_axis(tmp_path: Path, front: list[str | int | None]) -> None:
    path = network(tmp_path, ["n", 1, 8, 12], y=(FLOAT, [*front, 4]), s=(FLOAT, front), l=(INT64, front))
    assert [fault for fault in faults_of(path, BOXED) if "valid ONNX" not in fault] == []


def test_every_tensor_of_boxes_is_looked_for(tmp_path: Path) -> None:
    path = network(tmp_path, ["n", 1, 8, 12], y=(FLOAT, ["n", "m", 6]), l=(FLOAT, ["n", "m"]))
    faults = faults_of(path, BOXED)
    for words in (
        "output 'y' is (any, any, 6); the manifest says (any, any, 4)",
        "has no output 's'; it has: y, l",
        "output 'l' is float32; the manifest says int64 or int32 or uint8",
    ):
        assert any(words in fault for fault in faults), (words, faults)
