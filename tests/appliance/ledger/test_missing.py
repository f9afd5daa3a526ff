"""What was never kept here: told from what was, on both databases."""

from __future__ import annotations

from appliance.ledger import missing
from appliance.ledger.missing import MissedState, Standing
from tests.appliance.ledger import given


def row_of(ledger, peer="pacs"):
    with ledger.read() as tx:
        (row,) = missing.of_peer(tx, peer)
    return row


def noted(ledger, peer="pacs", *, absent=2, at=given.NOW):
    with ledger.write() as tx:
        missing.note(tx, peer, given.STUDY, absent=absent, at=at, due_at=at + 60)
    return row_of(ledger, peer)


def test_only_what_was_never_kept_nor_made_here_is_absent(ledger):
    given.ended(ledger)
    here = [f"{given.SERIES}.{number}" for number in (1, 2, 3)]
    with ledger.read() as tx:
        own = given.result_object(1, "sr").sop_instance_uid
        assert missing.absent(tx, [*here, own, "9.8", "9.9", "9.9"]) == {"9.8", "9.9"}
        assert missing.absent(tx, []) == set()
        many = [f"9.{number}" for number in range(2_500)]
        assert missing.absent(tx, [*many, *here]) == set(many)


def test_an_open_row_stays_as_it_is_and_one_that_ended_begins_anew(ledger):
    first = noted(ledger)
    assert noted(ledger, absent=9, at=given.NOW + 5) == first
    with ledger.write() as tx:
        missing.end(tx, first, MissedState.ARRIVED, at=given.NOW + 6)
    again = noted(ledger, absent=9, at=given.NOW + 7)
    assert (again.state, again.absent, again.ended_at) == (MissedState.WAITING, 9, None)


def test_a_study_that_two_archives_have_is_one_study(ledger):
    for peer in ("pacs", "archive"):
        row = noted(ledger, peer)
        with ledger.write() as tx:
            missing.is_missed(tx, row, absent=2, at=given.NOW)
    with ledger.write() as tx:
        missing.looked(tx, "pacs", studies=4, at=given.NOW)
        missing.looked(tx, "pacs", studies=5, at=given.NOW + 1)
    with ledger.read() as tx:
        both = missing.standing(tx, ["pacs", "archive"])
        assert both == Standing(studies=1, waiting=0, looked_at={"pacs": given.NOW + 1, "archive": None})
        assert missing.standing(tx, []) == Standing(studies=0, waiting=0, looked_at={})


def test_what_is_due_comes_in_the_order_of_its_time(ledger):
    row = noted(ledger)
    with ledger.read() as tx:
        assert missing.due(tx, "pacs", at=row.due_at - 1) == []
        assert missing.due(tx, "pacs", at=row.due_at) == [row]
        assert missing.due(tx, "archive", at=row.due_at) == []
