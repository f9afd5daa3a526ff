"""What a PACS accepted and has not committed: on the health page, as a gauge, and in the timeline's words."""

from __future__ import annotations

import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from appliance.console.wording import refusal, tell
from appliance.core.limits import DEFAULT
from appliance.core.words import DeliveryState
from appliance.ledger import commitments, events
from appliance.ledger.tables import deliveries
from tests.appliance.console.filling import FROM_HERE


def gauge(console):
    text = console.visitor(FROM_HERE).get("/metrics").text
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "readside_uncommitted_objects"
    ]


def test_what_is_not_committed_is_seen_until_it_is(filled):
    assert gauge(filled) == []
    at = filled.clock.now()
    with filled.ledger.write() as tx:
        accepted = deliveries.c.state == DeliveryState.ACCEPTED
        rows = tx.execute(sa.select(deliveries).where(accepted)).all()
        for row in rows:
            commitments.want(tx, row.id, "pacs", due_at=at)
    filled.clock.advance(60)
    page = filled.logged_in().get("/health").text
    assert f"pacs has yet to commit {len(rows)} object" in page
    assert gauge(filled) == [len(rows)]
    with filled.ledger.write() as tx:
        wanted = commitments.due(tx, "pacs", at=at, limit=9)
        commitments.ask(tx, "pacs", "2.25.1", wanted, at=at, until=at)
        failed = {one.sop_instance_uid: 0x0112 for one in wanted}
        commitments.reported(tx, "pacs", "2.25.1", committed=(), failed=failed, at=at, limits=DEFAULT)
        (event,) = events.latest(tx, 1, word="confirm.missing")
    assert gauge(filled) in ([], [len(rows) - len(wanted)])
    said, _ = tell(event, peer="pacs")
    assert said.startswith("pacs does not have the ")
    assert said.endswith("that it accepted (status 0112H); it is sent again.")


def test_why_a_delivery_died_that_had_been_accepted():
    for word in ("confirm.lost", "confirm.silent", "confirm.refused"):
        assert refusal(0x0112, word).startswith("accepted there, and ")
