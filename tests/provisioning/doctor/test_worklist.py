"""What the doctor says of a worklist: each thing that can be wrong with it, planted at a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import parse
from provisioning.doctor.checks import worklist
from provisioning.doctor.site import Site
from tests.provisioning.doctor.rig import LIMITS
from tests.worklist import Origin, serving


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Origin, str]]:
    origin = Origin()
    with serving(origin) as url:
        yield origin, url


def site(url: str, **more: Any) -> Site:
    peer = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "may": ["store", "query"]}
    worklist = {"url": url, "station": "BOX"} | more
    read = parse({"site": {"name": "s"}, "storage": {"root": "/x"}, "peers": [peer], "worklist": worklist})
    return Site(read=read, limits=LIMITS)


def found(at: Site) -> list[str | None]:
    (url,) = worklist._each(at)
    return [None if one.fault is None else one.fault.id for one in worklist._look(at, url)]


def test_a_worklist_that_answers_is_sound_and_nothing_of_it_is_told(served):
    origin, url = served
    origin.schedule("1.1", station="BOX")
    (told,) = worklist._look(site(url), url)
    assert told.fault is None
    assert "SECRET" not in repr(told)
    assert origin.workitems["1.1"].states == ["SCHEDULED"], "looking claims nothing"


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (401, "worklist.unauthorised"),
        (403, "worklist.unauthorised"),
        (404, "worklist.not-there"),
        (301, "worklist.not-there"),
        (400, "worklist.no-answer"),
        (500, "worklist.no-answer"),
    ],
)
def test_what_it_says_instead_is_named(served, status, fault):
    origin, url = served
    origin.before = lambda method, path: status
    try:
        assert found(site(url)) == [fault]
    finally:
        origin.before = lambda method, path: None


def test_who_does_not_answer_or_speaks_no_tls(served, tmp_path: Path):
    assert found(site("http://127.0.0.1:1/web")) == ["worklist.unreachable"]
    assert found(site(served[1].replace("http:", "https:"))) == ["worklist.unproven"]
    assert found(site(served[1], token=str(tmp_path / "none"))) == ["worklist.unauthorised"]


def test_a_site_without_a_worklist_has_nothing_to_look_at():
    read = parse({"site": {"name": "s"}, "storage": {"root": "/x"}})
    assert worklist._each(Site(read=read)) == []
