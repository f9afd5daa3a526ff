"""What releases did: exact on the box, rounded where it leaves."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.words import JobState, Outcome
from appliance.health.codes import Failure, Kind
from appliance.health.fields import FEW
from appliance.health.schema import fit
from appliance.health.work import added, by_release, hour_values, total_values
from appliance.ledger.hours import Ended


def ended(outcome=Outcome.FINDING, state=JobState.DONE, *, digest="d", word="job.done", seconds=20.0):
    return Ended(
        model_digest=digest,
        state=state,
        word=word,
        outcome=outcome,
        engine="ONNX Runtime 1 CPU",
        stepped_down=False,
        turnaround_seconds=seconds,
        inference_seconds=None,
    )


FAILED = ended(Outcome.FAILED, JobState.FAILED, word="inference.crashed", seconds=None)
HELD = ended(Outcome.NOT_RUN, JobState.HELD, word="job.held")
ANY = st.sampled_from(
    [ended(), FAILED, HELD, ended(Outcome.NO_FINDING), ended(Outcome.NOT_ELIGIBLE), ended(digest="e")]
)


def test_each_end_is_counted_for_what_it_is():
    found = by_release([ended()] * 7 + [FAILED] * 6 + [HELD] * 3 + [ended(Outcome.NO_FINDING)] * 5)["d"]
    values = hour_values(found)
    assert (values["done"], values["positives"], values["negatives"], values["held"]) == (12, 7, 5, FEW)
    assert values["failed"][list(Failure).index(Failure.CRASHED)] == 6
    assert total_values(found)["studies"] == 20
    assert total_values(found)["failures"] == 5


@given(st.lists(ANY, max_size=30), st.lists(ANY, max_size=30))
def test_hours_add_up_whatever_was_in_which(one, other):
    parts = [by_release(part).get("d") for part in (one, other)]
    whole = by_release([*one, *other]).get("d", added([]))
    assert added([part for part in parts if part]) == whole


@given(st.lists(ANY, max_size=40))
def test_what_leaves_is_in_the_closed_list_and_hides_small_counts(jobs):
    for counted in by_release(jobs).values():
        hour = {"hour": 1, "release": 1, **hour_values(counted)}
        assert fit(Kind.WORK, hour) == (hour, 0)
        total = {"release": 1, **total_values(counted)}
        assert fit(Kind.STATE, total) == (total, 0)
        assert not {1, 2, 3, 4} & {cell for value in hour_values(counted).values() for cell in _flat(value)}


def _flat(value):
    return value if isinstance(value, tuple) else (value,)
