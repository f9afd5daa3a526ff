"""How values are written."""

from __future__ import annotations

import pytest

from appliance.console import text
from appliance.console.studypage import geometry
from appliance.console.wording import tell, tone_of
from appliance.ledger.events import Event


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        ("Nowak^Janina", "Nowak, Janina"),
        ("Nowak^Janina^Ewa^Dr^PhD", "Nowak, Janina Ewa"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou · 山田, 太郎"),
        ("", "(no name)"),
        (None, "(no name)"),
        ("^^^", "(no name)"),
        ("a\nb\r\x00c\u202egnirts", "a b c gnirts"),
        ("x" * 1_000_000, "x" * 63 + "…"),
    ],
)
def test_names(raw, written):
    assert text.person(raw) == written


@pytest.mark.parametrize(
    ("raw", "written"), [("20261121", "2026-11-21"), ("2026", "2026"), (None, ""), ("<b>12345", "<b>12345")]
)
def test_dates(raw, written):
    assert text.date(raw) == written


@pytest.mark.parametrize(
    ("raw", "written"),
    [
        (512.4321, "512.43"),
        (0.012345, "0.0123"),
        (12345.6, "12,345.6"),
        (3, "3"),
        (0.0, "0.00"),
        ("n/a", "n/a"),
        (True, "True"),
    ],
)
def test_numbers(raw, written):
    assert text.number(raw) == written


@pytest.mark.parametrize(
    ("count", "noun", "written"),
    [
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (2, "series", "2 series"),
        (2, "study", "2 studies"),
        (1000, "delivery", "1,000 deliveries"),
    ],
)
def test_counted(count, noun, written):
    assert text.counted(count, noun) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(-1, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations(seconds, written):
    assert text.duration(seconds) == written


def test_a_moment_is_local_and_names_its_zone(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        assert text.moment(1_700_000_000) == "2023-11-14 23:13:20 CET"
        assert text.moment(1_690_000_000).endswith("CEST")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_geometry():
    facts = {"orientation": "axial", "slices": 3, "slice_spacing_mm": 0.8, "gantry_tilt_degrees": -12.0}
    assert (
        geometry(facts | {"regular": True}) == "axial, 3 slices, 0.80 mm apart, gantry tilt -12.0°, regular"
    )
    assert geometry(facts | {"regular": False, "irregularity": "a gap"}).endswith("a gap")
    assert geometry({}) == ""


def test_an_event_without_its_details_is_still_a_sentence():
    said = tell(Event(at=0, word="courier.refused", study_uid=None, detail={"status": 0xA700}))
    assert said == ("The … was refused by … (status A700H).", "bad")


def test_an_unknown_event_is_written_with_its_details():
    said = tell(Event(at=0, word="engine.stepped_down", study_uid=None, detail={"to": "cpu", "why": None}))
    assert said == ("Engine: stepped down (to cpu).", "warn")
    assert tell(Event(at=0, word="odd", study_uid=None, detail={})) == ("Odd.", "plain")
    assert tone_of("disk.fault") == "bad"


def test_a_jobs_ending_is_told_by_its_reason_and_never_quietly():
    detail = {"job": 3, "route": "ct", "reason": "slice 17 took longer than 30 seconds"}
    said = tell(Event(at=0, word="decode.deadline", study_uid=None, detail=detail))
    assert said == ("Job 3 of route ct: slice 17 took longer than 30 seconds.", "warn")
    assert tell(Event(at=0, word="disk.fault", study_uid=None, detail=detail))[1] == "bad"


def test_details_cannot_reach_into_python():
    event = Event(at=0, word="assemble.held", study_uid=None, detail={"reason": "{route.__class__}"})
    assert tell(event)[0] == "Held: {route.__class__}."
