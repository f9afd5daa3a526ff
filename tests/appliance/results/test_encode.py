"""What is written for which answer, and always the same bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.results.encode import encode, encode_notice
from models.findings import Outcome
from tests.appliance.results.given import bands, context, ct_header, lesions, nothing, read, series
from tests.appliance.results.test_page import NOTICE, sections

ALL = frozenset({"sr", "seg", "gsps", "sc", "text-sr", "pdf"})


def encoded(findings, outputs=ALL, made=None, **changes):
    made = made or series()
    return encode(
        context(**changes), sources=made.sources, volume=made.volume, findings=findings, outputs=outputs
    )


def kinds(objects):
    return list(dict.fromkeys(item.output for item in objects))


@pytest.mark.parametrize(
    ("make", "outputs", "expected"),
    [
        (bands, ALL, ["sr", "seg", "gsps", "sc", "pdf", "text-sr"]),
        (bands, {"sr"}, ["sr"]),
        (bands, {"sr", "seg"}, ["sr", "seg"]),
        (bands, {"seg"}, ["text-sr", "seg"]),
        (bands, {"gsps"}, ["text-sr", "gsps"]),
        (bands, {"pdf"}, ["pdf"]),
        (bands, {"sc"}, ["sc"]),
        (bands, set(), ["text-sr"]),
        (lesions, {"sr", "sc"}, ["sr", "sc"]),
        (lambda volume: nothing(), ALL, ["text-sr", "sr", "sc", "pdf"]),
        (lambda volume: nothing(), {"sr"}, ["text-sr", "sr"]),
        (lambda volume: nothing(), {"seg"}, ["text-sr"]),
        (lambda volume: nothing(), {"gsps"}, ["text-sr"]),
    ],
)
def test_what_is_written_for_which_answer(make, outputs, expected):
    assert kinds(encoded(make(series().volume), frozenset(outputs))) == expected


def test_an_abstention_is_a_page_and_never_a_count_of_nothing():
    findings = replace(nothing(), outcome=Outcome.ABSTAINED, statement="The answer is not certain enough.")
    objects = encoded(findings)
    assert kinds(objects) == ["text-sr", "sc", "pdf"]
    assert sections(read(objects[0]))[0][1][0] == "ABSTAINED: The answer is not certain enough."


def test_without_a_volume_there_is_a_page():
    made = encode(context(), sources=[ct_header()], volume=None, findings=nothing(), outputs=ALL)
    assert kinds(made) == ["text-sr", "pdf"]
    assert all(item.preview_png is None for item in made)


@pytest.mark.parametrize(("outputs", "expected"), [(ALL, ["text-sr", "sc", "pdf"]), ({"sr"}, ["text-sr"])])
def test_a_notice_is_always_readable(outputs, expected):
    made = encode_notice(context(), sources=[ct_header()], notice=NOTICE, outputs=frozenset(outputs))
    assert kinds(made) == expected


def test_objects_say_of_themselves_what_their_bytes_say():
    for item in encoded(bands(series().volume)):
        dataset = read(item)
        assert item.sop_class_uid == dataset.SOPClassUID
        assert item.sop_instance_uid == dataset.SOPInstanceUID
        assert item.series_uid == dataset.SeriesInstanceUID
        assert item.series_description == dataset.SeriesDescription
        assert item.modality == dataset.Modality
        assert item.transfer_syntax_uid == "1.2.840.10008.1.2.1"
        assert not item.data.startswith(b"\0" * 128)


def test_all_objects_belong_to_the_study_each_kind_to_a_series_of_its_own():
    objects = encoded(bands(series().volume))
    headers = [read(item) for item in objects]
    assert {h.StudyInstanceUID for h in headers} == {ct_header().StudyInstanceUID}
    assert {h.AccessionNumber for h in headers} == {ct_header().AccessionNumber}
    assert len({h.SeriesInstanceUID for h in headers}) == len(kinds(objects))
    assert all(h.SeriesNumber > 9000 for h in headers)
    assert all(h.SeriesDescription.endswith("not for primary diagnosis") for h in headers)
    assert len({h.SOPInstanceUID for h in headers}) == len(objects)


def test_the_only_time_in_an_object_is_the_result_s():
    # 09:30:15 UTC, in the zone that the study names for all its times.
    assert ct_header().TimezoneOffsetFromUTC == "-0500"
    for item in encoded(bands(series().volume)):
        header = read(item)
        assert header.TimezoneOffsetFromUTC == "-0500"
        kind = "PresentationCreation" if item.output == "gsps" else "Content"
        assert (header[f"{kind}Date"].value, header[f"{kind}Time"].value) == ("20261121", "043015")
        assert (header.InstanceCreationDate, header.SeriesTime) == ("20261121", "043015")


def test_the_console_gets_its_picture_even_when_none_is_sent():
    first, *rest = encoded(bands(series().volume), frozenset({"sr", "seg"}))
    assert first.output == "sr"
    assert first.preview_png is not None
    assert first.preview_png.startswith(b"\x89PNG")
    assert all(item.preview_png is None for item in rest)
    shown = encoded(bands(series().volume), ALL)
    assert [item.preview_png is not None for item in shown] == [item.output == "sc" for item in shown]
    assert first.preview_png == next(item for item in shown if item.output == "sc").preview_png


def test_sources_are_left_as_they_were():
    made = series()
    before = [str(source) for source in made.sources]
    encoded(bands(made.volume), made=made)
    assert [str(source) for source in made.sources] == before


def test_another_run_is_another_result():
    findings = bands(series().volume)
    first = {item.sop_instance_uid for item in encoded(findings)}
    second = {item.sop_instance_uid for item in encoded(findings, run=2)}
    assert not first & second


def test_a_notice_and_a_result_of_one_run_have_different_uids():
    notices = encode_notice(context(), sources=[ct_header()], notice=NOTICE, outputs=ALL)
    results = encoded(bands(series().volume))
    assert not {n.sop_instance_uid for n in notices} & {r.sop_instance_uid for r in results}
    assert not {n.series_uid for n in notices} & {r.series_uid for r in results}


def test_encoding_twice_gives_the_same_bytes():
    findings = [make(series().volume) for make in (bands, lesions, lambda volume: nothing())]
    first = [item.data for one in findings for item in encoded(one)]
    # Long enough for every clock that could leak into an object to move on.
    time.sleep(1.1)
    assert [item.data for one in findings for item in encoded(one)] == first


def test_another_process_gives_the_same_bytes():
    digest = everything_digest()
    script = "from tests.appliance.results.test_encode import everything_digest; print(everything_digest())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).resolve().parents[3],
        env={"PYTHONHASHSEED": "4321", "TZ": "Asia/Tokyo", "PYTHONPATH": "."},
    )
    assert done.stdout.strip() == digest


def everything_digest() -> str:
    """Digest the bytes of every object for the same findings."""
    digest = hashlib.sha256()
    for make in (bands, lesions, lambda volume: nothing()):
        for item in encoded(make(series().volume)):
            digest.update(item.data)
            digest.update(item.preview_png or b"")
    return digest.hexdigest()
