"""What a person may do, from a page of their own session only."""

from __future__ import annotations

import pytest

from appliance.core.words import DeliveryState, JobState, StudyState
from appliance.ledger import deliveries, events, jobs, studies
from tests.appliance.console import filling
from tests.appliance.console.filling import FAILED, HELD, NORMAL


def jobs_of(console, uid):
    with console.ledger.read() as tx:
        return jobs.of_study(tx, uid)


def dead(console):
    with console.ledger.read() as tx:
        return [d.id for d in deliveries.in_state(tx, DeliveryState.DEAD, limit=100)]


def state_of(console, delivery_id):
    with console.ledger.read() as tx:
        found = deliveries.find(tx, delivery_id)
    assert found is not None
    return found


@pytest.fixture
def browser(filled):
    return filled.logged_in()


@pytest.fixture
def post(browser):
    proof = filling.csrf(browser)
    return lambda path, **data: browser.post(path, data={"csrf": proof} | data)


@pytest.mark.parametrize("proof", [None, "", "0" * 64, "é"])
@pytest.mark.parametrize(
    "path", [f"/studies/{FAILED}/again", f"/studies/{HELD}/release", "/deliveries/settle", "/logout"]
)
def test_a_post_without_the_sessions_proof_changes_nothing(filled, browser, path, proof):
    data = {"job": "3", "delivery": "1", "act": "settle"} | ({} if proof is None else {"csrf": proof})
    assert browser.post(path, data=data).status_code == 403
    assert len(jobs_of(filled, FAILED)) == 1
    assert len(dead(filled)) == 2
    assert browser.get("/health").status_code == 200


def test_another_sessions_proof_is_worthless(filled, browser):
    stranger = filling.csrf(filled.logged_in())
    answer = browser.post(f"/studies/{HELD}/release", data={"csrf": stranger})
    assert answer.status_code == 403


def test_a_post_without_a_session_is_sent_to_the_log_in(filled):
    assert filled.visitor().post(f"/studies/{HELD}/release").headers["location"] == "/login?next=/"


def test_run_again(filled, browser, post):
    job = jobs_of(filled, FAILED)[0]
    answer = post(f"/studies/{FAILED}/again", job=job.id)
    assert answer.headers["location"] == f"/studies/{FAILED}?done=again"
    assert [(j.run, j.state) for j in jobs_of(filled, FAILED)] == [
        (1, JobState.FAILED),
        (2, JobState.WAITING),
    ]
    assert "The work was asked for once more." in browser.get(answer.headers["location"]).text
    assert post(f"/studies/{FAILED}/again", job=job.id).status_code == 409
    assert len(jobs_of(filled, FAILED)) == 2


def test_an_older_run_is_not_repeated(filled, post):
    assert post(f"/studies/{NORMAL}/again", job=jobs_of(filled, NORMAL)[0].id).status_code == 409


def test_a_job_that_nobody_knows(post):
    assert post(f"/studies/{FAILED}/again", job=99).status_code == 409
    assert post(f"/studies/{FAILED}/again", job="x").status_code == 422


def test_release(filled, post):
    assert post(f"/studies/{HELD}/release").headers["location"] == f"/studies/{HELD}?done=released"
    with filled.ledger.read() as tx:
        found = studies.find(tx, HELD)
        named = [event.detail for event in events.of_study(tx, HELD) if event.word == "console.release"]
    assert found is not None
    assert found.state is StudyState.GATHERING
    assert named == [{"by": "amina"}]
    assert post(f"/studies/{HELD}/release").status_code == 409


@pytest.mark.parametrize(
    ("act", "state"), [("again", DeliveryState.PENDING), ("settle", DeliveryState.SETTLED)]
)
def test_settle(filled, post, act, state):
    ids = dead(filled)
    answer = post("/deliveries/settle", delivery=[str(i) for i in ids], act=act, back="//elsewhere")
    assert answer.headers["location"].startswith("/?done=")
    assert {(state_of(filled, i).state, state_of(filled, i).settled_by) for i in ids} == {(state, "amina")}
    assert post("/deliveries/settle", delivery=[str(ids[0])], act=act).status_code == 409


def test_a_person_may_say_that_nothing_more_is_needed(filled, browser, post):
    assert "slice 17" in browser.get("/attention").text
    post(f"/studies/{FAILED}/seen")
    page = browser.get("/attention").text
    assert "slice 17" not in page
    assert "Refused for good" in page
