"""Identity reaches the result as it came; what is missing is empty."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from appliance.results.encode import encode
from appliance.results.headers import carry_identity, local_time, put_evidence, stub
from tests.appliance.results.given import bands, context, ct_header, read, series

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def reread(dataset: Dataset, *, implicit: bool = False) -> Dataset:
    """Write and read a header, so that its elements are undecoded bytes as after reading a file."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, True
    write_dataset(stream, dataset)
    return dcmread(BytesIO(stream.getvalue()), force=True)


def raw(dataset: Dataset, keyword: str) -> bytes:
    """Look at an element's bytes, undecoded."""
    value = dataset.get_item(keyword).value
    assert isinstance(value, bytes)
    return value


def put(dataset: Dataset, keyword: str, value: bytes) -> None:
    """Write bytes over an undecoded element."""
    element = dataset.get_item(keyword)
    assert isinstance(element, RawDataElement)
    dataset[keyword] = element._replace(value=value, length=len(value))


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        (["", "ISO 2022 IR 87"], JAPANESE),
        ("ISO_IR 192", JAPANESE),
        ("ISO_IR 144", "Люкceмбypг"),
        (None, "Plain^Name"),
    ],
)
def test_a_name_survives_byte_for_byte_in_every_object(charset, name, implicit):
    header = ct_header()
    if charset is None:
        header.pop("SpecificCharacterSet", None)
    else:
        header.SpecificCharacterSet = charset
    header.PatientName = name
    header.StudyDescription = "Schädel" if charset == "ISO_IR 100" else "Head"
    source = reread(header, implicit=implicit)
    expected = raw(reread(header), "PatientName")
    made = series(header=source)
    objects = encode(
        context(),
        sources=made.sources,
        volume=made.volume,
        findings=bands(made.volume),
        outputs=frozenset({"sr", "seg", "gsps", "sc", "text-sr", "pdf"}),
    )
    assert len({item.output for item in objects}) == 6
    for item in objects:
        result = read(item)
        assert raw(result, "PatientName") == expected
        assert str(result.PatientName) == name
        assert result.get("SpecificCharacterSet") == (charset if charset is not None else None)
        assert result.StudyDescription == header.StudyDescription


def test_bytes_that_fit_no_character_set_survive_too():
    header = ct_header()
    header.pop("SpecificCharacterSet", None)
    source = reread(header)
    put(source, "PatientName", b"M\xfcller^Jo")
    target = Dataset()
    carry_identity(target, source)
    # Only the padding that an even length needs is added (PS3.5 7.1).
    assert raw(target, "PatientName") == b"M\xfcller^Jo "


def test_missing_attributes_are_written_empty():
    header = ct_header()
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
    ):
        header.pop(keyword, None)
    target = Dataset()
    target.PatientID = "of another patient"
    carry_identity(target, header)
    for keyword in (
        "PatientID",
        "PatientName",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
    ):
        assert keyword in target
        assert not target[keyword].value


def test_values_that_break_the_rules_are_not_repaired():
    header = ct_header()
    source = reread(header)
    put(source, "StudyDate", b"2004.01.19")
    target = Dataset()
    carry_identity(target, source)
    assert raw(target, "StudyDate") == b"2004.01.19"


def test_sequences_of_the_identity_are_carried_and_not_shared():
    header = ct_header()
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = "2.25.1", "ISO"
    header.IssuerOfAccessionNumberSequence = [item]
    target = Dataset()
    carry_identity(target, reread(header, implicit=True))
    assert target.IssuerOfAccessionNumberSequence[0].UniversalEntityID == "2.25.1"


def test_deidentification_is_carried_only_when_it_is_complete():
    header = ct_header()
    header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", ""
    target = Dataset()
    carry_identity(target, header)
    assert "PatientIdentityRemoved" not in target
    header.DeidentificationMethod = "by hand"
    carry_identity(target, header)
    assert target.PatientIdentityRemoved == "YES"
    assert target.DeidentificationMethod == "by hand"


@pytest.mark.parametrize(("offset", "hour"), [("+0100", 10), ("-0530", 4), ("", 9), (None, 9), ("junk", 9)])
def test_times_are_written_in_the_zone_that_the_study_names(offset, hour):
    source = Dataset()
    if offset is not None:
        source.TimezoneOffsetFromUTC = offset or None
    at = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert local_time(at, source).hour == hour
    assert local_time(at, source) == at


def test_what_is_written_into_a_stub_stays_out_of_the_source():
    header = ct_header()
    rows = header.Rows
    stub(header).Rows = 1
    assert header.Rows == rows > 1


def test_a_stub_has_no_identity_and_always_a_frame_of_reference():
    header = ct_header()
    del header.FrameOfReferenceUID
    made = stub(header)
    assert not made.PatientName
    assert made.FrameOfReferenceUID.startswith("2.25.")
    assert made.FrameOfReferenceUID == stub(header).FrameOfReferenceUID


def test_evidence_lists_every_instance_once_under_its_series():
    made = series(slices=3)
    other = made.sources[2]
    other.SeriesInstanceUID = "1.2.3.4"
    document = Dataset()
    put_evidence(document, [*made.sources, made.sources[0]])
    items = document.CurrentRequestedProcedureEvidenceSequence
    assert len(items) == 1
    counts = [len(item.ReferencedSOPSequence) for item in items[0].ReferencedSeriesSequence]
    assert counts == [2, 1]
