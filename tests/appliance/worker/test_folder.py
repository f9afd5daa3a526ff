"""A folder of files: instances with facts and digests, and a reason for every file that is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.worker.folder import instances_from_folder
from appliance.worker.reading import read_header
from dicom_node.limits import Limits
from tests.appliance.worker.given import ct, ramp


def save(file: Path, **changes: object) -> str:
    file.parent.mkdir(exist_ok=True)
    made = ct(ramp(), **changes)  # type: ignore[arg-type]
    made.save_as(file, enforce_file_format=True)
    return str(made.SOPInstanceUID)


def test_sub_folders_are_read_and_series_are_told_apart(tmp_path: Path):
    uids = [save(tmp_path / "a" / "1"), save(tmp_path / "b" / "2", SeriesInstanceUID="1.2.3.9")]
    found = instances_from_folder(tmp_path)
    assert [instance.sop_instance_uid for instance in found.instances] == uids
    assert [instance.location.file for instance in found.instances] == ["a/1", "b/2"]
    assert list(found.by_series()) == ["1.2.3.1.1", "1.2.3.9"]
    assert not found.unreadable


def test_the_digest_is_of_the_data_set_and_the_reader_gives_its_bytes(tmp_path: Path):
    save(tmp_path / "1")
    found = instances_from_folder(tmp_path)
    (instance,) = found.instances
    whole = (tmp_path / "1").read_bytes()
    data = whole[instance.location.offset :]
    assert instance.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert found.reader.read(instance.location) == data
    assert found.reader.read(instance.location, 8, 4) == data[8:12]
    assert found.reader.read(instance.location, len(data) - 2, 100) == data[-2:]
    assert found.reader.read(instance.location, len(data) + 5) == b""


def test_the_header_is_read_without_pixels(tmp_path: Path):
    uid = save(tmp_path / "1", SliceThickness=1.25)
    found = instances_from_folder(tmp_path)
    header = read_header(found.instances[0], found.reader)
    assert header.SOPInstanceUID == uid
    assert header.SliceThickness == 1.25
    assert "PixelData" not in header


def test_every_file_that_is_no_instance_has_its_reason(tmp_path: Path):
    save(tmp_path / "good.dcm")
    whole = (tmp_path / "good.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-10])
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "twice.dcm").write_bytes(whole)
    (tmp_path / "head.dcm").write_bytes(whole[:132])
    save(tmp_path / "large.dcm", ImageComments="x" * 5000)
    found = instances_from_folder(tmp_path, limits=Limits(instance_bytes_max=4000))
    assert [instance.location.file for instance in found.instances] == ["good.dcm"]
    assert {file.name: file.reason for file in found.unreadable} == {
        "cut.dcm": "Data set ends inside an element",
        "empty.dcm": "is not a DICOM file",
        "head.dcm": "does not say its transfer syntax",
        "large.dcm": "is larger than an instance may be",
        "notes.txt": "is not a DICOM file",
        "twice.dcm": "is the same instance as good.dcm",
    }


@pytest.mark.parametrize("kept", range(132, 400, 7))
def test_a_cut_anywhere_in_the_head_is_a_reason(tmp_path: Path, kept: int):
    save(tmp_path / "1")
    (tmp_path / "1").write_bytes((tmp_path / "1").read_bytes()[:kept])
    found = instances_from_folder(tmp_path)
    assert not found.instances
    assert len(found.unreadable) == 1


def test_no_folder_is_an_error(tmp_path: Path):
    with pytest.raises(NotADirectoryError):
        instances_from_folder(tmp_path / "none")
