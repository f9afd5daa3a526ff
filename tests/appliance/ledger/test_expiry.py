"""Objects of results go only when nothing needs them, and their rows stay."""

from __future__ import annotations

import pytest

from appliance.core.words import StudyState
from appliance.ledger import custody, deliveries, events, expiry, results
from appliance.ledger.engine import Ledger
from tests.appliance.ledger import given

LATER = given.NOW + 1_000


def settled(ledger: Ledger) -> int:
    """A finished job whose deliveries were accepted; return the job's id."""
    job = given.ended(ledger)
    with ledger.write() as tx:
        for peer in ("pacs", "archive"):
            for parcel in deliveries.take(tx, peer, at=given.NOW, limits=given.LIMITS):
                deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
        custody.close_finished(tx)
    return job.id


def old(ledger: Ledger, before: float = LATER) -> list[expiry.Expired]:
    with ledger.read() as tx:
        return expiry.expired(tx, before=before, limit=10)


def test_the_objects_of_a_finished_study_expire_with_their_pictures(ledger):
    job_id = settled(ledger)
    with ledger.read() as tx:
        assert given.study(tx).state is StudyState.CLOSED
    gone = old(ledger)
    assert {name for one in gone for name in one.files} == {
        f"out/{job_id}-sr",
        f"out/{job_id}-sc",
        f"out/{job_id}.png",
    }
    assert old(ledger, before=given.NOW) == []


def test_while_a_delivery_is_open_nothing_expires(ledger):
    given.ended(ledger)
    with ledger.write() as tx:
        custody.close_finished(tx)
    assert old(ledger) == []


def test_what_was_given_up_is_said_once_and_no_file_is_expected_any_more(ledger):
    settled(ledger)
    with ledger.write() as tx:
        gone = expiry.expired(tx, before=LATER, limit=10)
        expiry.expire(tx, gone, at=LATER)
    assert old(ledger) == []
    with ledger.read() as tx:
        assert results.known_files(tx) == set()
        (result,) = results.of_study(tx, given.STUDY)
        made = results.objects_of(tx, result.id)
        assert [(item.purged_at, item.preview_file) for item in made] == [(LATER, None)] * len(gone)
        said = [one for one in events.of_study(tx, given.STUDY) if one.word == "custody.results_purged"]
        assert [one.detail["objects"] for one in said] == [len(gone)]


@pytest.mark.parametrize("arrives", [False, True])
def test_a_study_that_grew_again_keeps_its_results(ledger, arrives):
    settled(ledger)
    if arrives:
        with ledger.write() as tx:
            given.kept(tx, 9, at=given.NOW + 10)
    assert bool(old(ledger)) is not arrives
