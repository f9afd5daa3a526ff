"""What was given up at a peer and is there all the same, on both databases."""

from __future__ import annotations

import pytest

from appliance.core.words import DeliveryState
from appliance.ledger import counts, deliveries, events, given_up
from appliance.ledger.commitments import BY_NEWER
from appliance.ledger.engine import Ledger
from tests.appliance.ledger import given
from tests.appliance.ledger.given import NOW, STUDY


@pytest.fixture
def refused(ledger: Ledger) -> dict[str, str]:
    """Both objects for `pacs` were refused for good, and a person ended one; output -> SOP Instance UID."""
    given.ended(ledger)
    uids = {}
    for parcel in given.parcels(ledger):
        uids[parcel.item.output] = parcel.item.sop_instance_uid
        with ledger.write() as tx:
            deliveries.dead(tx, parcel, status=0xA900, word="courier.refused", at=NOW)
            if parcel.item.output == "sc":
                assert deliveries.settle(tx, [parcel.id], by="jo", send_again=False, at=NOW) == 1
    return uids


def states(ledger: Ledger, peer: str = "pacs") -> dict[str, str]:
    with ledger.read() as tx:
        return {one.output: one.state for one in deliveries.of_study(tx, STUDY) if one.peer == peer}


def test_what_is_found_there_is_accepted_whoever_gave_it_up(ledger: Ledger, refused: dict[str, str]) -> None:
    with ledger.read() as tx:
        assert given_up.studies_of(tx, "pacs", since=NOW, limit=9) == [STUDY]
        assert given_up.of_study(tx, "pacs", STUDY) == set(refused.values())
    with ledger.write() as tx:
        assert given_up.found_there(tx, "pacs", STUDY, {refused["sc"], "9.9"}, at=NOW + 9) == 1
    assert states(ledger) == {"sr": DeliveryState.DEAD, "sc": DeliveryState.ACCEPTED}
    with ledger.write() as tx:
        assert given_up.found_there(tx, "pacs", STUDY, set(refused.values()), at=NOW + 9) == 1
        assert given_up.found_there(tx, "pacs", STUDY, set(refused.values()), at=NOW + 9) == 0
        assert given_up.studies_of(tx, "pacs", since=NOW, limit=9) == []
        assert [one.word for one in events.of_study(tx, STUDY)].count("courier.found_there") == 2
        assert counts.count(tx).balance == 0
        (sr,) = [one for one in deliveries.of_study(tx, STUDY) if (one.peer, one.output) == ("pacs", "sr")]
    assert (sr.status, sr.word, sr.settled_at) == (None, "courier.found_there", NOW + 9)


def test_another_peers_word_says_nothing(ledger: Ledger, refused: dict[str, str]) -> None:
    with ledger.write() as tx:
        assert given_up.found_there(tx, "archive", STUDY, set(refused.values()), at=NOW) == 0
        assert given_up.found_there(tx, "pacs", "1.2.404", set(refused.values()), at=NOW) == 0
        assert given_up.studies_of(tx, "archive", since=NOW, limit=9) == []
        assert given_up.studies_of(tx, "pacs", since=NOW + 1, limit=9) == [], "made before"
    assert states(ledger, "archive") == {"sr": DeliveryState.PENDING}


def test_what_something_newer_replaced_stays_as_it_ended(ledger: Ledger) -> None:
    given.ended(ledger)
    taken = given.parcels(ledger)
    with ledger.write() as tx:
        for parcel in taken:
            deliveries.dead(tx, parcel, status=None, word="courier.refused", at=NOW)
        deliveries.settle(tx, [parcel.id for parcel in taken], by=BY_NEWER, send_again=False, at=NOW)
        assert given_up.of_study(tx, "pacs", STUDY) == set()
