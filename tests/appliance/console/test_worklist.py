"""A worklist: its workitems by state, when it answered, and what became of the one that asked for a study."""

from __future__ import annotations

import pytest

from appliance.console.explain import why
from appliance.console.worklist import sentence
from appliance.core.config import parse
from appliance.ledger import workitems
from appliance.ledger.performed import Why
from appliance.ledger.states import WorkitemState
from appliance.ledger.workitems import Item, Wanted
from tests.appliance.console.filling import FROM_HERE, NORMAL
from tests.appliance.console.test_reconciled import gauge

URL = "https://worklist.example/web"


@pytest.fixture
def asking(make_console, config):
    tree = config.model_dump(mode="json") | {"worklist": {"url": URL, "station": "BOX"}}
    tree["peers"][0]["may"] = ["store", "query"]
    return make_console(config=parse(tree))


def wanted(console, uid: str = "1.9.1", study: str = NORMAL) -> Item:
    at = console.clock.now()
    with console.ledger.write() as tx:
        workitems.want(tx, uid, transaction_uid="2.25.7", route="", at=at)
        workitems.claimed(tx, found(tx, uid), at=at)
        inputs = [Wanted(study_uid=study, series=[], peer="pacs")]
        workitems.working(tx, found(tx, uid), inputs, at=at, due_at=at)
        return found(tx, uid)


def found(tx, uid: str) -> Item:
    item = workitems.find(tx, uid)
    assert item is not None
    return item


def test_the_health_page_and_the_gauges_say_how_it_stands(asking):
    assert "It has not answered yet" in asking.logged_in().get("/health").text
    wanted(asking)
    with asking.ledger.write() as tx:
        workitems.looked(tx, URL, word=None, at=asking.clock.now())
        workitems.want(tx, "1.9.2", transaction_uid="2.25.8", route="", at=asking.clock.now())
    asking.clock.advance(60)
    page = asking.logged_in().get("/health").text
    assert "Worklist: 2 workitems under way, 1 wanted, 1 working. It answered at" in page
    assert sorted(gauge(asking, "readside_workitems")) == [1, 1]
    assert gauge(asking, "readside_worklist_answer_age_seconds") == [60]
    with asking.ledger.write() as tx:
        workitems.looked(tx, URL, word="worklist.unauthorised", at=asking.clock.now())
    asking.clock.advance(60)
    assert (
        "and then said nothing that can be used (worklist.unauthorised)"
        in asking.logged_in().get("/health").text
    )


def test_nothing_is_said_where_there_is_none(console):
    assert "Worklist" not in console.logged_in().get("/health").text
    assert "readside_workitems{" not in console.visitor(FROM_HERE).get("/metrics").text


def test_a_study_says_which_workitem_asked_for_it_and_how_it_ended(filled):
    item = wanted(filled)
    lines = why(filled.ledger, NORMAL)
    assert lines is not None
    assert (
        "A workitem of the worklist asked for this study to be analysed: it is in progress." in lines.lines()
    )
    with filled.ledger.write() as tx:
        at = filled.clock.now()
        workitems.settle(tx, item, WorkitemState.CANCELING, reason=Why.NOT_WANTED, came=[], at=at)
        workitems.end(tx, found(tx, item.workitem_uid), WorkitemState.CANCELED, word=None, at=at)
    lines = why(filled.ledger, NORMAL)
    assert lines is not None
    said = [line for line in lines.lines() if "workitem" in line]
    assert said == [
        "A workitem of the worklist asked for this study to be analysed: it is canceled"
        " (No series of the study is what the requested analysis takes)."
    ]
    page = filled.logged_in().get(f"/studies/{NORMAL}").text
    assert "A workitem of the worklist asks for this study, from pacs." in page


@pytest.mark.parametrize("state", WorkitemState)
def test_every_state_has_its_sentence(state):
    item = Item(
        id=1,
        workitem_uid="1.9",
        transaction_uid="2.25.1",
        route="bands",
        state=state,
        reason=None,
        came=[],
        told=None,
        word="worklist.busy",
        failures=1,
        wanted_at=0.0,
        claimed_at=None,
        due_at=0.0,
        ended_at=None,
    )
    said = sentence(item)
    assert "from route bands" in said
    assert said.endswith("; last answer: worklist.busy.")
