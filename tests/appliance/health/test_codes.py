"""Numbers for words: what a site wrote itself has none of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.vendors import Vendor, vendor_of
from appliance.health.codes import EngineCode, Failure, Refused, engine_of, failure_of, refused_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ONNX Runtime 1.20.1 CPU", EngineCode.CPU),
        ("ONNX Runtime 1.20.1 CUDA on NVIDIA H200", EngineCode.CUDA),
        ("TensorRT 10.3 on NVIDIA CUDA thing", EngineCode.TENSORRT),
        ("OpenVINO 2025.1 CPU", EngineCode.OPENVINO),
        ("triton 2.5 (KServe v2 over grpc)", EngineCode.KSERVE),
        ("none: the model did not run", EngineCode.NONE),
        (None, EngineCode.NONE),
        ("abacus", EngineCode.OTHER),
    ],
)
def test_engines_are_known_by_their_line(text, code):
    assert engine_of(text) is code


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("decode.stream", Failure.DECODE),
        ("decode.memory", Failure.MEMORY),
        ("inference.crashed", Failure.CRASHED),
        ("inference.apart", Failure.INFERENCE),
        ("disk.digest_mismatch", Failure.OTHER),
        (None, Failure.OTHER),
    ],
)
def test_failures_have_numbers(word, code):
    assert failure_of(word) is code


def test_refusals_go_by_the_status_that_the_sender_got():
    assert refused_of("C111") is Refused.UID
    assert refused_of("A700") is Refused.NO_SPACE
    assert {refused_of(said) for said in ("0110", "", None, 7, "DOE")} == {Refused.OTHER}


@pytest.mark.parametrize(
    ("text", "vendor"),
    [
        ("SIEMENS", Vendor.SIEMENS),
        ("Siemens Healthineers ", Vendor.SIEMENS),
        ("GE MEDICAL SYSTEMS", Vendor.GE),
        ("GE", Vendor.GE),
        ("Gerald's own scanner", Vendor.OTHER),
        ("UIH", Vendor.UNITED_IMAGING),
        (None, Vendor.OTHER),
        (["SIEMENS"], Vendor.OTHER),
    ],
)
def test_makers_are_those_of_a_public_list(text, vendor):
    assert vendor_of(text) is vendor


@given(st.text())
def test_no_text_gives_anything_but_a_number_of_the_list(text):
    assert vendor_of(text) in set(Vendor)
    assert engine_of(text) in set(EngineCode)
    assert failure_of(text) in set(Failure)
    assert refused_of(text) in set(Refused)
