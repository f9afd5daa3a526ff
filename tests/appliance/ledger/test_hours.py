"""Hours: every row counted in its hour, once, on both databases."""

from __future__ import annotations

import sqlalchemy as sa

from appliance.core.words import JobState, Outcome
from appliance.ledger import figures, hours
from appliance.ledger.figures import Figures
from appliance.ledger.tables import results, series
from tests.appliance.ledger import given

HOUR = int(given.NOW // 3600)
BEGIN = HOUR * 3600.0


def arrive(ledger, uid, *, at, modality="CT"):
    with ledger.write() as tx:
        given.kept(tx, 1, at=at, study=uid, series=f"{uid}.1")
        facts = None if modality is None else {"Modality": modality}
        tx.execute(sa.update(series).where(series.c.study_uid == uid).values(facts=facts))


def test_series_are_counted_by_modality_in_the_hour_they_began(ledger):
    arrive(ledger, "1.1", at=BEGIN)
    arrive(ledger, "1.2", at=BEGIN + 3599.9)
    arrive(ledger, "1.3", at=BEGIN + 3600, modality="MR")
    arrive(ledger, "1.4", at=BEGIN + 3601, modality="DOE^JANE")
    arrive(ledger, "1.5", at=BEGIN + 3602, modality=None)
    for _ in range(2):
        with ledger.write() as tx:
            hours.count_arrivals(tx, HOUR, HOUR + 2)
    with ledger.read() as tx:
        assert hours.arrivals_since(tx, HOUR) == {
            "CT": {HOUR: 2},
            "MR": {HOUR + 1: 1},
            "OTHER": {HOUR + 1: 2},
            "": {HOUR: 2, HOUR + 1: 3, HOUR + 2: 0},
        }
        assert hours.counted_until(tx) == HOUR + 2
        assert dict(hours.arrived(tx, BEGIN + 3600, BEGIN + 7200))[BEGIN + 3602] is None
    with ledger.write() as tx:
        hours.forget_arrivals(tx, before=HOUR + 1)
    with ledger.read() as tx:
        assert hours.arrivals_since(tx, 0).keys() == {"MR", "OTHER", ""}


def test_an_empty_ledger_was_never_counted(ledger):
    with ledger.read() as tx:
        assert hours.counted_until(tx) is None
        assert hours.arrivals_since(tx, 0) == {}
        assert hours.ended(tx, 0, 2**40) == []


def test_a_job_that_ended_says_how_and_how_long_it_took(ledger):
    given.ended(ledger, at=BEGIN)
    with ledger.write() as tx:
        tx.execute(sa.update(results).values(created_at=BEGIN + 90))
    with ledger.read() as tx:
        (one,) = hours.ended(tx, BEGIN, BEGIN + 3600)
        assert hours.ended(tx, BEGIN, BEGIN + 90) == []
    assert (one.state, one.outcome, one.turnaround_seconds) == (JobState.DONE, Outcome.MEASURED, 90.0)


def test_work_of_an_hour_takes_the_place_of_what_was_there(ledger):
    for numbers in ({"a": {"done": 1}, "b": {"done": 2}}, {"a": {"done": 3}}):
        with ledger.write() as tx:
            hours.put_work(tx, HOUR, numbers)
    with ledger.read() as tx:
        assert hours.work_since(tx, "a", HOUR) == [{"done": 3}]
        assert hours.work_since(tx, "b", 0) == []
        assert hours.work_since(tx, "a", HOUR + 1) == []


def test_figures_are_kept_by_result_and_forgotten_by_age(ledger):
    job = given.ended(ledger, at=BEGIN)
    with ledger.write() as tx:
        figures.add(tx, job.id + 1, "d", Figures(vendor=1, numbers={"rows": 512.0}), at=BEGIN)
        for _ in range(2):
            figures.add(tx, job.id, "d", Figures(vendor=1, numbers={"rows": 512.0}), at=BEGIN)
    with ledger.read() as tx:
        assert figures.strata(tx, BEGIN) == [("d", 1)]
        assert figures.strata(tx, BEGIN + 1) == []
        for found in (
            figures.oldest(tx, "d", 1, 9),
            figures.newest(tx, "d", 1, 9),
            figures.between(tx, "d", 1, BEGIN, BEGIN + 1),
        ):
            assert [(one.vendor, one.numbers) for one in found] == [(1, {"rows": 512.0})]
        assert figures.newest(tx, "d", 2, 9) == []
    with ledger.write() as tx:
        figures.forget(tx, before=BEGIN + 1)
    with ledger.read() as tx:
        assert figures.newest(tx, "d", 1, 9) == []
