"""The printed page: its words are words, it stays one page, and its object is what the standard says."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from appliance.results.context import Reference
from appliance.results.encode import encode, encode_notice
from tests.appliance.results.given import (
    VOLUME,
    bands,
    context,
    ct_header,
    lesions,
    nothing,
    number,
    only,
    read,
    series,
)
from tests.appliance.results.test_page import NOTICE

PDF = frozenset({"pdf"})


def document(findings, made=None, **changes) -> Dataset:
    made = made or series()
    objects = encode(
        context(**changes), sources=made.sources, volume=made.volume, findings=findings, outputs=PDF
    )
    (item,) = only(objects, "pdf")
    return read(item)


def page(made: Dataset) -> bytes:
    """Take the file out of its object, without the byte that makes its length even."""
    return bytes(made.EncapsulatedDocument)[: made.EncapsulatedDocumentLength]


def streams(pdf: bytes) -> list[bytes]:
    """Decode every stream of a file (ISO 32000-1 7.4)."""
    found = []
    for raw in re.findall(rb"stream\r?\n(.*?)\r?\n?endstream", pdf, re.DOTALL):
        if raw.endswith(b"~>"):
            raw = base64.a85decode(raw.removesuffix(b"~>"))
        found.append(zlib.decompress(raw))
    return found


def words(made: Dataset) -> str:
    """Read the text that a page shows; letters beyond ASCII are coded by the font and not read here."""
    shown = [
        text for stream in streams(page(made)) for text in re.findall(rb"\(((?:\\.|[^\\()])*)\) Tj", stream)
    ]
    return re.sub(r"\\([()\\])", r"\1", "\n".join(text.decode("latin-1") for text in shown))


def pages(made: Dataset) -> int:
    return len(re.findall(rb"/Type /Page\b", page(made)))


def test_the_object_says_that_it_is_an_unverified_pdf():
    made = document(bands(series().volume))
    assert made.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (made.Modality, made.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert (made.BurnedInAnnotation, made.VerificationFlag) == ("YES", "UNVERIFIED")
    assert made.DocumentTitle == "Result, preliminary, unverified; not for primary diagnosis"
    assert made.ConceptNameCodeSequence[0].CodeValue == "18748-4"
    assert made.SeriesDescription.startswith("AI page ")
    assert made.ContributingEquipmentSequence[0].DeviceUID == context().provenance.model_device_uid
    assert len(made.SourceInstanceSequence) == 6
    assert len(made.EncapsulatedDocument) % 2 == 0
    assert page(made).startswith(b"%PDF-1.")
    assert page(made).rstrip().endswith(b"%%EOF")


def test_the_page_says_whose_it_is_the_answer_every_number_and_who_made_it():
    text = words(document(bands(series().volume)))
    for part in (
        "PRELIMINARY - UNVERIFIED",
        "NOT FOR PRIMARY DIAGNOSIS. Made by software; not verified by a person.",
        "CompressedSamples, CT1",
        "1CT1",
        "2004-01-19",
        "MEASURED: Volumes of three tissue bands were measured.",
        "bone\nVolume\n123.5\nmL",
        "Mean Attenuation Coefficient\n700.5\nHU",
        "air\nVolume: not measured. No voxel of it lies in the series.",
        "Image 3 (4 of 6 by position)",
        "Model: ct-tissue-bands 1.0.0, sha256:" + "5a" * 32,
        "Engine: ONNX Runtime 1.31.1 CPU",
        "Intended use: For tests.",
        "Regulatory status: Not a medical device.",
        # 09:30:15 UTC in the zone of the study.
        "2026-11-21 04:30:15 UTC-05:00",
    ):
        assert part in text, part


def test_every_lesion_is_listed_with_its_numbers_and_outlined_in_a_picture():
    made = document(lesions(series().volume))
    assert "Lesion 1\nVolume\n0.406\nmL\nLong Axis\n11.50\nmm\nProbability\n0.875" in words(made)
    assert page(made).count(b"/Subtype /Image") == 2
    pictures = [stream for stream in streams(page(made)) if bytes((255, 80, 60)) in stream]
    assert len(pictures) == 2


def test_the_numbers_beside_outlines_can_be_read_on_paper():
    made = series(rows=64, columns=64, spacing_mm=(0.5, 0.5))
    (first, _) = (s for s in streams(page(document(lesions(made.volume), made))) if len(s) == 512 * 512 * 3)
    picture = np.frombuffer(first, dtype=np.uint8).reshape(512, 512, 3)
    # The first lesion ends at column 17 of 64, which is 143 of the picture.
    red = (picture == (255, 80, 60)).all(axis=2)
    outline = np.ptp(np.flatnonzero(red[:, :144].any(axis=1)))
    digit = np.ptp(np.flatnonzero(red[:, 145:180].any(axis=1)))
    assert outline > 80
    # A picture is 205 points high on the page.
    assert digit * 205 / 512 > 6


def test_no_finding_and_a_notice_say_so_in_words():
    assert "NO FINDING: No dense lesion was marked." in words(document(nothing()))
    objects = encode_notice(context(), sources=[ct_header()], notice=NOTICE, outputs=PDF)
    made = read(only(objects, "pdf")[0])
    text = words(made)
    assert "NOT ANALYSED (not eligible). This is not a negative result." in text
    assert NOTICE.reason in text
    assert NOTICE.what_to_do in text
    assert "CompressedSamples, CT1" in text
    assert made.SeriesDescription.startswith("NOT ANALYSED")
    assert made.DocumentTitle.startswith("Not analysed")


def test_without_a_volume_the_page_has_no_picture():
    objects = encode(context(), sources=[ct_header()], volume=None, findings=nothing(), outputs=PDF)
    made = read(only(objects, "pdf")[0])
    assert b"/Subtype /Image" not in page(made)
    assert "NO FINDING" in words(made)


def test_what_lacks_the_same_for_the_same_reason_is_told_once():
    made = series()
    item = bands(made.volume).withheld[0]
    items = (item, replace(item, segment="fat"), replace(item, segment="bone", reason="Too small."))
    text = words(document(replace(bands(made.volume), withheld=items), made))
    assert "air, fat\nVolume: not measured. No voxel of it lies in the series." in text
    assert "bone\nVolume: not measured. Too small." in text


def test_numbers_that_do_not_fit_are_counted_and_the_page_stays_one():
    made = series()
    many = tuple(number(VOLUME, float(i), VOLUME, f"label {i}") for i in range(200))
    result = document(replace(bands(made.volume), measurements=many), made)
    text = words(result)
    shown = len(re.findall(r"^label \d+$", text, re.MULTILINE))
    # One more line than the numbers: what was withheld.
    assert f"{201 - shown} more lines are not on this page; the structured report has them." in text
    assert "Regulatory status: Not a medical device." in text
    assert pages(result) == 1


def test_lesions_beyond_the_bound_are_counted_in_words():
    made = series()
    one = lesions(made.volume).lesions[0]
    many = tuple(replace(one, label=str(i), measurements=()) for i in range(1, 64))
    text = words(document(replace(lesions(made.volume), lesions=many), made))
    assert "more lines are not on this page" in text
    assert "\nLesion 61\n" not in text


def test_a_page_that_cannot_hold_its_words_says_so():
    result = document(replace(nothing(), statement="word " * 4000))
    assert "This page is full and does not hold everything; the structured report does." in words(result)
    assert pages(result) == 1


def test_markup_in_a_patient_s_data_is_text():
    header = ct_header()
    header.StudyDescription = '<img src="x"/> (a)\\b'
    assert '<img src="x"/> (a)\\b' in words(document(nothing(), series(header=header)))


def test_a_name_in_other_letters_stands_there_romanised_and_the_id_with_it():
    header = ct_header()
    header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    header.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_dataset(stream, header)
    text = words(document(nothing(), series(header=dcmread(BytesIO(stream.getvalue()), force=True))))
    assert "Patient\nYamada, Tarou\nPatient ID\n1CT1" in text
    header.SpecificCharacterSet, header.PatientName = "ISO_IR 144", "Люкceмбypг"
    text = words(document(nothing(), series(header=header)))
    assert "(in letters that this page does not" in text
    assert "?" not in text


def test_the_page_names_what_it_replaces():
    old = Reference(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.104.1",
        sop_instance_uid="2.25.10",
        series_uid="2.25.11",
        study_uid=str(ct_header().StudyInstanceUID),
    )
    made = document(nothing(), supersedes=(old,))
    assert "This result replaces an earlier one of the same study and model." in words(made)


def test_pictures_and_dates_come_from_the_result_alone():
    first = page(document(bands(series().volume)))
    assert first == page(document(bands(series().volume)))
    assert b"D:20261121093015Z" in first
    assert b"/ID" in first


def test_another_program_reads_the_words():
    tool = shutil.which("pdftotext")
    if tool is None:
        pytest.skip("pdftotext is not installed: no independent reader of the page")
    header = ct_header()
    header.SpecificCharacterSet, header.PatientName = "ISO_IR 192", "Müller^Jürgen"
    made = document(lesions(series().volume), series(header=header))
    done = subprocess.run(
        [tool, "-layout", "-", "-"], input=page(made), capture_output=True, check=True, timeout=60
    )
    text = done.stdout.decode()
    assert "Müller, Jürgen" in text
    assert "FINDING: 2 dense lesions were marked." in text
    assert not done.stderr
