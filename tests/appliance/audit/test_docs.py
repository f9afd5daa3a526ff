"""The page on the trail names every kind of event that is told, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.audit import telling
from appliance.audit.message import Coded

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "audit.md"
_NOT_EVENTS = re.compile(r"1101[2-9]")


def test_the_page_lists_the_events_that_are_told():
    told = {
        (value.code, value.meaning)
        for value in vars(telling).values()
        if isinstance(value, Coded) and not _NOT_EVENTS.match(value.code)
    }
    listed = set(re.findall(r"^\| (\d{6}) ([A-Za-z ]+?) \|", _PAGE.read_text(), re.MULTILINE))
    assert listed == told
