"""Networks of reduced precision: ends as they were, answers near, and what TensorRT needs of INT8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from appliance.inference.engine import InferenceError
from appliance.inference.reduce import PRECISIONS, Precision, reduced
from appliance.inference.shapes import ShapeRange
from appliance.inference.tensorrt.building import BuildOptions
from tests.appliance.inference import trt_child
from tests.appliance.inference.unet3d import INPUT, unet3d

SIDE = 16


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    path.write_bytes(unet3d(base=4, levels=2, patch=SIDE).SerializeToString())
    return path


def fed(count: int = 3) -> list[dict[str, np.ndarray]]:
    dice = np.random.default_rng(3)
    return [{INPUT: dice.normal(size=(1, 1, SIDE, SIDE, SIDE)).astype(np.float32)} for _ in range(count)]


def answer(network: bytes, batch: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, batch)[0])


@pytest.mark.parametrize(
    ("precision", "error_max"), [("fp16", 0.01), ("int8-qdq", 0.2), ("int8-qdq-symmetric", 0.2)]
)
def test_the_ends_stay_and_the_answer_is_near(network: Path, precision: Precision, error_max: float):
    made = reduced(network, precision, calibration=fed())
    whole = onnx.load(network)
    ends = onnx.load_from_string(made)
    assert [i.name for i in ends.graph.input] == [i.name for i in whole.graph.input]
    assert ends.graph.input[0].type == whole.graph.input[0].type
    assert ends.graph.output[0].type == whole.graph.output[0].type
    onnx.checker.check_model(ends, full_check=True)
    batch = fed(1)[0]
    full, less = answer(network.read_bytes(), batch), answer(made, batch)
    distance = float(np.linalg.norm(full - less) / np.linalg.norm(full))
    assert 0 < distance < error_max


def test_fp16_halves_the_weights(network: Path):
    assert len(reduced(network, "fp16", calibration=[])) < 0.65 * network.stat().st_size


def test_int8_for_tensorrt_is_symmetric_and_has_no_quantised_bias(network: Path):
    made = onnx.load_from_string(reduced(network, "int8-qdq-symmetric", calibration=fed()))
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    nodes = [node for node in made.graph.node if node.op_type == "DequantizeLinear"]
    assert nodes
    for node in nodes:
        assert not held[node.input[2]].any(), "a zero point of zero"
        weights = held.get(node.input[0])
        assert weights is None or weights.dtype == np.int8


@pytest.fixture(scope="module")
def rtx() -> Iterator[trt_child.Builder]:
    yield from trt_child.builder()


def test_tensorrt_builds_the_symmetric_variant_and_refuses_the_processor_s(
    network: Path, rtx: trt_child.Builder
):
    shape = (1, 1, SIDE, SIDE, SIDE)
    ranges = {INPUT: ShapeRange(least=shape, usual=shape, most=shape)}
    options = BuildOptions(targets=("SM89",))
    built = rtx.build(reduced(network, "int8-qdq-symmetric", calibration=fed()), ranges, options)
    assert built["details"]["layers"]["types"].get("INT8", 0) > 0
    with pytest.raises(InferenceError, match="ONNX parser"):
        rtx.build(reduced(network, "int8-qdq", calibration=fed()), ranges, options)


def test_int8_without_inputs_is_refused(network: Path):
    with pytest.raises(InferenceError, match="calibrate"):
        reduced(network, "int8-qdq", calibration=[])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_the_tool_cannot_convert_is_a_named_fault(tmp_path: Path, precision: Precision):
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(InferenceError, match=r"cannot be converted"):
        reduced(tmp_path / "model.onnx", precision, calibration=fed())
