"""Whose result it is, in any script: bytes and meaning of patient, study and order reach every object.

The source is a file that goes the box's own way in; the objects are read back with pydicom alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from appliance.results.context import EncodedObject, Notice
from appliance.results.encode import encode, encode_notice
from appliance.worker.folder import instances_from_folder
from appliance.worker.reading import read_header
from models.tensors import Volume
from tests.appliance.results.given import bands, context, ct_header, read, series

EVERY = frozenset({"sr", "seg", "gsps", "sc", "text-sr", "pdf"})
NOTICE = Notice(kind="failed", reason="The engine stopped.", what_to_do="Read the images as always.")
PLAIN = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientNames",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyDescription",
)
NESTED = (
    ("OtherPatientIDsSequence", "IssuerOfPatientID"),
    ("IssuerOfAccessionNumberSequence", "LocalNamespaceEntityID"),
    ("ProcedureCodeSequence", "CodeMeaning"),
)
Charset = str | list[str] | None

# Name, and another text of the same scripts (PS3.5 H.3, I.2 and the like).
SCRIPTS: dict[str, tuple[Charset, str, str]] = {
    "ASCII": (None, "Plain^Name", "Head"),
    "Latin 1": ("ISO_IR 100", "Müller^Jürgen^^Dr.", "Schädel nativ"),
    "Latin 1 with others": (["ISO 2022 IR 100", "ISO 2022 IR 144"], "Люкceмбypг", "Schädel nativ"),
    "Greek": ("ISO_IR 126", "Διονυσιος", "Κρανίο"),
    "Thai": ("ISO_IR 166", "สมชาย^ใจดี", "ศีรษะ"),
    "UTF-8": ("ISO_IR 192", "Wang^XiaoDong=王^小东", "頭部 ∅ Ärzte 😀"),
    "GB18030": ("GB18030", "Wang^XiaoDong=王^小东", "头部 CT"),
    "Kanji": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "頭部CT検査"),
    "Kanji and katakana": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        "ﾄｳﾌﾞ 頭部",
    ),
    "Hangul": (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동", "두부 CT"),
}


def header(charset: Charset, name: str, text: str) -> Dataset:
    """Make a CT header that says these wherever it can."""
    made = ct_header()
    made.pop("SpecificCharacterSet", None)
    if charset is not None:
        made.SpecificCharacterSet = charset
    made.PatientName = made.ReferringPhysicianName = made.OtherPatientNames = name
    made.StudyDescription = made.IssuerOfPatientID = text
    made.AccessionNumber, made.StudyID, made.PatientID = text[:6].strip(), "7", f"{text[:4].strip()}-1"
    for sequence, keyword in NESTED:
        item = Dataset()
        setattr(item, keyword, text)
        if sequence == "ProcedureCodeSequence":
            item.CodeValue, item.CodingSchemeDesignator = "CTH", "99LOCAL"
        setattr(made, sequence, [item])
    return made


def through_a_file(made: Dataset, folder: Path, *, implicit: bool = False) -> Dataset:
    """Write an image as a peer would, and read its header the way the box does."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.Rows, made.Columns = 48, 40
    made.add_new("PixelData", "OW", b"\0" * (48 * 40 * 2))
    made.save_as(folder / "0001.dcm", implicit_vr=implicit, little_endian=True, enforce_file_format=True)
    found = instances_from_folder(folder)
    assert not found.unreadable
    return read_header(found.instances[0], found.reader)


def volume_of(source: Dataset) -> Volume:
    """Make the grid of the one image."""
    shape = (1, 48, 40)
    return Volume(
        voxels=np.random.default_rng(2).normal(40, 15, shape).astype(np.float32),
        valid=np.ones(shape, dtype=np.bool_),
        positions=np.array([source.ImagePositionPatient], dtype=np.float64),
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=(0.75, 0.5),
        slice_spacing_mm=2.5,
        regular=True,
    )


def results(source: Dataset) -> list[EncodedObject]:
    """Make every kind of object, those of a notice too."""
    volume = volume_of(source)
    findings = bands(series().volume)
    cut = tuple(replace(segment, mask=segment.mask[2:3]) for segment in findings.segments)
    findings = replace(findings, segments=cut)
    made = encode(context(), sources=[source], volume=volume, findings=findings, outputs=EVERY)
    assert {item.output for item in made} == EVERY
    notices = encode_notice(context(), sources=[source], notice=NOTICE, outputs=EVERY)
    return [*made, *notices]


def raw(dataset: Dataset, keyword: str) -> bytes:
    """Look at an element's bytes without the padding of an odd length."""
    element = dataset.get_item(keyword)
    assert isinstance(element, RawDataElement)
    return (element.value or b"").rstrip(b" \0")


