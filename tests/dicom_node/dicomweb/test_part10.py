"""Heads of DICOM files: pydicom's own, ours, and those that are none."""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.dicomweb.part10 import Meta, MetaReader, head_of
from dicom_node.errors import Refusal
from dicom_node.status import Status
from tests.dicom_node.samples import REAL_FILES, path_of, real, sample

META = Meta(sop_class_uid="1.2.3", sop_instance_uid="2.25.77", transfer_syntax_uid="1.2.840.10008.1.2.1")


def read(file: bytes, *, step: int = 100_000, bytes_max: int = 65536) -> tuple[Meta | None, bytes]:
    reader, data = MetaReader(bytes_max), b""
    for at in range(0, len(file), step):
        piece = memoryview(file[at : at + step])
        if reader.meta is not None:
            data += piece
        elif (rest := reader.feed(piece)) is not None:
            data += rest
    return reader.meta, data


@pytest.mark.parametrize("name", REAL_FILES)
@pytest.mark.parametrize("step", [1, 61, 100_000])
def test_real_files_are_parted_where_pydicom_parts_them(name, step):
    if step == 1 and path_of(name).stat().st_size > 50_000:
        step = 13
    expected = real(name)
    meta, data = read(path_of(name).read_bytes(), step=step)
    assert meta is not None
    assert data == expected.data
    assert (meta.sop_class_uid, meta.sop_instance_uid, meta.transfer_syntax_uid) == (
        expected.sop_class_uid,
        expected.sop_instance_uid,
        expected.transfer_syntax_uid,
    )


@given(step=st.integers(1, 400))
def test_a_head_of_ours_is_read_as_it_was_written(step):
    data = sample().data
    assert read(head_of(META) + data, step=step) == (META, data)


def test_pydicom_reads_a_head_of_ours():
    found = pydicom.dcmread(BytesIO(head_of(META) + sample().data))
    assert found.file_meta.MediaStorageSOPInstanceUID == META.sop_instance_uid
    assert found.file_meta.FileMetaInformationVersion == b"\0\1"
    assert found.Modality == "CT"


PREFIX = b"\0" * 128 + b"DICM"
LONG_UID = Meta(sop_class_uid="1" * 80, sop_instance_uid="1", transfer_syntax_uid="1")


def _twice() -> bytes:
    head = head_of(META)
    return head + head[132 + 12 + 14 :] + sample().data


@pytest.mark.parametrize(
    ("file", "status"),
    [
        (b"\0" * 128 + b"DIC0" + head_of(META)[132:] + sample().data, Status.NOT_READABLE),
        (sample().data * 3, Status.NOT_READABLE),
        (PREFIX + sample().data, Status.UID_INVALID),
        (PREFIX + struct.pack("<HHL", 2, 2, 4) + b"1.2\0" + sample().data, Status.NOT_READABLE),
        (PREFIX + struct.pack("<HH2sHL", 2, 0x102, b"OB", 0, 2**31) + b"x" * 99, Status.NOT_READABLE),
        (PREFIX + struct.pack("<HH2sH", 2, 0x13, b"SH", 0) * 20_000, Status.NOT_READABLE),
        (head_of(LONG_UID), Status.UID_INVALID),
        (_twice(), Status.NOT_READABLE),
    ],
)
def test_what_is_no_dicom_file_is_refused(file, status):
    for step in (3, 100_000):
        with pytest.raises(Refusal) as caught:
            read(file, step=step)
        assert caught.value.status == status


def test_a_file_that_ends_in_its_head_has_no_data_set():
    assert read(head_of(META)) == (None, b"")
    assert read(b"") == (None, b"")
