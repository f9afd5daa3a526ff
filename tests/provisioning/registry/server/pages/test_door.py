"""Who is let in by the form, what keeps a foreign page out, and what every answer carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from provisioning.registry.database import accounts, audit
from provisioning.registry.server.access import SESSION_COOKIE
from tests.provisioning.fleet import PASSWORD, Fleet
from tests.provisioning.registry.server.pages.visiting import Visit, plain

PAGES = ("devices", "models", "rollouts", "alerts", "people", "audit")


def test_who_is_not_known_is_asked_who_it_is(stranger: Visit):
    for page in PAGES:
        answer = stranger.get(f"/{page}")
        assert (answer.url.path, answer.url.params["next"]) == ("/login", f"/{page}")
        assert "Log in" in plain(answer.text)


def test_a_person_logs_in_goes_on_and_logs_out(stranger: Visit, empty: Fleet):
    assert stranger.log_in("vera", wanted="/alerts").url.path == "/alerts"
    assert "HttpOnly" in stranger.client.post("/login").headers["set-cookie"]
    assert stranger.press("/logout").url.path == "/login"
    assert stranger.get("/devices").url.path == "/login"
    with empty.database.read() as tx:
        assert audit.acts(tx, subject="vera", limit=1)[0].act == "account.login"


def test_nobody_is_sent_to_another_site(stranger: Visit):
    for wanted in ("//example.org", "https://example.org", "/\\example.org"):
        answer = stranger.log_in("vera", wanted=wanted)
        assert (answer.status_code, answer.url.path) == (200, "/devices")


def test_a_wrong_password_and_a_name_that_nobody_has_are_told_alike(stranger: Visit):
    said = [stranger.log_in(name, "wrong") for name in ("vera", "nobody")]
    assert [one.status_code for one in said] == [401, 401]
    assert len({plain(one.text) for one in said}) == 1


def test_too_many_failures_are_told_when_to_come_back(stranger: Visit, enter: Callable[[str], Visit]):
    assert [stranger.log_in("vera", "wrong").status_code for _ in range(11)] == [401] * 10 + [429]
    locked = stranger.log_in("vera")
    assert (locked.status_code, locked.headers["retry-after"].isdigit()) == (429, True)
    assert "Too many log-ins failed" in plain(locked.text)
    enter("otto")


def test_a_log_in_that_another_site_sent_is_refused(stranger: Visit, empty: Fleet):
    form = {"user": "vera", "password": PASSWORD}
    assert stranger.client.post("/login", data=form).status_code == 403
    other = Visit(empty.served.url)
    foreign = {**form, "csrf": other.proof("/login")}
    other.client.close()
    stranger.get("/login")
    assert stranger.client.post("/login", data=foreign).status_code == 403
    assert stranger.get("/devices").url.path == "/login"


def test_a_session_that_ended_or_an_account_that_was_disabled_is_out(
    empty: Fleet, enter: Callable[[str], Visit]
):
    vera, otto = enter("vera"), enter("otto")
    with empty.database.write() as tx:
        assert accounts.disable(tx, "vera", at=empty.clock.now())
    assert vera.get("/devices").url.path == "/login"
    assert otto.get("/devices").url.path == "/devices"
    empty.clock.advance(9 * 3_600.0)
    assert otto.get("/devices").url.path == "/login"


def test_cookies_stay_on_tls_where_people_come_over_it(empty: Fleet, stranger: Visit):
    room = empty.app.state.room
    assert "Secure" not in stranger.get("/login").headers["set-cookie"]
    empty.app.state.room = replace(room, setting=replace(room.setting, secure=True))
    said = stranger.get("/login").headers["set-cookie"]
    assert ("Secure" in said, "SameSite=strict" in said, "HttpOnly" in said) == (True, True, True)


def test_a_token_that_was_made_up_opens_nothing(stranger: Visit):
    stranger.client.cookies.set(SESSION_COOKIE, "made-up")
    assert stranger.get("/devices").url.path == "/login"


def test_every_answer_forbids_scripts_frames_and_caches(stranger: Visit, enter: Callable[[str], Visit]):
    for answer in (stranger.get("/login"), enter("ada").get("/people"), stranger.get("/rollouts/x")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in answer.text
        assert "style=" not in answer.text


def test_two_files_are_there_and_no_other(stranger: Visit):
    assert stranger.get("/static/readside.css").headers["content-type"].startswith("text/css")
    assert stranger.get("/static/icon.svg").headers["content-type"] == "image/svg+xml"
    for name in ("readside.js", "README.md", "..%2fapp.py", "%2e%2e/app.py"):
        assert stranger.get(f"/static/{name}").status_code == 404


def test_people_are_answered_with_a_page_and_programs_with_json(
    stranger: Visit, enter: Callable[[str], Visit]
):
    vera = enter("vera")
    for path in ("/devices/" + "0" * 64, "/devices/x", "/rollouts/7", "/rollouts/x", f"/rollouts/{2**70}"):
        answer = vera.get(path)
        assert (answer.status_code, answer.headers["content-type"][:9]) == (404, "text/html")
    assert stranger.get("/api/v1/devices").json() == {"error": "Log in first."}
    assert vera.client.post("/devices").status_code == 405