def texts(dataset: Dataset, carried: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give every text that is the result's own, nested ones too."""
    for element in dataset:
        if element.keyword in carried:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield from texts(item, carried)
        elif element.VR in ("LO", "LT", "PN", "SH", "ST", "UC", "UT"):
            yield keyword_for_tag(element.tag), str(element.value)


@pytest.mark.parametrize(
    ("script", "implicit"),
    [
        pytest.param(script, implicit, marks=pytest.mark.long if implicit and script != "Kanji" else ())
        for script in SCRIPTS
        for implicit in (False, True)
    ],
)
def test_every_script_survives_in_every_object_byte_for_byte_and_meaning_for_meaning(
    script, implicit, tmp_path
):
    charset, name, text = SCRIPTS[script]
    source = through_a_file(header(charset, name, text), tmp_path, implicit=implicit)
    expected = {keyword: raw(source, keyword) for keyword in PLAIN}
    nested = {pair: raw(source[pair[0]][0], pair[1]) for pair in NESTED}
    assert all(expected.values())
    for item in results(source):
        made = read(item)
        assert {keyword: raw(made, keyword) for keyword in PLAIN} == expected, item.output
        assert {pair: raw(made[pair[0]][0], pair[1]) for pair in NESTED} == nested, item.output
        assert made.get("SpecificCharacterSet") == charset
        assert str(made.PatientName) == str(made.ReferringPhysicianName) == name
        assert made.StudyDescription == made.OtherPatientIDsSequence[0].IssuerOfPatientID == text
        own = dict(texts(made, (*PLAIN, *(sequence for sequence, _ in NESTED))))
        assert own
        assert all(value.isascii() for value in own.values()), own


# What a peer sends although no rule allows it: the bytes, and what it calls them.
BROKEN: dict[str, tuple[Charset, bytes]] = {
    "undeclared": (None, b"M\xfcller^J\xfcrgen"),
    "UTF-8 undeclared": (None, "王^小东".encode()),
    "declared as another": ("ISO_IR 192", b"M\xfcller^J\xfcrgen"),
    "of no known name": ("ISO_IR 999", b"M\xfcller^J\xfcrgen"),
    "of an old name": ("LATIN1", b"M\xfcller^J\xfcrgen"),
    "escapes undeclared": (None, b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
    "escapes that lead nowhere": (["", "ISO 2022 IR 87"], b"Yamada=\x1b$)Z\xb0\xa1\x1b"),
    "control characters": ("ISO_IR 100", b"Na\tme^\x00First"),
    "too many groups": ("ISO_IR 192", b"A^B=C^D=E^F=G^H"),
}


@pytest.mark.filterwarnings("ignore")  # pydicom's own words about what it reads
@pytest.mark.parametrize("fault", list(BROKEN))
def test_bytes_that_break_the_rules_survive_and_hold_up_no_object(fault, tmp_path):
    charset, value = BROKEN[fault]
    # No library writes these: plain letters hold their place until the file is written.
    even = value + b" " * (len(value) % 2)
    base = header(charset, "X" * len(even), "X" * len(even))
    for keyword in PLAIN:
        setattr(base, keyword, "X" * len(even))
    through_a_file(base, tmp_path)
    path = tmp_path / "0001.dcm"
    path.write_bytes(path.read_bytes().replace(b"X" * len(even), even))
    found = instances_from_folder(tmp_path)
    source = read_header(found.instances[0], found.reader)
    assert raw(source, "PatientName") == value.rstrip(b" \0")
    for item in results(source):
        made = read(item)
        for keyword in PLAIN:
            assert raw(made, keyword) == value.rstrip(b" \0"), (item.output, keyword)
        for sequence, keyword in NESTED:
            assert raw(made[sequence][0], keyword) == value.rstrip(b" \0"), (item.output, keyword)
        assert made.get("SpecificCharacterSet") == charset


LONG: dict[str, object] = {
    "PatientName": "^".join(["Name" * 16] * 5) + "=" + "^".join(["名" * 64] * 5),
    "StudyDescription": "Very long " * 40,
    "AccessionNumber": "A" * 200,
    "PatientID": "P" * 500,
    "StudyID": "S" * 100,
    "ReferringPhysicianName": "R" * 300,
}


@pytest.mark.filterwarnings("ignore")  # the peer's lengths are not ours to judge
def test_long_values_are_never_cut(tmp_path):
    base = header("ISO_IR 192", "A^B", "Head")
    for keyword, value in LONG.items():
        setattr(base, keyword, value)
    source = through_a_file(base, tmp_path)
    expected = {keyword: raw(source, keyword) for keyword in LONG}
    assert len(expected["PatientName"]) > 1000
    for item in results(source):
        made = read(item)
        assert {keyword: raw(made, keyword) for keyword in LONG} == expected, item.output


OPTIONAL = (
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge",
    "PatientSize", "PatientWeight", "IssuerOfPatientID", "OtherPatientNames", "OtherPatientIDsSequence",
    "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ProcedureCodeSequence", "ReferringPhysicianName",
    "SeriesDescription", "SeriesNumber", "InstanceNumber", "ImageType", "TimezoneOffsetFromUTC",
    "PositionReferenceIndicator", "SliceThickness", "WindowCenter", "WindowWidth", "BodyPartExamined",
    "ClinicalTrialSponsorName", "PatientIdentityRemoved", "DeidentificationMethod", "LossyImageCompression",
    "LossyImageCompressionRatio", "Manufacturer", "Laterality", "PatientOrientation", "Modality",
)  # fmt: skip


@pytest.mark.parametrize("how", ["empty", "absent"])
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_what_is_empty_or_absent_holds_up_no_object(how, implicit, tmp_path):
    base = header(None, "Plain^Name", "Head")
    for keyword in OPTIONAL:
        base.pop(keyword, None)
        if how == "empty":
            setattr(base, keyword, None)
    source = through_a_file(base, tmp_path, implicit=implicit)
    for item in results(source):
        made = read(item)
        for keyword in (*PLAIN[:2], "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
            assert keyword in made
            assert not made[keyword].value
        assert "AccessionNumber" in made
        assert not made.AccessionNumber
        assert made.Modality
