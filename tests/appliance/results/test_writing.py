"""What is written is what pydicom writes, byte for byte, for every object and for whatever else may come."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import Dataset, config
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement
from pydicom.filebase import DicomFileLike
from pydicom.filereader import read_dataset
from pydicom.filewriter import correct_ambiguous_vr, write_dataset
from pydicom.tag import Tag

from appliance.core.outputs import OUTPUTS
from appliance.results import finish
from appliance.results.encode import encode
from appliance.results.writing import element, item, sequence, uid_element, written
from tests.appliance.results.given import (
    Series,
    bands,
    boxes,
    context,
    mapped,
    multiframe,
    radiograph,
    series,
)
from tests.appliance.results.test_rejection import old

SERIES = {"series": series, "multi-frame": lambda: multiframe(series()), "radiograph": radiograph}


def by_pydicom(made: Dataset) -> bytes:
    """Encode as pydicom does, its own way round decoding what a source brought along undecoded."""
    correct_ambiguous_vr(made, is_little_endian=True)
    charset: str | list[str] = default_encoding
    if "SpecificCharacterSet" in made:
        charset = convert_encodings(made.SpecificCharacterSet)
    made.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=charset)
    buffer = BytesIO()
    stream = DicomFileLike(buffer)
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_dataset(stream, made)
    return buffer.getvalue()


def stored(made: Series, charset: str) -> Series:
    """Give the headers as they come from files: undecoded, with identity in items and other letters."""
    sources = []
    for source in made.sources:
        known = Dataset()
        known.PatientID, known.IssuerOfPatientID, known.TypeOfPatientID = "odd", "Münster", "TEXT"
        source.SpecificCharacterSet, source.PatientName = charset, "Müller^Jörg"
        source.OtherPatientIDsSequence, source.PatientWeight = [known], "70.0"
        sources.append(read_dataset(BytesIO(by_pydicom(source)), False, True))
    return Series(sources=sources, volume=made.volume)


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
@pytest.mark.parametrize("kind", SERIES)
def test_every_object_is_what_pydicom_writes(
    kind: str, charset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = []

    def both(made: Dataset) -> bytes:
        ours = written(deepcopy(made))
        pairs.append((str(made.SOPClassUID), ours, by_pydicom(made)))
        return ours

    monkeypatch.setattr(finish, "written", both)
    given = stored(SERIES[kind](), charset)
    findings = boxes() if kind == "radiograph" else mapped(bands(given.volume))
    again = context(
        run=2, supersedes=tuple(old("sr", "seg", "sc")), superseded_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    encode(again, sources=given.sources, volume=given.volume, findings=findings, outputs=frozenset(OUTPUTS))
    assert len({kind for kind, _, _ in pairs}) >= 6
    assert [kind for kind, ours, theirs in pairs if ours != theirs] == []


def odd() -> Dataset:
    """Make a data set of what is rare: every way of a value that is left to pydicom."""
    made, inner = Dataset(), Dataset()
    made.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    made.PatientName = "Yamada^Tarou=山田^太郎"
    made.PatientComments = "山田 a\\b"
    made.OtherPatientIDs = ["a", "b"]
    made.SoftwareVersions = ["1.0", "", "three"]
    made.ImageType = ["DERIVED", "SECONDARY", "X"]
    made.StudyDate, made.StudyTime, made.AcquisitionDateTime = "20260101", "", "20260101120000.5"
    made.PixelSpacing, made.SeriesNumber, made.PatientWeight = ["0.5", "0.50"], "7", None
    made.Rows, made.SamplesPerPixel, made.PixelRepresentation = 3, None, 1
    made.SmallestImagePixelValue, made.RedPaletteColorLookupTableDescriptor = -5, [256, 0, 16]
    made.PixelAspectRatio, made.FrameIncrementPointer = [1, 2], [Tag("FrameTime"), Tag("SliceVector")]
    made.RescaleSlope, made.EventElapsedTimes = 1.5, [0.5, 1.5]
    made.RetrieveURL, made.EncapsulatedDocument = "http://x", b"odd"
    made.FloatPixelData = b"\0\0\x80?"
    inner.SpecificCharacterSet, inner.PatientID = "ISO_IR 192", "山田"
    inner.PixelPaddingValue, inner.GraphicData = 4, [0.5, 1.5]
    inner.ReferencedSOPSequence = [Dataset(), Dataset()]
    made.ReferencedImageSequence, made.RequestAttributesSequence = [inner, deepcopy(inner)], []
    made.OtherPatientIDsSequence = [inner]
    made.add(DataElement(Tag(0x0009, 0x0010), "LO", "OURS"))
    made.add(DataElement(Tag(0x0009, 0x1001), "UN", b"abc?"))
    made.add(DataElement(Tag(0x0008, 0x0000), "UL", 12))
    return made


def test_what_is_rare_is_what_pydicom_writes() -> None:
    made = odd()
    assert written(deepcopy(made)) == by_pydicom(made)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
def test_items_that_were_never_decoded_are_what_pydicom_writes(explicit: bool, lengths: bool) -> None:
    made, outer = Dataset(), odd()
    for name in ("ReferencedImageSequence", "OtherPatientIDsSequence"):
        outer[name].is_undefined_length = not lengths
        for one in outer[name].value:
            one.is_undefined_length_sequence_item = not lengths
    buffer = BytesIO()
    stream = DicomFileLike(buffer)
    stream.is_implicit_VR, stream.is_little_endian = not explicit, True
    write_dataset(stream, outer)
    buffer.seek(0)
    made.ReferencedStudySequence = [read_dataset(buffer, not explicit, True)]
    again = deepcopy(made)
    assert written(again) == by_pydicom(made)


def test_a_text_too_long_for_its_representation_is_what_pydicom_writes() -> None:
    made = Dataset()
    with config.disable_value_validation():
        made.PatientComments = "x" * 70_001
    with pytest.warns(UserWarning, match="64 kByte"):
        ours = written(deepcopy(made))
    with pytest.warns(UserWarning, match="64 kByte"):
        theirs = by_pydicom(made)
    assert ours == theirs


def test_a_sequence_of_encoded_items_reads_as_the_items() -> None:
    class_tag, sequence_tag = Tag("ReferencedSOPClassUID"), Tag("ReferencedImageSequence")
    made, plain, inner = Dataset(), Dataset(), Dataset()
    made[sequence_tag] = sequence(sequence_tag, [item(uid_element(class_tag, "1.2.3"))] * 2)
    inner.ReferencedSOPClassUID = "1.2.3"
    plain.ReferencedImageSequence = [inner, deepcopy(inner)]
    assert written(made) == written(plain) == by_pydicom(plain)
    assert made == plain
    made[sequence_tag] = sequence(sequence_tag, [])
    assert written(made) == element(sequence_tag, "SQ", b"")
