"""What left this site: on a page, exact, and with an export."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from appliance.console.app import create_app
from appliance.console.limits import DEFAULT
from appliance.core.alarming import AlarmKind
from appliance.health.codes import Kind
from appliance.health.outbox import Outbox, folder_of
from appliance.health.schema import Record, encode
from appliance.ledger import alarms
from appliance.ledger.alarms import Alarm
from appliance.services.left import LeftOf
from tests.appliance.console.filling import Console

WORK = Record(
    seq=7, at=1_700_000_000, kind=Kind.WORK, values={"hour": 472_222, "release": 48_879, "done": -1}
)
BATCH = encode([WORK])
NOTICE = json.dumps({"alarm": "no_arrivals", "text": "No CT since <b>Saturday</b> 06:00."}).encode()


@pytest.fixture
def outbox(config, clock):
    return Outbox(folder=folder_of(config.storage.root), clock=clock)


@pytest.fixture
def console(ledger, clock, config, tmp_path):
    limits = replace(DEFAULT, snapshot_seconds=-1.0)
    app = create_app(
        ledger=ledger, config=config, spool_root=tmp_path, clock=clock, limits=limits, left=LeftOf(config)
    )
    return Console(app=app, ledger=ledger, clock=clock, config=config, root=tmp_path, limits=limits)


def test_a_site_from_which_nothing_left_says_so_and_makes_no_file(console):
    browser = console.logged_in()
    assert "Nothing left that is kept here" in browser.get("/left").text
    assert browser.get("/left/all.jsonl").text == ""
    assert not folder_of(console.root).exists()


def test_each_is_shown_as_what_it_says_and_given_as_it_left(console, outbox):
    first = outbox.depart("registry", BATCH)
    outbox.departed(first, "taken")
    second = outbox.depart("webhook", NOTICE)
    browser = console.logged_in()
    page = browser.get("/left").text
    for part in ("WORK", "release: 48879", "done: -1", "seq: 7", "taken", "under way", "no_arrivals"):
        assert part in page
    assert "<b>Saturday</b>" not in page
    assert page.index("no_arrivals") < page.index("release: 48879")
    assert browser.get(f"/left/{first}").content == BATCH
    assert browser.get(f"/left/{second}").content == NOTICE
    assert browser.get("/left/999").status_code == 404


def test_the_export_holds_every_byte(console, outbox):
    bodies = [b"%03d" % number for number in range(120)]
    for body in bodies:
        outbox.depart("registry", body)
    browser = console.logged_in()
    rows = [json.loads(line) for line in browser.get("/left/all.jsonl").text.splitlines()]
    assert [base64.b64decode(row["bytes"]) for row in reversed(rows)] == bodies
    assert {row["says"][0]["kind"] for row in rows} == {"unread"}
    page = browser.get("/left").text
    assert f'/left?before={rows[49]["id"]}"' in page
    assert f'href="/left/{rows[50]["id"]}"' in browser.get(f"/left?before={rows[49]['id']}").text


@pytest.mark.parametrize("path", ["/left", "/left/1", "/left/all.jsonl"])
def test_nobody_sees_it_without_a_log_in(console, outbox, path):
    outbox.depart("registry", BATCH)
    answer = console.visitor().get(path)
    assert answer.status_code in (303, 401)
    assert BATCH not in answer.content


def test_alarms_need_a_person_and_are_scraped(console):
    with console.ledger.write() as tx:
        wanted = [
            Alarm(kind=AlarmKind.NO_ARRIVALS, subject="CT", numbers={"since": 1.7e9, "least": 9, "weeks": 4}),
            Alarm(kind=AlarmKind.SERVICE_SILENT, subject="courier", numbers={}),
        ]
        alarms.settle(tx, wanted, at=console.clock.now())
    browser = console.logged_in()
    page = browser.get("/attention").text
    assert "No CT since Tuesday 22:13, although at least 9 came" in page
    assert "The service courier" not in page
    scraped = console.visitor(("127.0.0.1", 40_000)).get("/metrics").text
    assert 'readside_alarms{alarm="no_arrivals"} 1.0' in scraped
    assert 'readside_alarms{alarm="drift"} 0.0' in scraped
