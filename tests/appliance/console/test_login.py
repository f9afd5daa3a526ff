"""Getting in: passwords, one-time links, sessions, and how often one may fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.console.limits import DEFAULT
from appliance.ledger import events
from appliance.ledger.tables import console_tokens
from tests.appliance.console import filling
from tests.appliance.console.filling import FROM_ELSEWHERE, NORMAL, PASSWORD


def try_password(browser, password, user="amina", **fields):
    form = browser.get("/login").text
    proof = form.split('name="csrf" value="')[1].split('"')[0]
    return browser.post("/login", data={"user": user, "password": password, "csrf": proof} | fields)


def words(console):
    with console.ledger.read() as tx:
        return [(event.word, event.detail) for event in events.latest(tx, 50)]


@pytest.mark.parametrize(
    "page",
    ["/", "/studies", f"/studies/{NORMAL}", "/attention", "/models", "/health", "/objects/1/preview.png"],
)
def test_no_page_opens_without_a_log_in(filled, page):
    answer = filled.visitor().get(page)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/login")
    assert "Nowak" not in answer.text


def test_the_right_password_opens_a_session_in_a_closed_cookie(console):
    browser = console.visitor()
    answer = try_password(browser, PASSWORD, next="/health")
    assert (answer.status_code, answer.headers["location"]) == (303, "/health")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("readside_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert browser.get("/health").status_code == 200
    assert ("console.login", {"user": "amina", "by": "password"}) in words(console)


def test_over_https_the_cookie_is_secure(console):
    browser = filling.TestClient(
        console.app, base_url="https://console", client=FROM_ELSEWHERE, follow_redirects=False
    )
    cookies = try_password(browser, PASSWORD).headers.get_list("set-cookie")
    assert cookies
    assert all("Secure" in cookie for cookie in cookies)


@pytest.mark.parametrize(
    ("user", "password"), [("amina", "wrong"), ("nobody", PASSWORD), ("amina", ""), ("", "")]
)
def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(console, user, password):
    answer = try_password(console.visitor(), password, user)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert not any(c.startswith("readside_session") for c in answer.headers.get_list("set-cookie"))


def test_a_password_typed_as_a_name_is_not_written_down(console):
    try_password(console.visitor(), "amina", user=PASSWORD)
    assert ("console.login_failed", {"user": "unknown name"}) in words(console)
    assert PASSWORD not in str(words(console))


def test_no_user_means_no_log_in_and_no_default_password(make_console, config):
    empty = make_console(
        config=config.model_copy(update={"console": config.console.model_copy(update={"users": ()})})
    )
    assert "there is no default password" in empty.visitor().get("/login").text
    assert try_password_blindly(empty, "admin", "admin").status_code == 403


def try_password_blindly(console, user, password):
    return console.visitor().post("/login", data={"user": user, "password": password})


def test_a_log_in_form_from_elsewhere_is_refused(console):
    assert try_password_blindly(console, "amina", PASSWORD).status_code == 403


def test_a_link_logs_in_once_and_goes_on(console):
    link = console.link()
    answer = console.visitor().get(f"{link}?next=/studies/{NORMAL}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{NORMAL}")
    again = console.visitor().get(link)
    assert again.status_code == 401
    assert "used already" in again.text


@pytest.mark.parametrize(
    "wanted",
    ["https://elsewhere/", "//elsewhere/", "/\\elsewhere", "javascript:alert(1)", "/a\r\nX: y", "studies"],
)
def test_a_link_never_leads_elsewhere(console, wanted):
    answer = console.visitor().get(console.link(), params={"next": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_an_old_link_and_an_old_session_are_worthless(console):
    link, browser = console.link(seconds=60), console.logged_in()
    console.clock.advance(61)
    assert console.visitor().get(link).status_code == 401
    assert browser.get("/health").status_code == 200
    console.clock.advance(DEFAULT.session_seconds)
    assert browser.get("/health").status_code == 303


def test_a_session_token_is_no_link_and_a_link_no_session(console):
    browser = console.logged_in()
    assert console.visitor().get(f"/login/once/{browser.cookies['readside_session']}").status_code == 401
    thief = console.visitor()
    thief.cookies.set("readside_session", console.link().rpartition("/")[2])
    assert thief.get("/health").status_code == 303


def test_logging_out_ends_the_session_for_whoever_has_the_cookie(console):
    browser = console.logged_in()
    stolen = browser.cookies["readside_session"]
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout", data={"csrf": filling.csrf(browser)}).status_code == 303
    thief = console.visitor()
    thief.cookies.set("readside_session", stolen)
    assert thief.get("/health").status_code == 303


def test_a_user_who_was_taken_out_has_no_session_any_more(console, make_console, config):
    browser = console.logged_in()
    other = config.console.users[0].model_copy(update={"name": "bela"})
    later = make_console(
        config=config.model_copy(update={"console": config.console.model_copy(update={"users": (other,)})})
    ).visitor()
    later.cookies.set("readside_session", browser.cookies["readside_session"])
    assert later.get("/health").status_code == 303


def test_a_link_for_a_name_without_a_password_is_good_for_its_session(console):
    browser = console.visitor()
    browser.get(console.link("demonstration"))
    assert "demonstration" in browser.get("/health").text


def test_guessing_a_users_password_is_stopped_even_from_many_addresses(make_console):
    console = make_console(replace(DEFAULT, failures_per_user_max=3))
    for number in range(3):
        assert try_password(console.visitor((f"192.0.2.{number}", 1)), "wrong").status_code == 401
    stopped = try_password(console.visitor(("192.0.2.99", 1)), PASSWORD)
    assert stopped.status_code == 429
    assert 0 < int(stopped.headers["retry-after"]) <= DEFAULT.failures_seconds
    console.clock.advance(DEFAULT.failures_seconds + 1)
    assert try_password(console.visitor(("192.0.2.99", 1)), PASSWORD).status_code == 303


def test_guessing_names_from_one_address_is_stopped(make_console):
    console = make_console(replace(DEFAULT, failures_per_address_max=3, failures_per_user_max=100))
    for number in range(3):
        assert try_password(console.visitor(), "wrong", f"name{number}").status_code == 401
    assert try_password(console.visitor(), PASSWORD).status_code == 429
    assert console.visitor().get(console.link()).status_code == 429
    assert try_password(console.visitor(("198.51.100.1", 1)), PASSWORD).status_code == 303


def test_log_ins_that_succeed_count_for_nothing(make_console):
    console = make_console(replace(DEFAULT, failures_per_user_max=2))
    assert [try_password(console.visitor(), PASSWORD).status_code for _ in range(5)] == [303] * 5


def test_the_ledger_holds_no_token_that_logs_in(console):
    browser = console.logged_in()
    with console.ledger.read() as tx:
        rows = tx.execute(console_tokens.select()).all()
    assert rows
    assert browser.cookies["readside_session"] not in str(rows)
