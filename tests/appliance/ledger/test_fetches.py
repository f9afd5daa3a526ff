"""What somebody asked the box to fetch: asked once, tried, ended once, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from appliance.core.words import InstanceState
from appliance.ledger import events, fetches
from appliance.ledger.fetches import FetchState
from appliance.ledger.tables import instances
from tests.appliance.ledger import given


def asked(ledger, peer="pacs", *, at=given.NOW):
    with ledger.write() as tx:
        return fetches.ask(tx, given.STUDY, peer, by="ann", at=at)


def row_of(ledger, peer="pacs"):
    with ledger.read() as tx:
        return [row for row in fetches.of_study(tx, given.STUDY) if row.peer == peer][-1]


def told(ledger):
    with ledger.read() as tx:
        return [event.word for event in events.of_study(tx, given.STUDY) if event.word.startswith("fetch.")]


def test_asking_again_while_it_is_open_is_the_same_request(ledger):
    assert asked(ledger)
    assert not asked(ledger, at=given.NOW + 1)
    assert asked(ledger, "archive")
    with ledger.read() as tx:
        assert [(row.peer, row.asked_at) for row in fetches.of_study(tx, given.STUDY)] == [
            ("pacs", given.NOW),
            ("archive", given.NOW),
        ]
    assert told(ledger) == ["fetch.asked", "fetch.asked"]


def test_a_request_is_due_until_it_ends_and_ends_once(ledger):
    asked(ledger)
    row = row_of(ledger)
    with ledger.write() as tx:
        fetches.tried(tx, row, word="move.partly", absent=3, due_at=given.NOW + 30)
    with ledger.read() as tx:
        assert fetches.due(tx, "pacs", at=given.NOW + 29) == []
        (due,) = fetches.due(tx, "pacs", at=given.NOW + 30)
        assert fetches.due(tx, "archive", at=given.NOW + 30) == []
    assert (due.tries, due.word, due.absent, due.state) == (1, "move.partly", 3, FetchState.ASKED)
    with ledger.write() as tx:
        fetches.end(tx, due, FetchState.FETCHED, word="fetch.whole", absent=0, at=given.NOW + 31)
        fetches.end(tx, due, FetchState.FAILED, word="fetch.incomplete", absent=1, at=given.NOW + 32)
        fetches.tried(tx, due, word="late", absent=1, due_at=0)
    ended = row_of(ledger)
    assert (ended.state, ended.word, ended.ended_at) == (FetchState.FETCHED, "fetch.whole", given.NOW + 31)
    assert told(ledger) == ["fetch.asked", "fetch.done"]
    with ledger.read() as tx:
        assert fetches.due(tx, "pacs", at=given.NOW + 99) == []
    assert asked(ledger, at=given.NOW + 40)


def test_what_is_open_is_listed_first(ledger):
    asked(ledger)
    first = row_of(ledger)
    asked(ledger, "archive")
    with ledger.write() as tx:
        fetches.end(tx, row_of(ledger, "archive"), FetchState.FAILED, word="x", absent=None, at=given.NOW)
    with ledger.read() as tx:
        assert [row.peer for row in fetches.latest(tx, 10)] == ["pacs", "archive"]
        assert fetches.latest(tx, 1) == [first]


@pytest.mark.parametrize("state", [InstanceState.PURGED, InstanceState.QUARANTINED])
def test_what_is_not_on_disk_any_more_is_not_held(ledger, state):
    given.ended(ledger)
    here = [f"{given.SERIES}.{number}" for number in (1, 2, 3)]
    own = given.result_object(1, "sr").sop_instance_uid
    with ledger.write() as tx:
        assert fetches.not_held(tx, [*here, own, "9.9"]) == {"9.9"}
        tx.execute(sa.update(instances).where(instances.c.sop_instance_uid == here[0]).values(state=state))
        assert fetches.not_held(tx, [*here, own, "9.9"]) == {"9.9", here[0]}
        assert fetches.not_held(tx, []) == set()
