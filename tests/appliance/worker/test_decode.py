"""Frames of every transfer syntax are pydicom's own frames; a broken or stuck decoder is only a word."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from appliance.core.instance import Instance
from appliance.worker.child import DecoderChild
from appliance.worker.decode import Decoder
from appliance.worker.faults import DecodeError
from appliance.worker.folder import FolderContent
from appliance.worker.limits import DecodeLimits
from tests.appliance.worker.given import content, ct, ramp, real

HT = Path(__file__).parent / "mr_small_htj2k.j2c"
PYDICOM_GREYSCALE = [
    "693_J2KI.dcm",
    "CT_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "examples_overlay.dcm",
    "rtdose_rle.dcm",
    "rtdose_rle_1frame.dcm",
]


@pytest.fixture(scope="module")
def decoder():
    with Decoder() as made:
        yield made


def frames_of(decoder: Decoder, instance: Instance, found: FolderContent) -> np.ndarray:
    return np.array(list(decoder.frames(instance, found.reader)))


@pytest.mark.parametrize("name", PYDICOM_GREYSCALE)
def test_frames_are_those_pydicom_decodes(decoder: Decoder, tmp_path: Path, name: str):
    instance, found = real(tmp_path, name)
    wanted = pydicom.dcmread(str(get_testdata_file(name))).pixel_array
    assert np.array_equal(frames_of(decoder, instance, found), wanted.reshape(-1, *wanted.shape[-2:]))


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_what_was_compressed_comes_back(decoder: Decoder, tmp_path: Path, syntax: UID, dtype: str):
    cells = ramp(32, 48, dtype=dtype, start=-700 if dtype == "i2" else 0)
    made = ct(cells)
    made.compress(syntax, generate_instance_uid=False)
    found = content(tmp_path, made)
    assert np.array_equal(frames_of(decoder, found.instances[0], found)[0], cells)


def test_high_throughput_jpeg_2000_is_read(decoder: Decoder, tmp_path: Path):
    wanted = pydicom.dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array
    made = ct(wanted.astype("i2"))
    made.PixelData = encapsulate([HT.read_bytes()])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = HTJ2KLossless
    found = content(tmp_path, made)
    assert np.array_equal(frames_of(decoder, found.instances[0], found)[0], wanted)


def test_jpeg_lossless_is_read(decoder: Decoder, tmp_path: Path, dcmcjpeg: str):
    cells = ramp(32, 48)
    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    found = content(tmp_path / "plain", ct(cells))
    os.spawnl(
        os.P_WAIT,
        dcmcjpeg,
        dcmcjpeg,
        "+e1",
        str(tmp_path / "plain/000.dcm"),
        str(tmp_path / "packed/000.dcm"),
    )
    packed = pydicom.dcmread(tmp_path / "packed/000.dcm")
    assert packed.file_meta.TransferSyntaxUID != found.instances[0].transfer_syntax_uid
    found = content(tmp_path / "packed", packed)
    assert np.array_equal(frames_of(decoder, found.instances[0], found)[0], cells)


def test_uncompressed_fragments_are_read(decoder: Decoder, tmp_path: Path):
    cells = ramp(6, 8)
    made = ct(cells)
    made.PixelData = encapsulate([cells.tobytes()])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.98")
    found = content(tmp_path, made)
    assert np.array_equal(frames_of(decoder, found.instances[0], found)[0], cells)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u4"])
def test_native_byte_orders(decoder: Decoder, tmp_path: Path, syntax: UID, dtype: str):
    cells = ramp(dtype=dtype)
    made = ct(cells, syntax=syntax)
    if dtype == "u1" and syntax == ExplicitVRBigEndian:
        made.PixelData = np.frombuffer(made.PixelData, "u2").byteswap().tobytes()
    found = content(tmp_path, made)
    assert np.array_equal(frames_of(decoder, found.instances[0], found)[0], cells)


def test_an_odd_number_of_bytes_is_padded(decoder: Decoder, tmp_path: Path):
    cells = ramp(3, 3, dtype="u1")
    found = content(tmp_path, ct(cells))
    assert np.array_equal(frames_of(decoder, found.instances[0], found)[0], cells)


@pytest.mark.parametrize(
    "change",
    [
        {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 100_000},
        {"NumberOfFrames": 2**31 - 1},
        {"NumberOfFrames": 0},
        {"Rows": 3},
        {"Columns": 7},
        {"Rows": 0},
        {"BitsAllocated": 3},
        {"BitsAllocated": 64},
        {"BitsAllocated": 1},
        {"BitsStored": 17},
        {"HighBit": 3},
        {"BitsStored": None},
        {"Rows": None},
        {"SamplesPerPixel": 255},
    ],
)
def test_a_description_that_cannot_be_true_takes_no_memory(
    decoder: Decoder, tmp_path: Path, change: dict[str, int | None]
):
    found = content(tmp_path, ct(ramp()))
    facts = {**found.instances[0].facts, **change}
    facts = {keyword: value for keyword, value in facts.items() if value is not None}
    instance = replace(found.instances[0], facts=facts)
    with pytest.raises(DecodeError) as caught:
        list(decoder.frames(instance, found.reader))
    assert caught.value.word == "decode.shape"


@pytest.mark.parametrize("change", [{"Rows": 65535, "Columns": 65535}, {"BitsAllocated": 3}, {"Rows": 0}])
def test_a_compressed_claim_beyond_reason_never_reaches_a_decoder(tmp_path: Path, change: dict[str, int]):
    instance, found = real(tmp_path, "MR_small_RLE.dcm")
    with Decoder() as decoder, pytest.raises(DecodeError, match=r"decode.shape"):
        decoder.frames(replace(instance, facts={**instance.facts, **change}), found.reader)


def test_a_file_that_was_cut_after_it_was_received_is_seen(decoder: Decoder, tmp_path: Path):
    found = content(tmp_path, ct(ramp()))
    file = tmp_path / "000.dcm"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(DecodeError, match=r"decode.shape"):
        frames_of(decoder, found.instances[0], found)


def test_colour_is_not_decoded(decoder: Decoder, tmp_path: Path):
    instance, found = real(tmp_path, "SC_rgb_rle.dcm")
    with pytest.raises(DecodeError, match=r"decode.unsupported"):
        decoder.frames(instance, found.reader)


def outcome(decoder: Decoder, found: FolderContent) -> str:
    """The shape of what was decoded, or the word of what was not."""
    try:
        return str(frames_of(decoder, found.instances[0], found).shape)
    except DecodeError as error:
        return error.word


def packed(folder: Path, stream: bytes, *, syntax: UID = JPEG2000Lossless, **changes: Any) -> FolderContent:
    made = ct(ramp(64, 64, dtype="i2"), **changes)
    made.PixelData = encapsulate([stream])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = syntax
    return content(folder, made)


@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLSLossless, JPEGLossless, JPEGExtended12Bit, HTJ2KLossless]
)
def test_a_damaged_stream_is_a_word_and_the_child_lives_on(decoder: Decoder, tmp_path: Path, syntax: UID):
    found = packed(tmp_path, b"\xff\x4f" + bytes(range(256)) * 4, syntax=syntax)
    with pytest.raises(DecodeError) as caught:
        frames_of(decoder, found.instances[0], found)
    assert caught.value.word == "decode.stream"
    assert decoder.pids()


def test_every_cut_of_a_stream_is_answered(decoder: Decoder, tmp_path: Path):
    whole = HT.read_bytes()
    for kept in (2, 50, 100, 1000, len(whole) - 1):
        folder = tmp_path / str(kept)
        folder.mkdir()
        found = packed(folder, whole[:kept], syntax=HTJ2KLossless)
        assert outcome(decoder, found) in {"decode.stream", "decode.child_died", "(1, 64, 64)"}


def test_a_stream_of_another_size_than_the_header_says_is_refused(decoder: Decoder, tmp_path: Path):
    found = packed(tmp_path, HT.read_bytes(), syntax=HTJ2KLossless, Rows=32, Columns=128)
    with pytest.raises(DecodeError) as caught:
        frames_of(decoder, found.instances[0], found)
    assert caught.value.word == "decode.shape"


def test_a_claim_of_more_frames_than_there_are_ends_with_a_word(decoder: Decoder, tmp_path: Path):
    found = packed(tmp_path, HT.read_bytes(), syntax=HTJ2KLossless, NumberOfFrames=3)
    with pytest.raises(DecodeError) as caught:
        frames_of(decoder, found.instances[0], found)
    assert caught.value.word == "decode.shape"


def test_video_is_unsupported(decoder: Decoder, tmp_path: Path):
    found = packed(tmp_path, b"\0" * 64, syntax=UID("1.2.840.10008.1.2.4.102"))
    with pytest.raises(DecodeError, match=r"decode.unsupported"):
        frames_of(decoder, found.instances[0], found)


def test_a_child_killed_between_images_is_replaced(tmp_path: Path):
    instance, found = real(tmp_path, "MR_small_jp2klossless.dcm")
    with Decoder() as decoder:
        first = frames_of(decoder, instance, found)
        (pid,) = decoder.pids()
        os.kill(pid, signal.SIGKILL)
        assert np.array_equal(frames_of(decoder, instance, found), first)
        assert decoder.pids() != [pid]


def test_a_child_killed_in_mid_work_is_replaced_and_the_work_goes_on(tmp_path: Path):
    instance, found = real(tmp_path, "rtdose_rle.dcm")
    with Decoder() as decoder:
        wanted = frames_of(decoder, instance, found)
        (pid,) = decoder.pids()
        got = decoder.frames(instance, found.reader)
        taken = [next(got)]
        os.kill(pid, signal.SIGKILL)
        taken += list(got)
        assert np.array_equal(np.array(taken), wanted)


def test_a_child_that_always_dies_gives_up_with_its_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = content(tmp_path, ct(ramp(8, 8)))
    send = DecoderChild.frames

    def kill_first(self: DecoderChild, *arguments: object):
        os.kill(self.pid, signal.SIGSEGV)
        return send(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(DecoderChild, "frames", kill_first)
    instance = replace(found.instances[0], transfer_syntax_uid=str(JPEG2000Lossless))
    with Decoder() as decoder, pytest.raises(DecodeError, match="SIGSEGV") as caught:
        frames_of(decoder, instance, found)
    assert caught.value.word == "decode.child_died"


def test_a_stopped_child_meets_its_deadline_and_is_ended(tmp_path: Path):
    instance, found = real(tmp_path, "MR_small_jp2klossless.dcm")
    with Decoder(DecodeLimits(frame_seconds_max=1.0)) as decoder:
        frames_of(decoder, instance, found)
        (pid,) = decoder.pids()
        os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        with pytest.raises(DecodeError) as caught:
            frames_of(decoder, instance, found)
        assert caught.value.word == "decode.deadline"
        assert time.monotonic() - start < 5
        assert not decoder.pids()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert len(frames_of(decoder, instance, found)) == 1


def test_an_image_beyond_the_child_s_memory_is_a_word(tmp_path: Path):
    made = ct(np.zeros((4096, 4096), "u2"))
    made.compress(RLELossless, generate_instance_uid=False)
    found = content(tmp_path, made)
    # Less than a decoder needs for 32 MiB beside itself, enough for it to come up.
    outcomes = set()
    for mib in (400, 200, 130, 100):
        with Decoder(DecodeLimits(child_memory_bytes_max=mib << 20)) as decoder:
            outcomes.add(outcome(decoder, found))
    assert outcomes <= {"(1, 4096, 4096)", "decode.memory", "decode.child_died"}
    assert outcomes & {"decode.memory", "decode.child_died"}, "the bound on memory holds"


def test_children_are_replaced_after_their_share_of_work(tmp_path: Path):
    instance, found = real(tmp_path, "MR_small_RLE.dcm")
    with Decoder(DecodeLimits(child_instances_max=2)) as decoder:
        frames_of(decoder, instance, found)
        first = decoder.pids()
        assert len(first) == 1
        frames_of(decoder, instance, found)
        assert decoder.pids() == []


def test_a_caller_that_stops_early_leaves_no_child_behind(tmp_path: Path):
    instance, found = real(tmp_path, "rtdose_rle.dcm")
    with Decoder() as decoder:
        frames_of(decoder, instance, found)
        got = decoder.frames(instance, found.reader)
        next(got)
        got.close()  # type: ignore[attr-defined]
        assert decoder.pids() == []


def test_the_child_has_no_environment_and_no_core_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("READSIDE_SECRET", "do not tell")
    instance, found = real(tmp_path, "MR_small_RLE.dcm")
    with Decoder() as decoder:
        frames_of(decoder, instance, found)
        (pid,) = decoder.pids()
        assert b"do not tell" not in Path(f"/proc/{pid}/environ").read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text()
    named = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
    assert named["Max core file size"] == "0"
    assert named["Max open files"] == "32"
    assert named["Max address space"] == str(2 << 30)
    assert named["Max cpu time"] != "unlimited"
