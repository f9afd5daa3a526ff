"""A route judges a study that was decided without it, for who asks for the study itself."""

from __future__ import annotations

import pytest

from appliance.assemble.decide import Decider
from appliance.core.words import JobState, Verdict
from appliance.ledger import counts, decisions, jobs
from tests.appliance.assemble.test_assemble import STUDY, Bench, any_geometry, route, table  # noqa: F401

pytestmark = pytest.mark.usefixtures("any_geometry")
CT, MR = 'Modality == "CT"', 'Modality == "MR"'


@pytest.fixture
def bench(ledger, tmp_path, clock) -> Bench:
    made = Bench(ledger, tmp_path / "root", clock)
    made.arrive()
    clock.advance(60)
    made.gatherer.turn()
    Decider(ledger, table([route("first", CT)])).turn()
    return made


def decider(bench: Bench, when: str = CT) -> Decider:
    return Decider(bench.ledger, table([route("first", CT), route("later", when)]))


def found(bench: Bench) -> dict[str, tuple[Verdict, str | None]]:
    with bench.ledger.read() as tx:
        modes = {job.id: job.mode for job in jobs.of_study(tx, STUDY)}
        assert counts.count(tx).balance == 0
        taken = decisions.of_study(tx, STUDY)
    return {one.route: (one.verdict, None if one.job_id is None else modes[one.job_id]) for one in taken}


def test_a_route_that_came_later_judges_it_and_its_result_is_sent(bench):
    assert decider(bench).also(STUDY, "later")
    assert found(bench) == {"first": (Verdict.RUN, "release"), "later": (Verdict.RUN, "release")}
    # Once more is the same work.
    assert decider(bench).also(STUDY, "later")
    with bench.ledger.read() as tx:
        assert [job.state for job in jobs.of_study(tx, STUDY)] == [JobState.WAITING] * 2


def test_one_that_does_not_want_it_says_so(bench):
    assert not decider(bench, MR).also(STUDY, "later")
    assert found(bench)["later"] == (Verdict.NO_MATCH, None)


@pytest.mark.parametrize(("study", "name"), [(STUDY, "nobody"), ("1.2.404", "later")])
def test_what_is_not_there_is_not_judged(bench, study, name):
    assert not decider(bench).also(study, name)
    assert set(found(bench)) == {"first"}
