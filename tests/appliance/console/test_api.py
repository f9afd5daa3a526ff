"""The API: the same users, JSON sentences, and nothing that a foreign page can send."""

from __future__ import annotations

import json

import pytest

from appliance.ledger import events
from tests.appliance.console import filling
from tests.appliance.console.filling import FAILED, HELD, NASTY, NORMAL, PASSWORD

BASIC = ("amina", PASSWORD)
PATHS = (
    "/api/v1/status",
    "/api/v1/models",
    "/api/v1/studies",
    f"/api/v1/studies/{NORMAL}",
    "/api/v1/openapi.json",
)


@pytest.mark.parametrize("path", PATHS)
def test_without_a_log_in_there_is_a_sentence(filled, path):
    answer = filled.visitor().get(path)
    assert (answer.status_code, answer.json()) == (401, {"error": "Log in first."})
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("path", PATHS)
def test_a_session_or_http_basic_opens_it(filled, path):
    assert filled.logged_in().get(path).status_code == 200
    assert filled.visitor().get(path, auth=BASIC).status_code == 200


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /w==", "Bearer x", "Basic YW1pbmE="])
def test_credentials_that_are_none(filled, header):
    answer = filled.visitor().get("/api/v1/status", headers={"authorization": header})
    assert answer.status_code == 401


def test_wrong_credentials_are_counted(make_console):
    console = make_console()
    codes = [console.visitor().get("/api/v1/status", auth=("amina", "wrong")).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_a_script_is_checked_in_full_once_a_minute(console, monkeypatch):
    checked = []
    passwords = console.app.state.room.doorkeeper._passwords
    check = passwords.check

    def counted(*pair):
        checked.append(pair)
        return check(*pair)

    monkeypatch.setattr(passwords, "check", counted)
    for _ in range(5):
        assert console.visitor().get("/api/v1/status", auth=BASIC).status_code == 200
    assert len(checked) == 1
    console.clock.advance(61)
    console.visitor().get("/api/v1/status", auth=BASIC)
    assert len(checked) == 2


def test_status_has_the_designs_names(filled):
    body = filled.visitor().get("/api/v1/status", auth=BASIC).json()
    for name in ("kept", "in_studies", "quarantined", "purged", "decisions", "jobs", "results", "deliveries"):
        assert name in body
    assert body["balance"] == 0
    assert body["kept"] == body["in_studies"] + body["quarantined"] + body["purged"]


def test_studies_and_one_study(filled):
    browser = filled.visitor()
    listed = browser.get("/api/v1/studies?limit=2&offset=1", auth=BASIC).json()
    assert (listed["total"], len(listed["studies"])) == (5, 2)
    held = browser.get("/api/v1/studies?state=HELD", auth=BASIC).json()["studies"]
    assert [entry["study_uid"] for entry in held] == [HELD]
    one = browser.get(f"/api/v1/studies/{NORMAL}", auth=BASIC).json()
    assert one["results"][0]["outcome"] == "measured"
    assert one["results"][1]["superseded"]
    assert one["why"]["routes"][0]["runs"][1]["deliveries"] == ["pacs: 2 objects accepted."]
    assert "preview_file" not in json.dumps(one)
    assert "kept/" not in json.dumps(one)
    with filled.ledger.read() as tx:
        assert events.latest(tx, 1)[0].detail == {"user": "amina", "page": "api"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/studies/9.9", 404),
        (f"/api/v1/studies/{'1' * 65}", 404),
        ("/api/v1/studies/abc", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/studies?limit=100000", 422),
        ("/api/v1/studies?state=Nowak", 422),
    ],
)
def test_faults_are_sentences_that_repeat_nothing(filled, path, status):
    answer = filled.visitor().get(path, auth=BASIC)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert "Nowak" not in answer.text


def test_retry_a_study_and_a_job(filled):
    browser = filled.visitor()
    assert browser.post("/api/v1/retry", auth=BASIC, json={"study": HELD}).json() == {
        "jobs": [],
        "released": True,
    }
    made = browser.post("/api/v1/retry", auth=BASIC, json={"study": FAILED}).json()
    assert made == {"jobs": [6], "released": False}
    again = browser.post("/api/v1/retry", auth=BASIC, json={"job": 6})
    assert (again.status_code, again.json()) == (409, {"error": "Job 6 already does this work."})
    assert browser.post("/api/v1/retry", auth=BASIC, json={"study": "9.9"}).status_code == 409


def test_settle_by_study(filled):
    browser = filled.visitor()
    body = {"study": FAILED, "act": "settle"}
    assert browser.post("/api/v1/settle", auth=BASIC, json=body).json() == {"settled": 2}
    assert browser.post("/api/v1/settle", auth=BASIC, json=body).status_code == 409


@pytest.mark.parametrize(
    "body",
    [{}, {"job": 1, "study": "1.2"}, {"job": "x"}, {"job": 1, "more": 2}, {"study": NASTY}, [], {"job": 0}],
)
def test_a_wish_that_makes_no_sense(filled, body):
    answer = filled.visitor().post("/api/v1/retry", auth=BASIC, json=body)
    assert answer.status_code == 422
    assert "script" not in answer.text


def test_a_session_needs_its_proof_and_a_foreign_page_cannot_ask(filled):
    browser = filled.logged_in()
    proof = {"x-csrf-token": filling.csrf(browser)}
    body = {"study": HELD}
    assert browser.post("/api/v1/retry", json=body).status_code == 403
    assert (
        browser.post("/api/v1/retry", json=body, headers=proof | {"sec-fetch-site": "cross-site"}).status_code
        == 403
    )
    form = browser.post(
        "/api/v1/retry", content=json.dumps(body), headers=proof | {"content-type": "text/plain"}
    )
    assert form.status_code == 415
    assert browser.post("/api/v1/retry", json=body, headers=proof).status_code == 200


def test_a_body_that_is_too_large(filled):
    answer = filled.visitor().post("/api/v1/retry", auth=BASIC, json={"study": "1" * 100_000})
    assert answer.status_code == 413
    assert "error" in answer.json()


def test_the_description_names_every_path(filled):
    described = filled.visitor().get("/api/v1/openapi.json", auth=BASIC).json()
    previews = [
        f"results/{{result_id}}/preview{part}" for part in ("", "/{number}/pixels", "/{number}/regions")
    ]
    assert set(described["paths"]) == {
        f"/api/v1/{name}"
        for name in ("status", "studies", "studies/{study_uid}", "models", "retry", "settle", *previews)
    }


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_no_documentation_that_loads_code_from_elsewhere(filled, path):
    assert filled.logged_in().get(path).status_code == 404
