"""After the wall clock was set every wait begins anew, on both databases."""

from __future__ import annotations

from appliance.core.words import DeliveryState, JobState
from appliance.ledger import anew, deliveries, jobs, studies, workitems
from tests.appliance.ledger import given

DAY = 86_400.0
BEFORE = given.NOW - DAY


def test_what_gathers_is_leased_or_waits_begins_anew(ledger):
    (leased,) = given.a_job(ledger)
    with ledger.write() as tx:
        given.leased(tx, leased)
        given.kept(tx, 9, study="1.2.4", series="1.2.4.1")
    with ledger.write() as tx:
        anew.begin_anew(tx, at=BEFORE, step_seconds=-DAY, limits=given.LIMITS)
    with ledger.read() as tx:
        gathering, decided = given.study(tx, "1.2.4"), given.study(tx)
        assert (gathering.last_at, gathering.gathering_since) == (BEFORE, BEFORE)
        assert [one.last_at for one in studies.series_of(tx, "1.2.4")] == [BEFORE]
        assert decided.last_at == given.NOW, "what came stays when it came"
        job = jobs.find(tx, leased)
        assert job is not None
        assert (job.state, job.lease_until) == (JobState.LEASED, BEFORE + given.LIMITS.lease_seconds)
        assert anew.steps_since(tx, BEFORE - 1) == [(BEFORE, -DAY)]
        assert anew.steps_since(tx, BEFORE + 1) == []


def test_workitems_are_looked_after_at_once(ledger):
    with ledger.write() as tx:
        workitems.want(tx, "1.9", transaction_uid="2.25.1", route="", at=given.NOW)
        anew.begin_anew(tx, at=BEFORE, step_seconds=-DAY, limits=given.LIMITS)
    with ledger.read() as tx:
        (found,) = workitems.unended(tx)
    assert (found.due_at, found.wanted_at) == (BEFORE, given.NOW)


def test_only_what_the_destination_did_is_a_failure(ledger):
    given.ended(ledger)
    for turn in range(3):
        (parcel,) = given.parcels(ledger, "archive", at=given.NOW + turn)
        with ledger.write() as tx:
            deliveries.release_dead(tx, at=given.NOW + turn, everything=True)
            assert deliveries.failures(tx, parcel) == 0
    (parcel,) = given.parcels(ledger, "archive", at=given.NOW + 10)
    with ledger.write() as tx:
        deliveries.later(
            tx, parcel, status=None, word="courier.later", at=given.NOW, due_at=given.NOW + 60, refused=False
        )
        assert deliveries.failures(tx, parcel) == 1
        anew.begin_anew(tx, at=BEFORE, step_seconds=-DAY, limits=given.LIMITS)
    with ledger.read() as tx:
        (found,) = deliveries.in_state(tx, DeliveryState.LATER, limit=5)
        assert found.due_at == BEFORE
