"""Drift in the ledger: the first answers are what later ones are held against, maker by maker."""

import random

import pytest

from appliance.core.vendors import Vendor
from appliance.health import drifting
from appliance.health.codes import Kind
from appliance.health.drift import DriftLimits
from appliance.health.schema import fit
from appliance.ledger import figures
from appliance.ledger.tables import figures as rows
from appliance.ledger.tables import jobs, results
from tests.appliance.ledger import given

LIMITS = DriftLimits(studies_min=200)


@pytest.fixture
def fill(ledger):
    job = given.ended(ledger)
    number = iter(range(10_000))

    def _fill(many, *, mean, vendor=Vendor.SIEMENS, seed=1):
        rng = random.Random(seed)
        with ledger.write() as tx:
            for _ in range(many):
                place = next(number) + 1
                if place > 1:
                    tx.execute(given_result(tx, job.id + place))
                values = {"score": min(max(rng.gauss(mean, 0.15), 0.0), 0.99), "rows": 512.0}
                tx.execute(
                    rows.insert().values(
                        result_id=place, at=given.NOW + place, model_digest="d", vendor=vendor, numbers=values
                    )
                )

    return _fill


def given_result(tx, job_id):
    """Another job and its result, like the first."""
    job = dict(tx.execute(jobs.select().limit(1)).one()._mapping)
    tx.execute(jobs.insert().values(**{**job, "id": job_id, "run": job_id}))
    result = dict(tx.execute(results.select().limit(1)).one()._mapping)
    return results.insert().values(**{**result, "id": job_id - 1, "job_id": job_id})


def judged(ledger):
    with ledger.read() as tx:
        return {one.vendor: one for one in drifting.strata(tx, given.NOW, limits=LIMITS)}


def test_too_few_answers_are_not_enough_data(ledger, fill):
    fill(399, mean=0.4)
    stratum = judged(ledger)[Vendor.SIEMENS]
    assert stratum.verdicts["score"].newest is None
    assert not stratum.drifts


def test_a_score_that_moved_in_three_windows_drifts_and_the_other_maker_does_not(ledger, fill):
    fill(200, mean=0.4)
    fill(600, mean=0.6, seed=2)
    fill(800, mean=0.4, vendor=Vendor.GE, seed=3)
    found = judged(ledger)
    assert found[Vendor.SIEMENS].drifts
    assert found[Vendor.SIEMENS].verdicts["score"].windows == 3
    assert not found[Vendor.SIEMENS].verdicts["rows"].drifts
    assert not found[Vendor.GE].drifts


def test_what_leaves_of_a_day_is_in_the_list_and_hides_small_cells(ledger, fill):
    fill(420, mean=0.4)
    stratum = judged(ledger)[Vendor.SIEMENS]
    with ledger.read() as tx:
        found = figures.between(tx, "d", Vendor.SIEMENS, given.NOW, given.NOW + 86_400)
    values = {"release": 1, **drifting.day_values(stratum, 19_000, found)}
    assert fit(Kind.INPUT, values) == (values, 0)
    assert values["enough"]
    assert values["studies"] == 420
    assert not {1, 2, 3, 4} & set(values["score"])
    assert set(values["kvp"]) == {0}
