"""Every page, empty and filled; whatever a sender wrote stays text."""

from __future__ import annotations

import re

import pytest

from appliance.console import snapshot
from appliance.console.limits import DEFAULT
from appliance.core.words import short
from appliance.ledger import events
from tests.appliance.console import filling
from tests.appliance.console.filling import FAILED, GATHERING, HELD, LATE, NORMAL

PAGES = ("/", "/studies?show=attention", "/attention", "/models", "/health", "/studies/rows", "/health/rows")
STUDIES = (NORMAL, FAILED, HELD, GATHERING, LATE)


def looks(console, study_uid=None):
    with console.ledger.read() as tx:
        found = events.latest(tx, 100, word="console.viewed")
    return [event for event in found if study_uid is None or event.study_uid == study_uid]


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_an_empty_box(console, page):
    assert console.logged_in().get(page).status_code == 200


@pytest.mark.parametrize("page", [*PAGES, *(f"/studies/{uid}" for uid in STUDIES)])
def test_pages_of_a_filled_box_need_no_other_machine_and_hold_no_inline_code(filled, page):
    answer = filled.logged_in().get(page)
    assert answer.status_code == 200
    assert not re.search(r"(?:src|href|action|hx-get)=\"(?:https?:)?//", answer.text)
    assert not re.search(r"<script(?! src=\"/static/)| on[a-z]+=\"| style=\"|<style", answer.text)


@pytest.mark.parametrize("page", ["/studies", f"/studies/{GATHERING}", "/api/v1/studies"])
def test_a_name_full_of_code_stays_text(filled, page):
    answer = filled.logged_in().get(page)
    assert "set-cookie" not in answer.headers
    if page.startswith("/api"):
        assert answer.headers["content-type"] == "application/json"
    else:
        assert "<script>alert" not in answer.text
        assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in answer.text
        assert "&amp; &lt;b&gt;" in answer.text


def test_text_from_a_model_or_a_route_stays_text(console, clock):
    with console.ledger.write() as tx:
        filling.arrive(tx, NORMAL, clock.now())
        job = filling.decide(tx, filling.complete(tx, NORMAL, clock.now() + 70), clock.now())
        filling.end(tx, job, clock.now(), statement="<img src=x onerror=alert(1)>")
    answer = console.logged_in().get(f"/studies/{NORMAL}")
    assert "<img src=x" not in answer.text
    assert "&lt;img src=x onerror=alert(1)&gt;" in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/studies/../../etc/passwd",
        "/studies/..%2f..%2fetc%2fpasswd",
        "/studies/%00",
        "/studies/1.2.3'--",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/objects/results%2fkey.png/preview.png",
        "/objects/../results/key.png",
        "/objects/-1/preview.png",
        "/objects/99999/preview.png",
        "/studies/9.9.9",
    ],
)
def test_no_address_reaches_a_file_or_an_unknown_row(filled, path):
    answer = filled.logged_in().get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text
    assert "create_app" not in answer.text


def test_outcomes_that_are_no_inference_say_so(filled):
    browser = filled.logged_in()
    for uid in (FAILED, LATE):
        page = browser.get(f"/studies/{uid}").text
        assert "Not analysed" in page
        assert "This is not a negative result." in page
        assert "no finding" not in page
    assert "There is no result yet. That is not a negative." in browser.get(f"/studies/{GATHERING}").text


def test_a_result_of_earlier_images_is_marked(filled):
    browser = filled.logged_in()
    assert "superseded by a later result" in browser.get(f"/studies/{NORMAL}").text
    assert "about earlier images" in browser.get(f"/studies/{LATE}").text


def test_the_study_page_says_who_made_the_result(filled):
    page = filled.logged_in().get(f"/studies/{NORMAL}").text
    for text in (
        "ct-tissue-bands 1.0.0",
        "ONNX Runtime 1.31.1 CPU",
        "exactly 40 images",
        "512.43",
        "HU",
        "UTC",
    ):
        assert text in page, text


def test_a_measurement_that_was_withheld_says_why(filled):
    assert "not measured: fewer than 10 voxels" in filled.logged_in().get(f"/studies/{NORMAL}").text


def test_the_picture_of_a_known_row_is_served(filled):
    browser = filled.logged_in()
    address = re.search(r"/objects/\d+/preview\.png", browser.get(f"/studies/{NORMAL}").text)
    assert address is not None
    answer = browser.get(address[0])
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (filled.root / "results" / "key.png").read_bytes()


