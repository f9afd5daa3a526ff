"""A network's file: what it takes and gives, and nothing beyond itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.inference.engine import InferenceError
from appliance.inference.onnx_file import OnnxFile, check_batch, read_network, zeros
from tests.appliance.inference.given import doubling, network, reaching_out


def read(folder: Path, model: onnx.ModelProto) -> OnnxFile:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return read_network(folder / "model.onnx")


def test_weights_are_not_inputs_and_open_axes_are_none(tmp_path: Path):
    weight = numpy_helper.from_array(np.ones(4, np.float32), "weight")
    model = network([helper.make_node("Add", ["image", "weight"], ["labels"])], weights=[weight])
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [4]))
    file = read(tmp_path, model)
    assert [port.name for port in file.inputs] == ["image"]
    assert file.inputs[0].shape == (None, 1, None, None)
    assert file.inputs[0].dtype == np.float32
    assert file.open_axes
    assert not read(tmp_path, network(list(doubling().graph.node), shape=(1, 2))).open_axes


def test_it_makes_zeros_of_the_right_kind(tmp_path: Path):
    made = zeros(read(tmp_path, doubling()).inputs, {"image": (1, 1, 2, 3)})
    assert np.array_equal(made["image"], np.zeros((1, 1, 2, 3)))
    assert made["image"].dtype == np.float32


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x09" * 40])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InferenceError, match=r"cannot be read|gives nothing") as caught:
        read_network(tmp_path / "model.onnx")
    assert caught.value.word == "inference.load"
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_not_there_is_refused_without_its_path(tmp_path: Path):
    with pytest.raises(InferenceError, match="FileNotFoundError") as caught:
        read_network(tmp_path / "none.onnx")
    assert str(tmp_path) not in str(caught.value)


def test_weights_elsewhere_are_refused_before_anything_is_followed(tmp_path: Path):
    with pytest.raises(InferenceError, match="another file"):
        read(tmp_path, reaching_out(tmp_path))


def test_a_batch_is_held_against_what_the_network_takes(tmp_path: Path):
    ports = read(tmp_path, doubling()).inputs
    check_batch({"image": np.zeros((7, 1, 2, 3), np.float32)}, ports)
    for wrong in (
        {"image": np.zeros((7, 1, 2, 3), np.float16)},
        {"image": np.zeros((7, 2, 2, 3), np.float32)},
        {"image": np.zeros((1, 2, 3), np.float32)},
        {},
    ):
        with pytest.raises(InferenceError) as caught:
            check_batch(wrong, ports)
        assert caught.value.word == "inference.failed"
