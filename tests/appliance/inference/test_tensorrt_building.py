"""TensorRT-RTX really builds engines here, without a device; the rest is refused in our words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from appliance.inference.engine import InferenceError
from appliance.inference.limits import InferenceLimits
from appliance.inference.onnx_file import read_network
from appliance.inference.reduce import reduced
from appliance.inference.shapes import ShapeRange, ranges_of
from appliance.inference.tensorrt.building import BuildOptions
from appliance.inference.tensorrt.library import find
from models.catalogue import shipped
from models.package import open_package
from tests.appliance.inference import trt_child
from tests.appliance.inference.given import doubling, network
from tests.appliance.inference.unet3d import INPUT, unet3d

PATHS = re.compile(r"(?:^|[\s'\"(])/\w+/")
PICTURES = ShapeRange(least=(1, 1, 16, 16), usual=(2, 1, 64, 64), most=(4, 1, 128, 128))
PATCHES = ShapeRange(least=(1, 1, 32, 32, 32), usual=(2, 1, 32, 32, 32), most=(4, 1, 32, 32, 32))


@pytest.fixture(scope="module")
def rtx() -> Iterator[trt_child.Builder]:
    yield from trt_child.builder()


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    return unet3d(patch=32)


def test_a_3d_network_with_an_open_batch(rtx: trt_child.Builder, small: onnx.ModelProto):
    made = rtx.build(small.SerializeToString(), {INPUT: PATCHES}, BuildOptions(targets=("SM89",)))
    details = made["details"]
    assert len(made["plan"]) == details["plan_bytes"] > 100_000
    assert details["inputs"] == [{"name": INPUT, "dtype": "FLOAT", "shape": [-1, 1, 32, 32, 32]}]
    assert details["outputs"][0]["dtype"] == "FLOAT"
    assert details["profile"] == {INPUT: "1x1x32x32x32..2x1x32x32x32..4x1x32x32x32"}
    assert details["targets"] == ["SM89"]
    assert details["layers"]["types"]["FLOAT"] > 20
    assert "HALF" not in details["layers"]["types"]
    assert details["layers"]["count"] > 20
    assert json.loads(json.dumps(details)) == details, "a report is JSON values"


def test_a_network_whose_picture_sizes_are_open_too(rtx: trt_child.Builder):
    made = rtx.build(doubling().SerializeToString(), {"image": PICTURES})
    assert made["details"]["inputs"][0]["shape"] == [-1, 1, -1, -1]
    assert made["details"]["targets"] == []


def test_a_cast_graph_gives_a_float16_engine_and_the_report_says_so(
    rtx: trt_child.Builder, small: onnx.ModelProto, tmp_path: Path
):
    (tmp_path / "model.onnx").write_bytes(small.SerializeToString())
    halved = reduced(tmp_path / "model.onnx", "fp16", calibration=[])
    full = rtx.build(small.SerializeToString(), {INPUT: PATCHES}, BuildOptions(targets=("SM89",)))
    half = rtx.build(halved, {INPUT: PATCHES}, BuildOptions(targets=("SM89",)))
    types = half["details"]["layers"]["types"]
    assert types["HALF"] > types.get("FLOAT", 0), "read from the network, not from what was asked"
    assert half["details"]["inputs"][0]["dtype"] == "FLOAT", "what it takes stays float32"
    assert half["details"]["plan_bytes"] < full["details"]["plan_bytes"]


def outcome(rtx: trt_child.Builder, path: Path) -> str:
    package = open_package(path)
    file = read_network(package.onnx_path())
    ranges = ranges_of(file.inputs, package.manifest, InferenceLimits())
    try:
        rtx.build(file.content, ranges, BuildOptions(targets=("SM86",)))
    except InferenceError as error:
        return error.sentence.partition(":")[0]
    return "built"


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.name)
def test_every_package_that_ships_builds_or_is_refused_by_the_parser(rtx: trt_child.Builder, path: Path):
    """TensorRT does not calculate in uint8, so the tissue bands' label map is one it cannot build."""
    allowed = {"built"} if path.name == "ct-phantom-lesion" else {"built", "ONNX parser"}
    assert outcome(rtx, path) in allowed


def test_progress_is_shown_and_never_falls(rtx: trt_child.Builder, small: onnx.ModelProto):
    shown = rtx.build(small.SerializeToString(), {INPUT: PATCHES})["shown"]
    shares = [share for share, _ in shown]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert len(set(shares)) > 2
    assert all(word for _, word in shown)


def test_what_the_parser_says_is_the_sentence(rtx: trt_child.Builder):
    nodes = [helper.make_node("NoSuchOperator", ["image"], ["labels"], name="odd one")]
    with pytest.raises(InferenceError) as caught:
        rtx.build(network(nodes).SerializeToString(), {"image": PICTURES})
    assert caught.value.word == "inference.build"
    assert caught.value.sentence.startswith("ONNX parser: NoSuchOperator odd one: ")
    assert not PATHS.search(caught.value.sentence)


def test_what_is_no_network_is_refused_by_the_parser(rtx: trt_child.Builder):
    with pytest.raises(InferenceError, match="ONNX parser: ") as caught:
        rtx.build(b"no network", {"image": PICTURES})
    assert caught.value.word == "inference.build"


