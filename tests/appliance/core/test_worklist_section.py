"""The table [worklist]: only workitems that can be told, fetched and answered are claimed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config, ConfigError, parse

URL = "http://127.0.0.1:8080/dicom-web"
ITEMS = [{"code": "CT-CHEST^99HOSP", "route": "chest"}]
PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "may": ["store", "query"]}
CHEST = {"name": "chest", "when": 'Modality == "CT"', "model": "ct-tissue-bands", "send_to": ["pacs"]}


def site(
    worklist: dict[str, Any], *, peer: dict[str, Any] | None = None, route: dict[str, Any] | None = None
) -> Config:
    return parse(
        {
            "site": {"name": "Here"},
            "storage": {"root": str(Path("/tmp/here"))},
            "peers": [PACS | (peer or {})],
            "routes": [CHEST | (route or {})],
            "worklist": worklist,
        }
    )


def test_nothing_is_asked_unless_a_worklist_is_named():
    assert site({}, peer={"may": ["store"]}).worklist.url is None


@pytest.mark.parametrize(
    "own", [{"items": ITEMS}, {"station": "BOX^99HOSP"}, {"station": "BOX", "items": ITEMS}]
)
def test_what_is_the_boxs_own_is_told_by_station_by_code_or_by_both(own):
    assert site({"url": URL, **own}).worklist.url == URL


@pytest.mark.parametrize(
    ("worklist", "fault"),
    [
        ({"url": URL}, "worklist.station: must be given, or worklist.items"),
        ({"items": ITEMS}, "worklist.url: must be given"),
        ({"station": "BOX"}, "worklist.url: must be given"),
        ({"url": URL, "items": ITEMS * 2}, "'CT-CHEST^99HOSP' stands there twice"),
        ({"url": URL, "items": [{"code": "A", "route": "x"}]}, "worklist.items.A: no route is called 'x'"),
        ({"url": URL, "station": "BOX", "poll_seconds": 0.5}, "worklist.poll_seconds"),
        ({"url": URL, "station": "A^B^C"}, "worklist.station"),
        ({"url": "ftp://there", "station": "BOX"}, "worklist.url"),
        ({"url": URL, "station": "BOX", "subscribe": True}, "worklist.subscribe: this key is not known"),
    ],
)
def test_what_cannot_be_meant_is_a_fault(worklist, fault):
    with pytest.raises(ConfigError) as raised:
        site(worklist)
    assert any(fault in said for said in raised.value.faults), raised.value.faults


@pytest.mark.parametrize("route", [{"mode": "shadow"}, {"send_to": []}])
def test_a_route_that_sends_to_nobody_answers_no_workitem(route):
    with pytest.raises(ConfigError, match="sends to nobody"):
        site({"url": URL, "items": ITEMS}, route=route)


@pytest.mark.parametrize("peer", [{"may": ["store"]}, {"may": ["query"]}])
def test_there_is_somebody_to_fetch_from(peer):
    with pytest.raises(ConfigError, match="could not be fetched"):
        site({"url": URL, "station": "BOX"}, peer=peer)
