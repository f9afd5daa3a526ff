"""What readers said of results, where people and programs look: study page, models page, API, metrics."""

from __future__ import annotations

import pytest

from appliance.core.clock import as_datetime
from appliance.ledger import assessments, jobs, results
from appliance.ledger.assessments import Assessment, Judgement
from tests.appliance.console.filling import NORMAL


@pytest.fixture
def result(filled):
    """A result of a study that a reader modified and, in a later document, rejected."""
    with filled.ledger.write() as tx:
        found = results.of_study(tx, NORMAL)[0]
        now = filled.clock.now()
        said = [
            (Judgement.MODIFIED, "", "1.9.1", now),
            (Judgement.REJECTED, "2.25.4", "1.9.1", now),
            (Judgement.REJECTED, "", "1.9.2", now + 60),
        ]
        rows = [
            Assessment(
                result_id=found.id,
                study_uid=NORMAL,
                sop_instance_uid=paper,
                judgement=judgement,
                tracking_uid=tracking,
                calling_ae="WS",
                assessed_at=at,
            )
            for judgement, tracking, paper, at in said
        ]
        assert assessments.record(tx, rows, at=now) == 3
    return found


def test_the_card_of_a_result_says_what_its_readers_said_and_when(filled, result):
    page = filled.logged_in().get(f"/studies/{NORMAL}").text
    assert "rejected by a reader" in page
    assert "modified, 1 finding rejected by a reader" in page
    assert page.index("rejected by a reader") < page.index("modified, 1 finding")
    assert "A reader&#39;s word on result" in page or "A reader's word on result" in page


def test_programs_get_the_same(filled, result):
    shown = filled.logged_in().get(f"/api/v1/studies/{NORMAL}").json()
    (card,) = [entry for entry in shown["results"] if entry["id"] == result.id]
    sentences = [entry["sentence"] for entry in card["assessments"]]
    assert sentences == ["rejected by a reader", "modified, 1 finding rejected by a reader"]
    assert as_datetime(card["assessments"][0]["at"]) > as_datetime(card["assessments"][1]["at"])


def test_a_result_is_counted_once_for_its_version_by_the_last_word(filled, result):
    with filled.ledger.read() as tx:
        job = jobs.find(tx, result.job_id)
    assert job is not None
    browser = filled.logged_in()
    (count,) = browser.get("/api/v1/status").json()["assessments"]
    assert (count["model_name"], count["model_version"]) == (job.model_name, job.model_version)
    assert count["results"] == {"accepted": 0, "modified": 0, "rejected": 1}
    assert count["findings"] == {"accepted": 0, "modified": 0, "rejected": 1}


def test_the_models_page_and_its_answer_count_by_version(filled, result, monkeypatch):
    with filled.ledger.read() as tx:
        job = jobs.find(tx, result.job_id)
    assert job is not None
    browser = filled.logged_in()
    models = browser.get("/api/v1/models").json()["models"]
    counted = {(m["name"], m["version"]): m["assessments"] for m in models}
    assert any(key == (job.model_name, job.model_version) for key in counted), counted.keys()
    assert counted[job.model_name, job.model_version]["rejected"] == 1
    assert "0 accepted, 0 modified, 1 rejected" in browser.get("/models").text


def test_a_scrape_counts_results_by_version_and_verdict_and_names_nobody(filled, result):
    text = filled.visitor(("127.0.0.1", 40000)).get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("readside_results_assessed{")]
    assert {line.split('verdict="')[1].split('"')[0]: line.rsplit(" ", 1)[1] for line in lines} == {
        "accepted": "0.0",
        "modified": "0.0",
        "rejected": "1.0",
    }
    assert NORMAL not in text
