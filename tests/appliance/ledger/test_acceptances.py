"""What peers said they take: the newest word of each pair, and nothing where nothing was said."""

from __future__ import annotations

import threading

from appliance.core.outputs import SOP_CLASSES
from appliance.ledger import acceptances
from tests.appliance.ledger import given

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
SEG, SC = SOP_CLASSES["seg"], SOP_CLASSES["sc"]
BOTH = [(SEG, EXPLICIT), (SC, EXPLICIT)]
THREAD_SECONDS_MAX = 30


def recorded(ledger, accepted, *, at=given.NOW, proposed=BOTH):
    with ledger.write() as tx:
        acceptances.record(tx, "pacs", proposed, accepted=accepted, at=at)


def answer(ledger, peer="pacs"):
    with ledger.read() as tx:
        return acceptances.answer_of(tx, peer)


def test_a_peer_that_was_never_asked_is_unknown_and_refuses_nothing(ledger):
    said = answer(ledger)
    assert said == acceptances.UNASKED
    assert said.takes_output("seg") is None


def test_an_answer_says_what_is_taken_and_what_is_refused(ledger):
    recorded(ledger, [(SC, EXPLICIT)])
    said = answer(ledger)
    assert (said.takes_output("seg"), said.takes_output("sc"), said.takes_output("sr")) == (False, True, None)
    assert said.takes_output("seg-fractional") is False, "the same SOP class"
    assert said.asked_at == given.NOW
    assert answer(ledger, "other") == acceptances.UNASKED


def test_a_new_answer_takes_the_place_of_the_old_one(ledger):
    recorded(ledger, BOTH)
    recorded(ledger, [(SC, EXPLICIT)], at=given.NOW + 60)
    with ledger.read() as tx:
        rows = acceptances.of_peer(tx, "pacs")
    assert [(row.sop_class_uid, row.accepted, row.asked_at) for row in rows] == sorted(
        [(SEG, False, given.NOW + 60), (SC, True, given.NOW + 60)]
    )


def test_what_was_not_asked_again_stays_and_dates_the_whole(ledger):
    recorded(ledger, BOTH)
    recorded(ledger, [], proposed=BOTH[:1], at=given.NOW + 60)
    said = answer(ledger)
    assert (said.takes_output("seg"), said.takes_output("sc"), said.asked_at) == (False, True, given.NOW)


def test_one_transfer_syntax_is_enough(ledger):
    recorded(ledger, [(SEG, IMPLICIT)], proposed=[(SEG, EXPLICIT), (SEG, IMPLICIT)])
    assert answer(ledger).takes_output("seg") is True


def test_a_refusal_on_the_way_is_remembered(ledger):
    recorded(ledger, BOTH)
    with ledger.write() as tx:
        acceptances.refused(tx, "pacs", (SEG, EXPLICIT), at=given.NOW + 5)
    assert answer(ledger).takes_output("seg") is False
    with ledger.write() as tx:
        acceptances.refused(tx, "new", (SC, EXPLICIT), at=given.NOW + 5)
    assert answer(ledger, "new").takes == {SC: False}


def test_two_that_record_at_once_both_end(ledger):
    both = threading.Barrier(2)

    def record(accepted):
        both.wait(THREAD_SECONDS_MAX)
        recorded(ledger, accepted)

    threads = [threading.Thread(target=record, args=(accepted,)) for accepted in (BOTH, [])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(THREAD_SECONDS_MAX)
    takes = answer(ledger).takes
    assert takes in ({SEG: True, SC: True}, {SEG: False, SC: False})
