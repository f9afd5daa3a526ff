"""Missed studies: a number on the health page and a gauge, and nothing where nobody is asked."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.core.config import parse
from appliance.ledger import missing
from tests.appliance.console.filling import FROM_HERE

UID = "1.2.826.77"


@pytest.fixture
def asking(make_console, config):
    tree = config.model_dump(mode="json") | {"reconcile": {"peers": ["pacs"]}}
    tree["peers"][0]["may"] = ["store", "query"]
    return make_console(config=parse(tree))


def gauge(console, name):
    text = console.visitor(FROM_HERE).get("/metrics").text
    families = text_string_to_metric_families(text)
    return [sample.value for family in families for sample in family.samples if sample.name == name]


def test_a_missed_study_is_a_number_until_it_is_here(asking):
    assert "pacs has not said yet what it has" in asking.logged_in().get("/health").text
    with asking.ledger.write() as tx:
        at = asking.clock.now()
        missing.looked(tx, "pacs", studies=2, at=at)
        missing.note(tx, "pacs", UID, absent=3, at=at, due_at=at)
        (row,) = missing.of_peer(tx, "pacs")
        missing.is_missed(tx, row, absent=3, at=at)
    asking.clock.advance(60)
    page = asking.logged_in().get("/health").text
    assert "Missed studies: 1." in page
    assert "pacs has 3 images of this study that never arrived here." in page
    assert gauge(asking, "readside_missed_studies") == [1]
    assert gauge(asking, "readside_reconcile_age_seconds") == [60]
    with asking.ledger.write() as tx:
        missing.end(tx, row, missing.MissedState.FETCHED, at=asking.clock.now())
    asking.clock.advance(60)
    assert "Missed studies: 0." in asking.logged_in().get("/health").text
    assert gauge(asking, "readside_missed_studies") == [0]


def test_nothing_is_said_where_nobody_is_asked(console):
    assert "Missed studies" not in console.logged_in().get("/health").text
    assert gauge(console, "readside_missed_studies") == [0]
    assert gauge(console, "readside_reconcile_age_seconds") == []
