"""What goes in the place of an object that a peer took no context for, in one transaction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.core.outputs import SOP_CLASSES
from appliance.core.words import DeliveryState
from appliance.ledger import acceptances, counts, custody, deliveries, events, fallback, results, studies
from appliance.ledger.results import StandIn
from tests.appliance.ledger import given

MADE = ("sr", "seg", "gsps", "sc")
EXPLICIT = "1.2.840.10008.1.2.1"


def objects(job_id, outputs):
    return [
        replace(
            given.result_object(job_id, "sr"),
            output=output,
            sop_class_uid=SOP_CLASSES[output],
            sop_instance_uid=f"2.25.{job_id}.{number}",
        )
        for number, output in enumerate(outputs)
    ]


def made(ledger, *, send_to, outputs=MADE, **other):
    """A result with these objects, some of them for pacs."""
    (job_id,) = given.a_job(ledger)
    with ledger.write() as tx:
        job = given.leased(tx, job_id)
        ending = replace(given.ending(job_id), objects=objects(job_id, outputs), send_to=send_to, **other)
        assert results.end(tx, job, ending, at=given.NOW)
    return job


def sent(ledger):
    with ledger.read() as tx:
        assert counts.count(tx).balance == 0
        return {d.output: d for d in deliveries.of_study(tx, given.STUDY)}


def refuse(ledger, output, *, at=given.NOW):
    """The courier took what is due, and the peer took no context for one of it."""
    (parcel,) = [p for p in given.parcels(ledger, at=at) if p.item.output == output]
    with ledger.write() as tx:
        return fallback.no_context(tx, parcel, at=at)


def last_event(ledger):
    with ledger.read() as tx:
        return events.of_study(tx, given.STUDY)[-1]


def test_the_reserve_gets_a_delivery_and_the_refused_one_ends(ledger):
    made(ledger, send_to={"pacs": ["seg"]})
    assert refuse(ledger, "seg")
    rows = sent(ledger)
    assert set(rows) == {"seg", "gsps"}
    assert (rows["seg"].state, rows["seg"].settled_by, rows["seg"].word) == (
        DeliveryState.SETTLED,
        "fallback",
        "courier.stands_in",
    )
    assert (rows["gsps"].state, rows["gsps"].instead_of) == (DeliveryState.PENDING, "seg")
    event = last_event(ledger)
    assert (event.word, event.detail["output"], event.detail["wanted"]) == (
        "courier.stands_in",
        "gsps",
        "seg",
    )
    with ledger.read() as tx:
        assert acceptances.answer_of(tx, "pacs").takes_output("seg") is False


def test_the_next_of_the_chain_follows_and_remembers_what_was_asked_for(ledger):
    made(ledger, send_to={"pacs": ["seg"]})
    assert refuse(ledger, "seg")
    assert refuse(ledger, "gsps")
    rows = sent(ledger)
    assert (rows["sc"].state, rows["sc"].instead_of) == (DeliveryState.PENDING, "seg")
    assert not refuse(ledger, "sc"), "nothing stands in for a picture"
    assert sent(ledger)["sc"].state is DeliveryState.SENDING, "as it was: the courier tries again"


def test_what_is_known_to_be_refused_is_passed_over(ledger):
    made(ledger, send_to={"pacs": ["seg"]})
    with ledger.write() as tx:
        acceptances.refused(tx, "pacs", (SOP_CLASSES["gsps"], EXPLICIT), at=given.NOW)
    assert refuse(ledger, "seg")
    assert set(sent(ledger)) == {"seg", "sc"}


def test_what_goes_anyway_stands_in_and_goes_once(ledger):
    made(ledger, outputs=("seg", "sc"), send_to={"pacs": ["seg", "sc"]})
    assert refuse(ledger, "seg")
    rows = sent(ledger)
    assert len(rows) == 2
    assert rows["sc"].instead_of == "seg"


def test_what_ended_badly_stands_in_for_nothing(ledger):
    made(ledger, outputs=("sc", "seg"), send_to={"pacs": ["seg", "sc"]})
    picture, mask = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.dead(tx, picture, status=0xC000, word="courier.refused", at=given.NOW)
        assert not fallback.no_context(tx, mask, at=given.NOW)


def test_without_a_reserve_everything_stays_as_it_was(ledger):
    made(ledger, outputs=("sr", "seg"), send_to={"pacs": ["seg"]})
    before = sent(ledger)["seg"]
    assert not refuse(ledger, "seg")
    after = sent(ledger)["seg"]
    assert (after.state, after.settled_by) == (DeliveryState.SENDING, before.settled_by)
    with ledger.read() as tx:
        assert acceptances.answer_of(tx, "pacs").takes_output("seg") is False, "the next result knows better"


def test_a_stale_courier_changes_nothing(ledger):
    made(ledger, send_to={"pacs": ["seg"]})
    (stale,) = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.release_dead(tx, at=given.NOW, everything=True)
    given.parcels(ledger)
    with ledger.write() as tx:
        fallback.no_context(tx, stale, at=given.NOW)
    assert {output: row.state for output, row in sent(ledger).items()} == {"seg": DeliveryState.SENDING}


def test_a_study_is_not_closed_before_its_stand_in_arrived(ledger):
    made(ledger, send_to={"pacs": ["seg"]})
    assert refuse(ledger, "seg")
    with ledger.write() as tx:
        assert custody.close_finished(tx) == 0
    (parcel,) = given.parcels(ledger)
    with ledger.write() as tx:
        deliveries.accepted(tx, parcel, status=0, word="courier.accepted", at=given.NOW)
        assert custody.close_finished(tx) == 1
        study = studies.find(tx, given.STUDY)
    assert study is not None
    assert study.state == "CLOSED"


def test_a_known_stand_in_says_so_in_its_row_and_on_the_timeline(ledger):
    stand_in = StandIn(peer="pacs", output="gsps", wanted="seg")
    made(ledger, outputs=("sr", "gsps"), send_to={"pacs": ["sr", "gsps"]}, stand_ins=[stand_in])
    rows = sent(ledger)
    assert (rows["sr"].instead_of, rows["gsps"].instead_of) == (None, "seg")
    event = last_event(ledger)
    assert (event.word, event.detail) == (
        "courier.stands_in",
        {"peer": "pacs", "output": "gsps", "wanted": "seg"},
    )


def test_what_nothing_stands_in_for_waits_for_a_person(ledger):
    made(ledger, outputs=("sr", "seg"), send_to={"pacs": ["sr"]}, untaken={"pacs": ["seg", "iocm"]})
    rows = sent(ledger)
    assert set(rows) == {"sr", "seg"}, "no rejection note was made, so none is missed"
    assert (rows["seg"].state, rows["seg"].word) == (DeliveryState.DEAD, "courier.no_stand_in")
    assert (last_event(ledger).word, last_event(ledger).detail["wanted"]) == ("courier.no_stand_in", "seg")
    with ledger.write() as tx:
        assert deliveries.settle(tx, [rows["seg"].id], by="jo", send_again=True, at=given.NOW) == 1
    assert [p.item.output for p in given.parcels(ledger)] == ["sr", "seg"]


def test_reserves_are_no_part_of_what_a_later_result_replaces(ledger):
    job = made(ledger, send_to={"pacs": ["sr", "seg"]})
    with ledger.read() as tx:
        found = results.find_of_job(tx, job.id)
        assert found is not None
        assert [item.output for item in results.addressed_objects_of(tx, found.id)] == ["sr", "seg"]


@pytest.mark.parametrize("send_to", [{}, {"pacs": []}])
def test_all_objects_of_a_result_for_nobody_are_its_own(ledger, send_to):
    job = made(ledger, send_to=send_to)
    with ledger.read() as tx:
        found = results.find_of_job(tx, job.id)
        assert found is not None
        assert [item.output for item in results.addressed_objects_of(tx, found.id)] == list(MADE)
