"""Conservation: the balance is 0 after every step of a study's way, and not once a row is missing."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from appliance.core.words import JobState
from appliance.ledger import arrivals, counts, custody, decisions, deliveries, jobs, results
from appliance.ledger.tables import decisions as decision_rows
from appliance.ledger.tables import deliveries as delivery_rows
from appliance.ledger.tables import instances, job_inputs, objects, rounds, studies
from appliance.ledger.tables import results as result_rows
from tests.appliance.ledger import given


def counted(ledger):
    with ledger.read() as tx:
        return counts.count(tx)


def balanced(ledger):
    found = counted(ledger)
    assert found.balance == 0, found.faults
    return found


def test_an_empty_ledger_is_balanced(ledger):
    assert balanced(ledger).kept == 0


def test_the_balance_is_0_after_every_step(ledger):
    def step(act):
        with ledger.write() as tx:
            made = act(tx)
        balanced(ledger)
        return made

    step(lambda tx: given.kept(tx, 1, 2))
    again = given.instance(2, file="in/again")
    step(lambda tx: arrivals.add(tx, again, calling_ae="CT1", at=given.NOW))
    study = step(given.ready)
    taken = [given.decision("sha256:c"), given.no_match("lesion")]
    (job_id,) = step(lambda tx: decisions.record(tx, study, taken, at=given.NOW))
    job = step(lambda tx: given.leased(tx, job_id))
    step(lambda tx: jobs.postpone(tx, job, word="w", reason="r", at=given.NOW, not_before=given.NOW))
    job = step(lambda tx: given.leased(tx, job_id))
    step(lambda tx: results.end(tx, job, given.ending(job_id), at=given.NOW))
    (first, second) = step(lambda tx: deliveries.take(tx, "pacs", at=given.NOW, limits=given.LIMITS))
    step(lambda tx: deliveries.accepted(tx, first, status=0, word="courier.accepted", at=given.NOW))
    step(lambda tx: deliveries.dead(tx, second, status=0x0122, word="courier.refused", at=given.NOW))
    step(lambda tx: deliveries.settle(tx, [second.id], by="jo", send_again=False, at=given.NOW))
    step(lambda tx: arrivals.add(tx, given.instance(1, content="b"), calling_ae="CT1", at=given.NOW + 1))
    step(lambda tx: custody.quarantine(tx, [given.instance(2).location.file], reason="gone", at=given.NOW))
    step(lambda tx: given.decided(tx, at=given.NOW + 2))
    found = balanced(ledger)
    assert (found.kept, found.duplicates, found.in_studies, found.quarantined) == (3, 1, 2, 1)
    assert (found.decisions, found.results, found.objects) == (3, 1, 2)
    assert found.jobs == {"DONE": 1, "WAITING": 1}
    assert found.deliveries == {"ACCEPTED": 1, "SETTLED": 1, "PENDING": 1}
    assert found.studies == {"DECIDED": 1}


def test_a_held_job_is_balanced_before_and_after_its_notice(ledger):
    (job_id,) = given.a_job(ledger)
    for number in range(3):
        with ledger.write() as tx:
            given.leased(tx, job_id, at=given.NOW + number)
            jobs.release_dead(tx, at=given.NOW, limits=given.LIMITS, owner_name="worker")
        balanced(ledger)
    with ledger.write() as tx:
        job = jobs.claim_notice(tx, job_id, owner="worker:1", at=given.NOW, limits=given.LIMITS)
        assert job is not None
        assert results.end(tx, job, given.ending(job_id, state=JobState.HELD), at=given.NOW)
    assert balanced(ledger).jobs == {"HELD": 1}


REMOVED = {
    "an instance": (lambda tx: (tx.execute(sa.delete(job_inputs)), _one(tx, instances)), "instances_gone"),
    "a study": (lambda tx: _one(tx, studies), "instances_without_study"),
    "a decision": (lambda tx: _one(tx, decision_rows), "routes_without_decision"),
    "a round": (lambda tx: _one(tx, rounds), "routes_without_decision"),
    "a result": (
        lambda tx: (
            tx.execute(sa.delete(delivery_rows)),
            tx.execute(sa.delete(objects)),
            _one(tx, result_rows),
        ),
        "ended_without_result",
    ),
}


def _one(tx, table):
    column = next(iter(table.primary_key.columns))
    newest = tx.execute(sa.select(sa.func.max(column))).scalar_one()
    assert tx.execute(sa.delete(table).where(column == newest)).rowcount == 1


@pytest.mark.parametrize("what", REMOVED)
def test_a_row_that_is_missing_is_seen(ledger, what):
    given.ended(ledger)
    balanced(ledger)
    remove, fault = REMOVED[what]
    with ledger.write() as tx:
        remove(tx)
    found = counted(ledger)
    assert found.balance > 0
    assert found.faults[fault] > 0


def test_a_missing_decision_is_not_made_up_for_by_another_study(ledger):
    given.ended(ledger)
    with ledger.write() as tx:
        given.kept(tx, 1, study="1.9", series="1.9.1")
        given.decided(tx, "1.9", routes=("bands", "lesion"))
        tx.execute(
            sa.update(decision_rows).where(decision_rows.c.route == "lesion").values(study_uid=given.STUDY)
        )
    assert counted(ledger).faults["routes_without_decision"] == 2


def test_an_instance_in_no_known_place_is_seen(ledger):
    given.ended(ledger)
    with ledger.write() as tx:
        tx.execute(sa.update(instances).values(state="lost"))
    assert counted(ledger).faults["instances_nowhere"] == 3


def test_a_job_that_ended_and_waits_is_seen(ledger):
    given.ended(ledger)
    with ledger.write() as tx:
        tx.execute(sa.text("UPDATE jobs SET state = 'WAITING'"))
    assert counted(ledger).faults["results_of_unended"] == 1