def test_quantised_bias_is_refused_by_the_parser(rtx: trt_child.Builder):
    """ONNX Runtime's default form of int8 has int32 biases, which TensorRT does not take."""
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    bias = numpy_helper.from_array(np.arange(4, dtype=np.int32), "bias")
    nodes = [
        helper.make_node("DequantizeLinear", ["bias", "scale"], ["wide"], name="bias"),
        helper.make_node("Add", ["image", "wide"], ["labels"]),
    ]
    model = network(nodes, shape=("n", 1, "y", 4), weights=[scale, bias])
    shape = ShapeRange(least=(1, 1, 4, 4), usual=(1, 1, 4, 4), most=(1, 1, 4, 4))
    with pytest.raises(InferenceError, match="ONNX parser: ") as caught:
        rtx.build(model.SerializeToString(), {"image": shape})
    assert "INT32" in caught.value.sentence.upper()


def quantised(folder: Path) -> bytes:
    """Make a small network int8 the way TensorRT takes it: symmetric, its biases left alone."""
    quantisation = pytest.importorskip("onnxruntime.quantization", reason="the tool is not usable here")
    random = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("first", (8, 1, 3, 3)), ("bias", (8,)), ("second", (1, 8, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["image", "first", "bias"], ["wide"], name="one", pads=[1] * 4),
        helper.make_node("Relu", ["wide"], ["kept"], name="two"),
        helper.make_node("Conv", ["kept", "second"], ["labels"], name="three", pads=[1] * 4),
    ]
    onnx.save_model(network(nodes, weights=weights), folder / "full.onnx")
    examples = iter([{"image": random.standard_normal((1, 1, 32, 32)).astype(np.float32)}] * 4)

    base: Any = quantisation.CalibrationDataReader

    class Reader(base):  # type: ignore[misc]
        def get_next(self):
            return next(examples, None)

    quantisation.quantize_static(
        folder / "full.onnx",
        folder / "int8.onnx",
        Reader(),
        activation_type=quantisation.QuantType.QInt8,
        weight_type=quantisation.QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
    return (folder / "int8.onnx").read_bytes()


def test_symmetric_int8_in_the_graph_gives_an_int8_engine(rtx: trt_child.Builder, tmp_path: Path):
    details = rtx.build(quantised(tmp_path), {"image": PICTURES})["details"]
    assert details["layers"]["types"]["INT8"] > 0
    assert details["layers"]["kinds"]["QUANTIZE"] > 0
    assert details["inputs"][0]["dtype"] == "FLOAT"


BAD_PROFILES = {
    "upside down": ShapeRange(least=(4, 1, 16, 16), usual=(2, 1, 64, 64), most=(1, 1, 128, 128)),
    "other axes": ShapeRange(least=(1, 16, 16), usual=(2, 64, 64), most=(4, 128, 128)),
    "other channels": ShapeRange(least=(1, 3, 16, 16), usual=(2, 3, 64, 64), most=(4, 3, 128, 128)),
}


@pytest.mark.parametrize("wrong", BAD_PROFILES.values(), ids=BAD_PROFILES.keys())
def test_a_bad_profile_is_refused_in_our_words(rtx: trt_child.Builder, wrong: ShapeRange):
    with pytest.raises(InferenceError) as caught:
        rtx.build(doubling().SerializeToString(), {"image": wrong})
    assert caught.value.word == "inference.build"
    assert "profile" in caught.value.sentence.lower()
    assert not PATHS.search(caught.value.sentence)


def test_a_profile_without_an_input_is_refused(rtx: trt_child.Builder):
    with pytest.raises(InferenceError, match="names no shape for the input 'image'") as caught:
        rtx.build(doubling().SerializeToString(), {})
    assert caught.value.word == "inference.build"


def test_shapes_the_network_cannot_take_are_refused(rtx: trt_child.Builder):
    """The profile alone is right; the network adds something of four rows."""
    weight = numpy_helper.from_array(np.ones((1, 1, 4, 4), np.float32), "weight")
    model = network([helper.make_node("Add", ["image", "weight"], ["labels"])], weights=[weight])
    with pytest.raises(InferenceError) as caught:
        rtx.build(model.SerializeToString(), {"image": PICTURES})
    assert caught.value.word == "inference.build"
    assert caught.value.sentence.startswith("The engine could not be built: ")
    assert not PATHS.search(caught.value.sentence)


def test_a_target_the_library_does_not_know_is_refused(rtx: trt_child.Builder):
    with pytest.raises(InferenceError, match="does not build for compute capability SM10"):
        rtx.build(doubling().SerializeToString(), {"image": PICTURES}, BuildOptions(targets=("SM10",)))


def test_turing_is_refused_what_it_cannot_do(rtx: trt_child.Builder, small: onnx.ModelProto):
    """RTX 1.7 has no 3D convolution in float32 for compute capability 7.5; it names the operation."""
    if not find(trt_child.RTX, seconds_max=60).version.startswith("1.7."):
        pytest.skip("another version of TensorRT-RTX, which may well do it")
    with pytest.raises(InferenceError, match="SM75") as caught:
        rtx.build(small.SerializeToString(), {INPUT: PATCHES}, BuildOptions(targets=("SM75", "SM89")))
    assert caught.value.word == "inference.build"


def test_types_that_do_not_agree_are_refused_in_a_strongly_typed_network(rtx: trt_child.Builder):
    half = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float16), "half")
    model = network([helper.make_node("Add", ["image", "half"], ["labels"])], weights=[half])
    with pytest.raises(InferenceError) as caught:
        rtx.build(model.SerializeToString(), {"image": PICTURES})
    assert caught.value.word == "inference.build"


def test_the_library_s_own_types_are_those_of_the_graph(rtx: trt_child.Builder):
    """A float16 input stays one: nothing is cast behind the graph's back."""
    model = network([helper.make_node("Add", ["image", "image"], ["labels"])])
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    made = rtx.build(model.SerializeToString(), {"image": PICTURES})
    assert made["details"]["inputs"][0]["dtype"] == "HALF"
    assert made["details"]["layers"]["types"] == {"HALF": 1}
