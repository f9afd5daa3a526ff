"""Comparisons end once, are counted once, and touch nothing that reaches a reader."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from appliance.core.limits import Limits
from appliance.core.words import Outcome
from appliance.ledger import agreements, comparisons, counts, decisions, jobs, results, shadows
from appliance.ledger.comparisons import Standing, Word
from models.beside import Pair
from tests.appliance.ledger import given
from tests.appliance.ledger.machines import Walked

NOW, LIMITS = given.NOW, Limits(shadow_kills_max=2)
PAIR = Pair(outcomes=("finding", "no finding"))
NAME = "ct-tissue-bands"


def begin(tx: Any, *, version: str = "2.0.0") -> shadows.Shadow:
    return shadows.begin(tx, NAME, version, f"sha256:{version}", by="jo", at=NOW)


def test_one_version_of_a_name_runs_beside_at_a_time(ledger):
    with ledger.write() as tx:
        first = begin(tx)
        assert begin(tx) == first
        with pytest.raises(shadows.OtherRuns, match=r"2\.0\.0 is the shadow"):
            begin(tx, version="3.0.0")
        assert comparisons.stop(tx, first, reason="shadow.stopped", by="jo", at=NOW)
        assert not comparisons.stop(tx, first, reason="shadow.stopped", by="jo", at=NOW)
        assert begin(tx, version="3.0.0").version == "3.0.0"


def test_nothing_is_leased_while_a_job_waits_or_runs_or_a_study_is_complete(ledger):
    with ledger.write() as tx:
        shadow = begin(tx)
    job = given.ended(ledger)
    with ledger.write() as tx:
        assert comparisons.open_one(tx, shadow, job.id, at=NOW, waiting_max=9) is Standing.WAITING
        due = comparisons.next_due(tx, at=NOW)
        assert due is not None
        given.kept(tx, 1, study="1.9", series="1.9.1")
        complete = given.ready(tx, "1.9")
        assert comparisons.next_due(tx, at=NOW) is None
        assert comparisons.lease(tx, due, owner="w:1", at=NOW, seconds=9) is None
    with ledger.write() as tx:
        assert complete.content_digest is not None
        taken = [given.decision(complete.content_digest, uid="1.9")]
        opened = decisions.record(tx, complete, taken, at=NOW)
        assert opened is not None
        (other,) = opened
        assert comparisons.next_due(tx, at=NOW) is None, "its job waits"
        held = given.leased(tx, other)
        assert comparisons.next_due(tx, at=NOW) is None, "its job runs"
        assert results.end(tx, held, given.ending(other), at=NOW)
        assert comparisons.next_due(tx, at=NOW) == due


def test_an_attempt_that_is_stale_records_nothing(ledger):
    with ledger.write() as tx:
        shadow = begin(tx)
    job = given.ended(ledger)
    with ledger.write() as tx:
        comparisons.open_one(tx, shadow, job.id, at=NOW, waiting_max=9)
        first = comparisons.lease(tx, 1, owner="w:1", at=NOW, seconds=9)
        assert first is not None
        comparisons.release_dead(tx, at=NOW + 10, limits=LIMITS)
        second = comparisons.lease(tx, 1, owner="w:2", at=NOW + 10, seconds=9)
        assert second is not None
        assert not comparisons.done(tx, first, PAIR, at=NOW)
        assert not comparisons.failed(tx, first, Word.FAILED, at=NOW)
        assert comparisons.done(tx, second, PAIR, at=NOW)
        assert not comparisons.done(tx, second, PAIR, at=NOW)
        (found,) = agreements.everything(tx, limit=9)
        assert (found.tally.studies, found.passed_over) == (1, 0)


def test_a_shadow_asks_for_jobs_of_its_model_since_it_began_and_for_no_second_run(ledger):
    given.ended(ledger)
    with ledger.write() as tx:
        shadow = begin(tx)
        given.kept(tx, 1, study="1.9", series="1.9.1")
        (mine,) = given.decided(tx, "1.9")
        given.kept(tx, 1, study="1.8", series="1.8.1")
        complete = given.ready(tx, "1.8")
        assert complete.content_digest is not None
        asked = {"route": "own", "model_digest": shadow.digest}, {"route": "else", "model_name": "another"}
        taken = [given.decision(complete.content_digest, uid="1.8", **one) for one in asked]
        others = decisions.record(tx, complete, taken, at=NOW)
        assert others is not None
        assert comparisons.unopened(tx, shadow, ended_before=NOW + 99, limit=9) == [], "none has ended"
        for job_id in (mine, *others):
            assert results.end(tx, given.leased(tx, job_id), given.ending(job_id), at=NOW)
        found = comparisons.unopened(tx, shadow, ended_before=NOW + 99, limit=9)
        assert [(one.job_id, one.outcome) for one in found] == [(mine, Outcome.MEASURED)]
        done = jobs.find(tx, mine)
        assert done is not None
        second = jobs.again(tx, done, at=NOW)
        assert results.end(tx, given.leased(tx, second), given.ending(second), at=NOW)
        assert comparisons.unopened(tx, shadow, ended_before=NOW, limit=9) == [], "it ended only just now"
        assert comparisons.pass_over(tx, shadow, mine, Word.NOT_KEPT, at=NOW)
        assert not comparisons.pass_over(tx, shadow, mine, Word.NOT_KEPT, at=NOW)
        assert comparisons.unopened(tx, shadow, ended_before=NOW + 99, limit=9) == []


class Beside(Walked):
    """Jobs that end, answers that are kept or not, comparisons that begin, die, end, and shadows that end."""

    def __init__(self) -> None:
        super().__init__()
        self.studies, self.real = 0, 0
        self.jobs: list[int] = []
        self.leased: list[comparisons.Comparison] = []

    @rule()
    def a_job_ends(self) -> None:
        self.studies += 1
        uid = f"1.2.{self.studies}"
        with self.ledger.write() as tx:
            given.kept(tx, 1, study=uid, series=f"{uid}.1")
            (job_id,) = given.decided(tx, uid)
            assert results.end(tx, given.leased(tx, job_id), given.ending(job_id), at=NOW)
        self.jobs.append(job_id)
        self.real += 1

    @rule(version=st.sampled_from(("2.0.0", "3.0.0")))
    def a_shadow_begins(self, version: str) -> None:
        with self.ledger.write() as tx:
            if not shadows.running(tx):
                begin(tx, version=version)

    @rule()
    def a_shadow_ends(self) -> None:
        with self.ledger.write() as tx:
            for shadow in shadows.running(tx).values():
                comparisons.stop(tx, shadow, reason="shadow.stopped", by="jo", at=NOW)

    @rule(data=st.data(), word=st.sampled_from([None, Word.NOT_KEPT, Word.NO_ANSWER]))
    def an_answer_comes(self, data: st.DataObject, word: Word | None) -> None:
        with self.ledger.write() as tx:
            running = shadows.running(tx).get(NAME)
            if running is None or not self.jobs:
                return
            job_id = data.draw(st.sampled_from(self.jobs))
            if word is None:
                comparisons.open_one(tx, running, job_id, at=NOW, waiting_max=2)
            else:
                comparisons.pass_over(tx, running, job_id, word, at=NOW)

    @rule()
    def one_is_taken(self) -> None:
        with self.ledger.write() as tx:
            due = comparisons.next_due(tx, at=NOW)
            taken = None if due is None else comparisons.lease(tx, due, owner="w:1", at=NOW, seconds=9)
        if taken is not None:
            self.leased.append(taken)

    @rule(data=st.data(), how=st.sampled_from(("done", "failed", "back")))
    def an_attempt_ends(self, data: st.DataObject, how: str) -> None:
        if not self.leased:
            return
        one = data.draw(st.sampled_from(self.leased))
        with self.ledger.write() as tx:
            if how == "done":
                comparisons.done(tx, one, PAIR, at=NOW)
            elif how == "failed":
                comparisons.failed(tx, one, Word.FAILED, at=NOW)
            else:
                comparisons.give_back(tx, one, not_before=NOW)

    @rule()
    def the_worker_dies(self) -> None:
        with self.ledger.write() as tx:
            comparisons.release_dead(tx, at=NOW, limits=LIMITS, owner_name="w")

    @invariant()
    def each_that_ended_is_counted_once_and_nothing_else_moved(self) -> None:
        with self.ledger.read() as tx:
            counted = counts.count(tx)
            assert counted.faults["comparisons_astray"] == 0
            assert counted.balance == 0
            assert (counted.results, counted.objects) == (self.real, 2 * self.real)
            assert sum(counted.deliveries.values()) == 3 * self.real
            assert sum(counted.jobs.values()) == self.real


TestBeside = Beside.TestCase
TestBeside.settings = settings(
    max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.usefixtures("on_server")
class TestBesideOnAServer(Beside.TestCase):  # type: ignore[valid-type, misc]  # made by hypothesis at run time
    """The same on the other database."""

    settings = settings(TestBeside.settings, max_examples=2)
