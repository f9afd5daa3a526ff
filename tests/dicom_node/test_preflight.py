"""What an accepted header says, and who is refused for not being who the command announced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from dicom_node.errors import Refusal
from dicom_node.limits import Limits
from dicom_node.preflight import FACT_KEYWORDS, Header, inspect, scan
from dicom_node.status import Status
from tests.dicom_node.samples import (
    BIG,
    EXPLICIT,
    IMPLICIT,
    MR,
    REAL_FILES,
    Sample,
    element,
    encoded,
    header,
    path_of,
    real,
    sample,
    sample_of,
)

LIMITS = Limits()
SYNTAXES = (IMPLICIT, EXPLICIT, BIG)


def read(known: Sample, **changes: str) -> Header:
    names = {"sop_class_uid": known.sop_class_uid, "sop_instance_uid": known.sop_instance_uid} | changes
    return inspect(known.data, scan(known.data, known.transfer_syntax_uid, LIMITS), **names)


def refused(known: Sample, **changes: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(known, **changes)
    return caught.value


def expected(dataset: Dataset) -> dict[str, Any]:
    """The same facts by pydicom."""
    facts: dict[str, Any] = {}
    for keyword in FACT_KEYWORDS:
        value = dataset.get(keyword)
        if value is None or value == "" or value == []:
            continue
        values = list(value) if isinstance(value, MultiValue) else [value]
        vr = dataset[keyword].VR
        cast = {"IS": int, "DS": float, "US": int, "SS": int}.get(vr, lambda text: str(text).strip())
        facts[keyword] = [cast(item) for item in values]
    return facts


def agrees(facts: dict[str, Any], dataset: Dataset) -> None:
    as_lists = {key: value if isinstance(value, list) else [value] for key, value in facts.items()}
    assert as_lists == expected(dataset)


@pytest.mark.parametrize("name", REAL_FILES)
def test_facts_of_real_objects_agree_with_pydicom(name: str) -> None:
    known = real(name)
    found = read(known)
    dataset = dcmread(path_of(name))
    agrees(found.facts, dataset)
    assert found.study_uid == dataset.StudyInstanceUID
    assert found.series_uid == dataset.SeriesInstanceUID
    json.dumps(found.facts, allow_nan=False)


def test_facts_of_whole_studies_agree_with_pydicom(shared_studies: Path) -> None:
    files = [path for path in shared_studies.glob("ct-*/*") if path.is_file()]
    assert len(files) == 56
    for path in files:
        agrees(read(sample_of(path)).facts, dcmread(path, stop_before_pixels=True))


@pytest.mark.parametrize("name", REAL_FILES)
def test_pixels_lie_where_pydicom_finds_them(name: str) -> None:
    known = real(name)
    found = read(known)
    pixels = dcmread(path_of(name)).PixelData
    assert found.pixel_offset is not None
    assert found.pixel_bytes is not None
    there = known.data[found.pixel_offset : found.pixel_offset + found.pixel_bytes]
    # Encapsulated: pydicom leaves out the delimiter that ends the fragments.
    assert there[: len(pixels)] == pixels
    if known.transfer_syntax_uid in SYNTAXES:
        assert len(there) == len(pixels)
    else:
        assert found.pixel_offset + found.pixel_bytes == len(known.data)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_object_without_pixels_is_read(syntax: str) -> None:
    data = encoded(header(), syntax)
    known = Sample(
        data=data,
        transfer_syntax_uid=syntax,
        sop_class_uid=sample().sop_class_uid,
        sop_instance_uid="2.25.101",
    )
    found = read(known)
    assert (found.pixel_offset, found.pixel_bytes) == (None, None)
    assert found.facts["ImagePositionPatient"] == [-1.5, 2.0, 30.0]
    assert found.facts["Rows"] == 2


def test_attributes_that_may_hold_several_values_are_always_lists() -> None:
    facts = read(
        sample(ImageType=["ORIGINAL"], ConvolutionKernel="STD", SpecificCharacterSet="ISO_IR 100")
    ).facts
    assert facts["ImageType"] == ["ORIGINAL"]
    assert facts["ConvolutionKernel"] == ["STD"]
    assert facts["SpecificCharacterSet"] == ["ISO_IR 100"]


def test_absent_and_empty_attributes_are_absent_facts() -> None:
    facts = read(sample(PatientName="", SeriesDescription=" ", PixelSpacing=[])).facts
    assert {"PatientName", "SeriesDescription", "PixelSpacing", "StudyDate"}.isdisjoint(facts)


def with_element(tag: int, vr: bytes, value: bytes) -> Sample:
    """The sample header with one element written by hand, in its place."""
    dataset = header()
    dataset.pop(Tag(tag), None)
    before, after = Dataset(), Dataset()
    for part in dataset:
        (before if part.tag < tag else after).add(part)
    data = encoded(before) + element(tag, vr, value) + encoded(after)
    return Sample(
        data=data,
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=sample().sop_class_uid,
        sop_instance_uid="2.25.101",
    )


@pytest.mark.parametrize(
    "value",
    [b"nan ", b"inf ", b"1e999 ", b"1_0 ", b"1,5 ", b"abc ", b"0x10", b"5\\5 ", b"- ", b"\xb2 ", b"9" * 80],
)
def test_numbers_that_are_none_are_absent(value: bytes) -> None:
    assert "SliceThickness" not in read(with_element(0x00180050, b"DS", value)).facts


@pytest.mark.parametrize(
    ("value", "number"),
    [(b" 12", 12), (b"12.0", 12), (b"+3", 3), (b"-4 ", -4), (b"1.5 ", None), (b"1\\2 ", None)],
)
def test_whole_numbers(value: bytes, number: int | None) -> None:
    assert read(with_element(0x00200011, b"IS", value)).facts.get("SeriesNumber") == number


def test_a_position_with_one_bad_number_is_absent_as_a_whole() -> None:
    assert "ImagePositionPatient" not in read(with_element(0x00200032, b"DS", b"1\\x\\3 ")).facts


def test_rows_of_another_vr_are_absent() -> None:
    assert "Rows" not in read(with_element(0x00280010, b"UL", b"\0\0\1\0")).facts
    assert read(with_element(0x00280010, b"UN", b"\5\0")).facts["Rows"] == 5


@pytest.mark.parametrize("vr", [b"US", b"SS"])
def test_padding_takes_its_sign_from_the_pixels(vr: bytes) -> None:
    value = b"\x30\xf8"  # -2000 or 63536
    assert read(with_element(0x00280120, vr, value)).facts["PixelPaddingValue"] == 63536
    dataset = header(PixelRepresentation=1)
    data = encoded(dataset) + element(0x00280120, vr, value)
    known = Sample(
        data=data,
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=sample().sop_class_uid,
        sop_instance_uid="2.25.101",
    )
    assert read(known).facts["PixelPaddingValue"] == -2000


def test_a_megabyte_name_is_cut_in_the_facts() -> None:
    facts = read(with_element(0x00104000, b"UT", b"")).facts
    assert "PatientName" not in facts
    long = read(with_element(0x00100010, b"PN", b"A" * 60_000)).facts["PatientName"]
    assert isinstance(long, str)
    assert len(long) == LIMITS.fact_text_bytes_max


def test_hostile_text_stays_text() -> None:
    name = b"<script>=1\r\n,\x1b[2J\0\xff"
    facts = read(with_element(0x00100010, b"PN", name)).facts
    assert isinstance(facts["PatientName"], str)
    assert "\0" not in facts["PatientName"]


def test_an_unknown_character_set_is_no_obstacle(recwarn: pytest.WarningsRecorder) -> None:
    facts = read(with_element(0x00080005, b"CS", b"KLINGON ")).facts
    assert facts["PatientID"] == "P1"
    assert not recwarn.list


@pytest.mark.parametrize(
    "bad", ["../../etc/x", "/etc/passwd", "1..2", ".1", "1.", "1.2\x00.3", "1" * 65, "", "1.2a", "１.２"]
)
def test_malformed_uids_of_the_command_are_refused(bad: str) -> None:
    refusal = refused(sample(), sop_instance_uid=bad)
    assert (refusal.status, refusal.word) == (Status.UID_INVALID, "receive.bad_uid")
    assert bad == "" or bad not in refusal.comment
    assert refused(sample(), sop_class_uid=bad).status == Status.UID_INVALID


@pytest.mark.parametrize(
    "keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
@pytest.mark.parametrize("value", [None, "", "../../etc/x"])
def test_missing_and_malformed_uids_of_the_data_set_are_refused(keyword: str, value: str | None) -> None:
    tag = int(header()[keyword].tag)
    dataset = header(**{keyword: None})
    data = encoded(dataset) + (b"" if value is None else element(tag, b"UI", value.encode().ljust(12, b"\0")))
    known = Sample(
        data=data,
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=sample().sop_class_uid,
        sop_instance_uid="2.25.101",
    )
    refusal = refused(known)
    assert (refusal.status, refusal.word) == (Status.UID_INVALID, "receive.bad_uid")


@pytest.mark.parametrize(
    "uid", [b"\x1b$B\x1b(J2.25.101 ", b"2.25\0.101", b"\x1b(J2.25.101\0", b"2.25.101\xff\0"]
)
def test_no_reader_takes_other_bytes_for_a_uid_than_we_do(uid: bytes) -> None:
    """Once, escape sequences and NULs were dropped: what was kept had a UID that nobody else could read."""
    refusal = refused(with_element(0x00080018, b"UI", uid))
    assert (refusal.status, refusal.word) == (Status.UID_INVALID, "receive.bad_uid")


def test_a_character_set_says_nothing_of_codes_and_numbers() -> None:
    facts = read(with_element(0x00180050, b"DS", b"\x1b(J2.5 ")).facts
    assert "SliceThickness" not in facts
    assert read(with_element(0x00180015, b"CS", b"\x1b(JHEAD")).facts["BodyPartExamined"] == "\x1b(JHEAD"


def test_another_instance_than_announced_is_refused() -> None:
    assert refused(sample(), sop_instance_uid="2.25.999").status == Status.UID_MISMATCH


def test_another_class_than_announced_is_refused() -> None:
    assert refused(sample(), sop_class_uid=MR).status == Status.CLASS_MISMATCH


def test_leading_zeros_are_kept() -> None:
    dataset = header(SOPInstanceUID=None)
    data = encoded(dataset) + element(0x00080018, b"UI", b"1.02.3")
    known = Sample(
        data=data,
        transfer_syntax_uid=EXPLICIT,
        sop_class_uid=sample().sop_class_uid,
        sop_instance_uid="1.02.3",
    )
    assert read(known).sop_instance_uid == "1.02.3"
