"""A compressed frame tells its own size; anything else tells nothing and raises nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from appliance.worker.streams import size_of

HT = Path(__file__).parent / "mr_small_htj2k.j2c"


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "JPGExtended.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "JPEGLSNearLossless_16.dcm",
    ],
)
def test_the_size_in_the_stream_is_the_size_in_the_header(name: str):
    header = pydicom.dcmread(str(get_testdata_file(name)))
    (frame,) = generate_frames(header.PixelData, number_of_frames=1)
    assert size_of(frame) == (header.Rows, header.Columns)


def test_high_throughput_jpeg_2000_tells_its_size():
    assert size_of(HT.read_bytes()) == (64, 64)


def test_run_length_encoding_tells_nothing():
    header = pydicom.dcmread(str(get_testdata_file("MR_small_RLE.dcm")))
    (frame,) = generate_frames(header.PixelData, number_of_frames=1)
    assert size_of(frame) is None


@given(start=st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xc0"]), rest=st.binary())
def test_any_bytes_are_answered(start: bytes, rest: bytes):
    size_of(start + rest)


@given(cut=st.integers(0, 200))
def test_every_cut_is_answered(cut: int):
    assert size_of(HT.read_bytes()[:cut]) in (None, (64, 64))


def test_fill_bytes_before_a_marker_are_skipped():
    frame = b"\xff\xd8\xff\xff\xff\xc3\x00\x0b\x08" + np.array([5, 7], ">u2").tobytes() + bytes(8)
    assert size_of(frame) == (5, 7)