@pytest.mark.parametrize(
    "name", ["../outside.png", "/etc/hostname", "results/gone.png", "results/text.png", "results/large.png"]
)
def test_a_row_that_names_another_file_gives_nothing(console, clock, name):
    (console.root.parent / "outside.png").write_bytes(filling.picture())
    (console.root / "results").mkdir()
    (console.root / "results" / "text.png").write_text("no picture")
    with (console.root / "results" / "large.png").open("wb") as file:
        file.write(filling.picture())
        file.truncate(DEFAULT.preview_bytes_max + 1)
    with console.ledger.write() as tx:
        filling.arrive(tx, NORMAL, clock.now())
        job = filling.decide(tx, filling.complete(tx, NORMAL, clock.now() + 70), clock.now())
        filling.end(tx, job, clock.now(), preview=name)
    assert console.logged_in().get("/objects/2/preview.png").status_code == 404


def test_every_look_at_a_patient_is_a_row_with_a_name(filled):
    browser = filled.logged_in()
    browser.get(f"/studies/{NORMAL}")
    assert [look.detail for look in looks(filled, NORMAL)] == [{"user": "amina", "page": "study"}]
    browser.get("/studies")
    shown = looks(filled)[0].detail
    assert (shown["user"], shown["page"]) == ("amina", "studies")
    assert set(shown["studies"]) == {short(uid) for uid in STUDIES}
    browser.get("/attention")
    assert set(looks(filled)[0].detail["studies"]) == {short(FAILED), short(HELD)}


def test_a_page_that_refreshes_itself_is_one_look_until_it_shows_somebody_new(filled):
    browser = filled.logged_in()
    for _ in range(3):
        browser.get("/studies/rows")
    assert len(looks(filled)) == 1
    with filled.ledger.write() as tx:
        filling.arrive(tx, "1.2.826.0.1.77", filled.clock.now())
    browser.get("/studies/rows")
    assert looks(filled)[0].detail["studies"] == [short("1.2.826.0.1.77")]
    filled.clock.advance(DEFAULT.view_again_seconds + 1)
    browser.get("/studies/rows")
    assert len(looks(filled)) == 3


def test_nothing_is_shown_when_the_look_cannot_be_recorded(filled, monkeypatch):
    browser = filled.logged_in()

    def full(*_args, **_kwargs):
        raise filling.LedgerFault("disk is full, patient Nowak")

    monkeypatch.setattr(events, "add", full)
    answer = browser.get(f"/studies/{NORMAL}")
    assert answer.status_code == 503
    assert "Nowak" not in answer.text


def test_a_refresh_without_news_is_empty(filled, monkeypatch):
    # The health page shows free space, which every other program of the machine changes.
    monkeypatch.setattr(snapshot, "free_bytes", lambda _path: 10**12)
    browser = filled.logged_in()
    for page in ("/studies", f"/studies/{NORMAL}", "/health"):
        found = re.search(r'hx-get="([^"]+)"', browser.get(page).text)
        assert found is not None
        address = found[1].replace("&amp;", "&")
        assert browser.get(address).status_code == 204
        assert browser.get(address.rpartition("seen=")[0] + "seen=old").status_code == 200


def test_a_refresh_after_the_session_leads_to_the_log_in(filled):
    answer = filled.visitor().get("/studies/rows", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login")


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        ("all", set(STUDIES)),
        ("HELD", {HELD}),
        ("GATHERING", {GATHERING}),
        ("attention", {HELD, FAILED}),
        ("nonsense", set(STUDIES)),
    ],
)
def test_the_list_is_filtered(filled, show, expected):
    page = filled.logged_in().get(f"/studies?show={show}").text
    assert set(re.findall(r'href="/studies/([0-9.]+)"', page)) == expected


def test_the_list_has_pages(console, clock):
    with console.ledger.write() as tx:
        for number in range(DEFAULT.studies_per_page + 1):
            filling.arrive(tx, f"1.2.{number + 1}", clock.now() + number, slices=1)
    browser = console.logged_in()
    first, second = browser.get("/studies").text, browser.get("/studies?page=2").text
    assert "1–50 of 51 studies" in first
    assert "Older" in first
    assert re.findall(r'href="/studies/([0-9.]+)"', second) == ["1.2.1"]


def test_an_error_nobody_foresaw_tells_nothing(filled, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("patient Nowak")

    monkeypatch.setattr(filled.app.state.room.watch, "look", broken)
    browser = filling.TestClient(filled.app, base_url="http://console", raise_server_exceptions=False)
    browser.get(filled.link())
    answer = browser.get("/health")
    assert answer.status_code == 500
    assert "Nowak" not in answer.text
